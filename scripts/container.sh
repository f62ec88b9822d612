#!/bin/sh
# What a container of the image does: a process of the Procfile (web, worker, edge), the steps of a
# release, or whatever else it is told, such as `flask doctor`.
set -eu
cd "$(dirname "$0")/.."

case ${1:-web} in
  web | worker | edge) exec sh -c "$(sed -n "s/^${1:-web}: //p" Procfile)" ;;
  release) exec flask db upgrade ;;
  *) exec "$@" ;;
esac
