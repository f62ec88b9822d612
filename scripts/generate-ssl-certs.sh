#!/usr/bin/env bash
# Makes a certificate that signs itself, for a host name or an address: generate-ssl-certs.sh
# [HOST] [FOLDER]. Good for trying out and for inside; browsers warn of it until it is trusted.
set -euo pipefail

readonly host=${1:-localhost}
readonly folder=${2:-$(dirname "$0")/../deploy/nginx/certs}
readonly days=365

if [[ ! $host =~ ^(\*\.)?[A-Za-z0-9._-]+$ && ! $host =~ ^[0-9A-Fa-f:]+$ ]]; then
  echo "generate-ssl-certs: '$host' is no host name and no address" >&2
  exit 2
fi
command -v openssl >/dev/null || {
  echo 'generate-ssl-certs: openssl not found: install it first' >&2
  exit 1
}
for file in server.crt server.key; do
  if [ -e "$folder/$file" ]; then
    echo "generate-ssl-certs: $folder/$file is there already: remove it first" >&2
    exit 1
  fi
done

if [[ $host =~ ^[0-9]+(\.[0-9]+){3}$ || $host == *:* ]]; then
  kind=IP
else
  kind=DNS
fi

# The key is for its owner alone.
umask 077
mkdir -p "$folder"
said=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days "$days" \
  -keyout "$folder/server.key" -out "$folder/server.crt" -config <(
    cat <<CONFIG
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
commonName = $host
[extensions]
subjectAltName = $kind:$host
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
CONFIG
  ) 2>&1) || {
  echo "generate-ssl-certs: openssl failed: $said" >&2
  exit 1
}
chmod 644 "$folder/server.crt"
echo "For $host, good for $days days: $folder/server.crt and $folder/server.key"
