#!/usr/bin/env bash
# Checks style: Python, templates, shell, what nobody uses, and what brings it all into production:
# the image, the compose files, the workflows. Nothing here asks the network.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/${VENV:-.venv}/bin:$PATH"

ruff check .
ruff format --check --quiet . || {
  echo 'lint: some files are not formatted: make format mends them' >&2
  ruff format --check .
}
djlint --quiet --lint templates
vulture
# What ruff has rules for too (S) is judged there, in place; low findings are all of that kind.
bandit --quiet --recursive --severity-level medium webapp tasks
shellcheck scripts/*.sh deploy/systemd/switchyard .ci/run

hadolint Dockerfile
compose() {
  SECRET_KEY=x POSTGRES_PASSWORD=x ALLOWED_HOSTS=x \
    docker-compose --env-file /dev/null "$@" config --quiet
}
compose -f docker-compose.yml
compose -f docker-compose.yml -f docker-compose.ssl.yml
actionlint
zizmor --offline --quiet .github
