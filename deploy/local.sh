#!/usr/bin/env bash
#
# Run the whole system on this machine, without a cloud account: Cloud Storage, BigQuery, the function
# and the page. It uploads a model, prints the row that was registered, and stays up until Ctrl-C.
#
# Usage: deploy/local.sh [--sample] [--once]
#
#   --sample   also upload the sample data: a dozen models with three months of history
#   --once     end after printing the row; exit 0 only if it was there
#   --help     print this
#
# Environment: STORAGE_PORT (9023), BIGQUERY_PORT (9050), FUNCTION_PORT (8080), INVENTORY_PORT (8081);
# 0 means any free port. Also the settings in deploy/config.sh.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
# shellcheck source=deploy/config.sh
source "$root/deploy/config.sh"
# shellcheck source=deploy/lib/script.sh
source "$root/deploy/lib/script.sh"
# shellcheck source=deploy/lib/python.sh
source "$root/deploy/lib/python.sh"

main() {
  local argument
  for argument in "$@"; do
    case $argument in
      --help | -h) script::usage && exit ;;
      --once | --sample) ;;
      *) script::bad_usage "expected --sample, --once or nothing, found $argument" ;;
    esac
  done
  python::environments "$root"
  exec "$root/.venv/bin/python" "$root/deploy/local/system.py" "$@"
}

main "$@"
