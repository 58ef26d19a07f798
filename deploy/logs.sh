#!/usr/bin/env bash
#
# Show what an environment's function, the inventory, or a reconciliation has logged, the newest last.
#
# Usage: deploy/logs.sh [--dry-run] [--errors] NAME
#
#   NAME        dev, staging, prod, inventory, reconcile-dev, reconcile-staging or reconcile-prod
#   --errors    errors only: failed and invalid events, questions without an answer
#   --dry-run   print the command, ready to paste, and run nothing
#   --help      print this
#
# Settings: deploy/config.sh. FRESHNESS is how far back, 1d by default; LIMIT how many lines, 100.

set -euo pipefail

# shellcheck source=deploy/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

main() {
  local argument name='' severity=DEFAULT
  for argument in "$@"; do
    case $argument in
      --help | -h) lib::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --errors) severity=ERROR ;;
      dev | staging | prod | inventory) name=$name$argument ;;
      reconcile-dev | reconcile-staging | reconcile-prod) name=$name$argument ;;
      *) lib::bad_usage "expected dev, staging, prod, inventory or reconcile-<environment>, found $argument" ;;
    esac
  done
  cloud::one_function "$name"
  cloud::require gcloud
  cloud::logs "$severity" "${FRESHNESS:-1d}" "${LIMIT:-100}"
}

main "$@"
