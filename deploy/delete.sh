#!/usr/bin/env bash
#
# Delete functions: an environment's with its trigger, the inventory, or a reconciliation with its job.
# Nothing else: buckets, tables, rows and service accounts stay. Without its function, an environment's
# uploads are not registered.
#
# Usage: deploy/delete.sh [--dry-run] [--yes] NAME...
#
#   NAME        dev, staging, prod, inventory, reconcile-dev, reconcile-staging or reconcile-prod
#   --yes       do not ask
#   --dry-run   print the commands, ready to paste, and run nothing
#   --help      print this
#
# Settings: deploy/config.sh.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
  local argument name yes='' found_any='' names=()
  for argument in "$@"; do
    case $argument in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --yes) yes=yes ;;
      *)
        function::is_name "$argument" || script::bad_usage "expected $NAMES, found $argument"
        names+=("$argument")
        ;;
    esac
  done
  ((${#names[@]})) || script::bad_usage "expected $NAMES, found nothing"
  tool::require gcloud
  for name in "${names[@]}"; do
    function::use "$name"
    if [[ -z $dry_run ]] && ! function::find 'value(name)'; then
      echo "${0##*/}: expected the function $function in $GCP_PROJECT_ID, $REGION, found none" >&2
      continue
    fi
    found_any=yes
    [[ -n $dry_run$yes ]] || confirm
    delete "$name"
  done
  [[ -n $found_any ]] || exit 1
}

# confirm: fail unless somebody agrees to delete `function`.
confirm() {
  local answer=''
  [[ -t 0 ]] || script::bad_usage "expected somebody to ask, found no terminal: use --yes"
  read -rp "Delete the function $function of $GCP_PROJECT_ID? [y/N] " answer
  [[ $answer == [yY]* ]] || script::fail "$function was not deleted"
}

# delete NAME: the job goes first, so that this can be repeated while the function is there.
delete() {
  if [[ $1 == reconcile-* ]] && { [[ -n $dry_run ]] || find_job; }; then
    tool::run gcloud scheduler jobs delete "$function" --location="$REGION" \
      --project="$GCP_PROJECT_ID" --quiet
  fi
  tool::run gcloud functions delete "$function" --gen2 --project="$GCP_PROJECT_ID" \
    --region="$REGION" --quiet
}

find_job() {
  tool::find gcloud scheduler jobs describe "$function" --location="$REGION" \
    --project="$GCP_PROJECT_ID" --format='value(name)'
}

main "$@"
