#!/usr/bin/env bash
# Makes the virtual environment and installs the pinned packages into it: `install.sh run`, or
# `install.sh dev` for what checks and tests need on top. Does nothing when all is in place.
# VENV names the environment, PYTHON the interpreter; NO_UV=1 keeps to venv and pip, ML=0 leaves out
# what models need, OTEL=1 brings what traces need.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly set_name=${1:-run}
readonly venv=${VENV:-.venv}
# The newest first. 3.15 and later are taken as plain python3 only, until the pins are tried on them.
readonly interpreters=(python3.14 python3.13 python3.12 python3.11 python3)

run_files=(requirements.txt)
[ "${ML:-1}" = 0 ] || run_files+=(requirements-ml.txt)
[ "${OTEL:-0}" = 0 ] || run_files+=(requirements-otel.txt)
readonly run_files

case $set_name in
  run) requirements=("${run_files[@]}") ;;
  dev) requirements=(requirements.txt requirements-ml.txt requirements-otel.txt requirements-dev.txt) ;;
  *)
    echo "install: unknown set '$set_name' (run or dev)" >&2
    exit 2
    ;;
esac

main() {
  make_instance_directory
  local wanted
  wanted=$(fingerprint "${requirements[@]}")
  if [ "$(cat "$venv/.installed-$set_name" 2>/dev/null)" = "$wanted" ] && environment_works; then
    return
  fi
  environment_is_ours || make_environment
  echo "Installing the pinned packages ($set_name) into $venv ..."
  install_packages
  "$venv/bin/python" -m compileall -q webapp tasks wsgi.py || true
  printf '%s' "$wanted" >"$venv/.installed-$set_name"
  # Whoever has what checks need has what the console needs.
  [ "$set_name" = run ] || printf '%s' "$(fingerprint "${run_files[@]}")" >"$venv/.installed-run"
  printf '%s' "$PWD" >"$venv/.made-in"
}

# Databases and the queue file lie here: nobody else on the machine needs to read them.
make_instance_directory() { (umask 077 && mkdir -p "${INSTANCE_DIR:-instance}"); }

# The place counts too: an environment does not survive being copied or moved.
fingerprint() { { echo "$PWD" && cat "$@" scripts/install.sh; } | cksum; }

environment_works() { "$venv/bin/python" -c '' 2>/dev/null; }

environment_is_ours() {
  environment_works && [ "$(cat "$venv/.made-in" 2>/dev/null)" = "$PWD" ]
}

make_environment() {
  local python
  python=$(find_python) || exit 1
  rm -rf "$venv"
  if has_uv; then
    uv venv --quiet --python "$python" "$venv"
  else
    "$python" -m venv "$venv"
  fi
  printf '%s' "$PWD" >"$venv/.made-in"
}

# Prints the interpreter to use, or says in one line what to install.
find_python() {
  local candidate without_pip=''
  for candidate in ${PYTHON:-"${interpreters[@]}"}; do
    # A pyenv shim is on the PATH even where its version is not active: only running it tells.
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if has_uv || "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$candidate"
      return
    fi
    without_pip=${without_pip:-$candidate}
  done
  if has_uv && [ -z "${PYTHON:-}" ]; then
    echo 3.13 # uv fetches it
  elif [ -n "$without_pip" ]; then
    echo "install: $without_pip cannot make environments: install its venv package" \
      "(Debian, Ubuntu: apt-get install $("$without_pip" -c \
        'import sys; print("python%d.%d-venv" % sys.version_info[:2])'))" >&2
    return 1
  else
    echo "install: no Python 3.11 or newer found: install one" \
      "(Debian, Ubuntu: apt-get install python3 python3-venv)" >&2
    return 1
  fi
}

has_uv() { [ -z "${NO_UV:-}" ] && command -v uv >/dev/null; }

# The lists are complete, so nothing is left to resolve: pip would otherwise look for a newer release
# of what another package wants with an extra, and refuse it for want of a hash.
# Bytecode is compiled here, so that the first start does not pay for it.
install_packages() {
  local files=()
  local file
  for file in "${requirements[@]}"; do files+=(-r "$file"); done
  if has_uv; then
    uv pip install --quiet --python "$venv/bin/python" --require-hashes --no-deps \
      --compile-bytecode "${files[@]}"
  else
    # An environment that uv made has no pip, and uv may be gone by now.
    "$venv/bin/python" -c 'import pip' 2>/dev/null || "$venv/bin/python" -m ensurepip >/dev/null
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
      --no-deps "${files[@]}"
  fi
}

main
