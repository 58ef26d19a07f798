#!/usr/bin/env bash
#
# Show what an environment's function has logged, the newest last.
#
# Usage: deploy/logs.sh [--dry-run] [--errors] dev|staging|prod
#
#   --errors    failed and invalid events only
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
      dev | staging | prod) name=$name$argument ;;
      *) lib::bad_usage "expected dev, staging or prod, found $argument" ;;
    esac
  done
  cloud::one_environment "$name"
  cloud::require gcloud
  cloud::logs "$severity" "${FRESHNESS:-1d}" "${LIMIT:-100}"
}

main "$@"
