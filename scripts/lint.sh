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
shellcheck scripts/*.sh .ci/run
