#!/usr/bin/env bash
#
# Delete an environment's function and its trigger, the inventory, or a reconciliation and its job.
# Nothing else: buckets, tables, rows and service accounts stay. Without its function, an environment's
# uploads are not registered.
#
# Usage: deploy/delete.sh [--dry-run] [--yes] NAME
#
#   NAME        dev, staging, prod, inventory, reconcile-dev, reconcile-staging or reconcile-prod
#   --yes       do not ask
#   --dry-run   print the command, ready to paste, and run nothing
#   --help      print this
#
# Settings: deploy/config.sh.

set -euo pipefail

# shellcheck source=deploy/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

main() {
  local argument name='' yes='' answer=''
  for argument in "$@"; do
    case $argument in
      --help | -h) lib::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --yes) yes=yes ;;
      dev | staging | prod | inventory) name=$name$argument ;;
      reconcile-dev | reconcile-staging | reconcile-prod) name=$name$argument ;;
      *) lib::bad_usage "expected dev, staging, prod, inventory or reconcile-<environment>, found $argument" ;;
    esac
  done
  cloud::one_function "$name"
  cloud::require gcloud
  if [[ -z $dry_run ]]; then
    cloud::find gcloud functions describe "$function" --gen2 --project="$GCP_PROJECT_ID" \
      --region="$REGION" --format='value(name)' \
      || lib::fail "expected the function $function in $GCP_PROJECT_ID, $REGION, found none"
    if [[ -z $yes ]]; then
      [[ -t 0 ]] || lib::bad_usage "expected somebody to ask, found no terminal: use --yes"
      read -rp "Delete the function $function of $GCP_PROJECT_ID? [y/N] " answer
      [[ $answer == [yY]* ]] || lib::fail "nothing was deleted"
    fi
  fi
  # The job first: while the function is there, this can be run again.
  if [[ $name == reconcile-* ]] && { [[ -n $dry_run ]] || find_job; }; then
    cloud::run gcloud scheduler jobs delete "$function" --location="$REGION" \
      --project="$GCP_PROJECT_ID" --quiet
  fi
  cloud::run gcloud functions delete "$function" --gen2 --project="$GCP_PROJECT_ID" \
    --region="$REGION" --quiet
}

find_job() {
  cloud::find gcloud scheduler jobs describe "$function" --location="$REGION" \
    --project="$GCP_PROJECT_ID" --format='value(name)'
}

main "$@"
