#!/usr/bin/env bash
# Brings a release into production on a host that runs the compose files: deploy.sh TAG IMAGE.
# Backs the database up, takes the release's files and image, and waits until all are healthy. What
# failed is told and left as it is: docs/operating.md says how to step back.
set -euo pipefail
cd "$(dirname "$0")/.."

# A function: bash reads a script as it goes, and this one is replaced on the way.
main() {
  local tag=${1:?which tag} image=${2:?which image}
  umask 077
  back_up
  git fetch --quiet --tags origin
  git checkout --quiet --detach "refs/tags/$tag"
  remember_image "$image"
  docker compose pull --quiet release
  # As docs/operating.md has it: code of one release never meets the schema of another.
  docker compose stop worker web
  docker compose up --detach --no-build --wait --wait-timeout 300
  docker compose exec -T web flask doctor
}

# Only of a database that is there: the first release finds none.
back_up() {
  [ -n "$(docker compose ps --quiet postgres)" ] || return 0
  mkdir -p backups
  local file
  file=backups/$(date -u +%Y%m%dT%H%M%SZ).dump
  docker compose exec -T postgres \
    pg_dump --username=switchyard --format=custom switchyard >"$file.part"
  mv "$file.part" "$file"
  echo "Backed up into $file"
}

# For whoever runs `docker compose` here later.
remember_image() {
  local rest
  rest=$(grep -v '^IMAGE=' .env || true)
  printf '%s\nIMAGE=%s\n' "$rest" "$1" >.env.part
  mv .env.part .env
}

main "$@"
exit
