#!/usr/bin/env bash
#
# Run the whole system on this machine, without a cloud account: Cloud Storage, BigQuery and the
# function. Uploads a sample model, prints the row that came of it, and stays up until Ctrl-C.
#
# Usage: deploy/local.sh [--once]
#
#   --once   end after the row was printed; exit 0 only if it was there
#   --help   print this
#
# Environment: STORAGE_PORT (9023), BIGQUERY_PORT (9050), FUNCTION_PORT (8080); 0 is any free port.
# And what deploy/config.sh lists.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
# shellcheck source=deploy/config.sh
source "$root/deploy/config.sh"
# shellcheck source=deploy/lib.sh
source "$root/deploy/lib.sh"

main() {
  case "$#:${1-}" in
    0: | 1:--once) ;;
    1:--help | 1:-h) lib::usage && exit ;;
    *) lib::bad_usage "expected --once or nothing, found $*" ;;
  esac
  lib::python_environments "$root"
  exec "$root/.venv/bin/python" "$root/deploy/local/system.py" "$@"
}

main "$@"
