#!/usr/bin/env bash
#
# Print what deployed functions have logged, the newest line last.
#
# Usage: deploy/logs.sh [--dry-run] [--errors] NAME...
#
#   NAME        dev, staging, prod, inventory, reconcile-dev, reconcile-staging or reconcile-prod
#   --errors    only errors: failed and invalid events, questions without an answer
#   --dry-run   print the command, ready to paste, and run nothing
#   --help      print this
#
# Settings: deploy/config.sh. FRESHNESS is how far back to look, 1d by default; LIMIT how many lines
# to print, 100 by default.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
  local argument severity=DEFAULT names=()
  for argument in "$@"; do
    case $argument in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --errors) severity=ERROR ;;
      *)
        function::is_name "$argument" || script::bad_usage "expected $NAMES, found $argument"
        names+=("$argument")
        ;;
    esac
  done
  ((${#names[@]})) || script::bad_usage "expected $NAMES, found nothing"
  tool::require gcloud
  function::logs "$severity" "${FRESHNESS:-1d}" "${LIMIT:-100}" "${names[@]}"
}

main "$@"
