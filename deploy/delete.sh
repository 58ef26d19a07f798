#!/usr/bin/env bash
#
# Delete functions: an environment's with its triggers, the inventory, or a reconciliation with its job
# and the alert that says when it does not run. Nothing else: other alerts, buckets, tables, rows and
# service accounts stay. Without its function, an environment's uploads and removals are not registered.
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
  local argument name yes='' names=() there=()
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
    if [[ -z $dry_run ]] && ! find_parts "$name"; then
      echo "${0##*/}: expected the function $function in $GCP_PROJECT_ID, $REGION, found none" >&2
      continue
    fi
    there+=("$name")
  done
  for name in ${there[@]+"${there[@]}"}; do
    function::use "$name"
    [[ -n $dry_run$yes ]] \
      || script::confirm "Delete the function $function of $GCP_PROJECT_ID?" "$function was not deleted"
    delete "$name"
  done
  ((${#there[@]})) || exit 1
}

# find_parts NAME: return 1 if there is neither the function, nor a trigger, its job, or the job's alert.
find_parts() {
  function::find 'value(name)' || find_triggers "$1" || find_job "$1" \
    || { [[ $1 == reconcile-* ]] && alert::there "$MISSED"; }
}

# find_triggers NAME: set `removable` to the triggers that stay when the function is deleted, or return 1.
find_triggers() {
  local event
  removable=()
  [[ $1 =~ ^(dev|staging|prod)$ ]] || return 1
  function::find_triggers
  for event in "${REMOVED[@]}"; do
    if [[ -n $dry_run ]]; then
      removable+=("$function-$event" "$REGION")
    elif function::pick_trigger "$event"; then
      removable+=("$trigger" "$trigger_location")
    fi
  done
  ((${#removable[@]}))
}

find_job() {
  [[ $1 == reconcile-* ]] && function::find_job
}

# delete NAME: the function goes last, so that this can be repeated while it is there. The alert would
# never end without it.
delete() {
  local i
  if find_triggers "$1"; then
    for ((i = 0; i < ${#removable[@]}; i += 2)); do
      tool::remove gcloud eventarc triggers delete "${removable[i]}" --project="$GCP_PROJECT_ID" \
        --location="${removable[i + 1]}" --quiet
    done
  fi
  if [[ -n $dry_run && $1 == reconcile-* ]] || find_job "$1"; then
    tool::remove gcloud scheduler jobs delete "$function" --location="$REGION" \
      --project="$GCP_PROJECT_ID" --quiet
  fi
  [[ $1 != reconcile-* ]] || alert::remove "$MISSED"
  if [[ -n $dry_run ]] || function::find 'value(name)'; then
    tool::remove gcloud functions delete "$function" --gen2 --project="$GCP_PROJECT_ID" \
      --region="$REGION" --quiet
  fi
}

main "$@"
