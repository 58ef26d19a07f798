#!/usr/bin/env bash
#
# Run the whole system on this machine, without a cloud account: Cloud Storage, BigQuery, the function
# and the page of the inventory. Uploads a model, prints the row that came of it, and stays up until
# Ctrl-C.
#
# Usage: deploy/local.sh [--sample] [--once]
#
#   --sample   upload the sample data as well: a dozen models with three months of history
#   --once     end after the row was printed; exit 0 only if it was there
#   --help     print this
#
# Environment: STORAGE_PORT (9023), BIGQUERY_PORT (9050), FUNCTION_PORT (8080), INVENTORY_PORT (8081);
# 0 is any free port. And what deploy/config.sh lists.

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
