#!/usr/bin/env bash
# Pins requirements*.in into requirements*.txt, with hashes, for every platform and Python >= 3.11.
# Pins that still fit stay; `scripts/lock.sh --upgrade` takes the newest releases.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v uv >/dev/null || {
  echo "lock: uv not found: install it first (pip install uv)" >&2
  exit 1
}

# In this order: each set is constrained by the one before.
for name in requirements requirements-ml requirements-otel requirements-dev requirements-servers; do
  uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
    --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
    "$@" "$name.in" --output-file "$name.txt"
done
