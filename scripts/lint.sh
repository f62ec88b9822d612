#!/usr/bin/env bash
# Checks style: Python, templates, shell, and what nobody uses.
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
shellcheck scripts/*.sh .ci/run
