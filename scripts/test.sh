#!/usr/bin/env bash
# Every check, then every test in one run, at the end those that drive whole processes (browser,
# fault): in groups, so that no core has two of them. The checks stand first because they are quick.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/${VENV:-.venv}/bin:$PATH"

scripts/lint.sh
mypy
lint-imports --no-logo
scripts/test-servers.sh
# Tests start many processes: each reads our code compiled, also where Python was told to write no
# such files.
python -m compileall -q webapp tasks wsgi.py gunicorn.conf.py

# loadgroup without reordering keeps the order that tests/servers.py gives: the groups come last.
exec pytest --numprocesses "${TEST_PROCESSES:-auto}" --dist loadgroup --no-loadscope-reorder "$@"
