#!/usr/bin/env bash
#
# See whether uploads are registered: upload a tiny artifact to a deployed environment, wait for its
# row, remove the artifact. Exit 0 only if the row came; else say which link is broken.
#
# Usage: deploy/verify.sh [--dry-run] dev|staging|prod
#
#   --dry-run   print every command that changes something, ready to paste, and run none
#   --help      print this
#
# Settings: deploy/config.sh. VERIFY_SECONDS is how long to wait, 180 by default: a new trigger takes
# up to two minutes to work.

set -euo pipefail

# shellcheck source=deploy/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

artifact=registry-check/v0/$(date +%s)-$RANDOM
uploaded=

main() {
  local argument name=''
  for argument in "$@"; do
    case $argument in
      --help | -h) lib::usage && exit ;;
      --dry-run) dry_run=yes ;;
      dev | staging | prod) name=$name$argument ;;
      *) lib::bad_usage "expected dev, staging or prod, found $argument" ;;
    esac
  done
  cloud::one_environment "$name"
  [[ ${VERIFY_SECONDS:=180} =~ ^[0-9]+$ ]] \
    || lib::fail "VERIFY_SECONDS: expected a number of seconds, found $VERIFY_SECONDS"
  cloud::require gcloud bq

  trap remove EXIT
  cloud::run gcloud storage cp "$root/deploy/config.sh" "gs://$bucket/$artifact" --custom-metadata=uploader=verify \
    || broken "bucket" "gs://$bucket takes no upload from you"
  uploaded=yes
  if [[ -z $dry_run ]] && ! wait_for_row; then
    diagnose
  fi
}

# wait_for_row: with a progress line; 1 if the row does not come.
wait_for_row() {
  local sql
  sql="SELECT COUNT(*) FROM \`$GCP_PROJECT_ID.$REGISTRY_TABLE\` WHERE gcs_bucket = '$bucket' AND gcs_path = '$artifact'"
  SECONDS=0
  while ((SECONDS < VERIFY_SECONDS)); do
    cloud::find "${bq[@]}" --format=csv query --use_legacy_sql=false "$sql" \
      || broken "table" "$REGISTRY_TABLE is not there: run deploy/setup.sh $environment"
    if [[ $(tail -n 1 <<<"$found") != 0 ]]; then
      echo "gs://$bucket/$artifact was registered after $SECONDS s"
      return
    fi
    echo "waiting for the row of gs://$bucket/$artifact: $SECONDS of $VERIFY_SECONDS s" >&2
    sleep 5
  done
  return 1
}

# remove: the artifact, in all its generations; its row stays, as the table is append-only.
remove() {
  if [[ -n $uploaded ]]; then
    cloud::run gcloud storage rm "gs://$bucket/$artifact" --all-versions
  fi
}

broken() {
  lib::fail "the $1 is the broken link: $2"
}

# diagnose: follow the chain, and stop at the first link that does not hold.
diagnose() {
  local state trigger retry
  cloud::find gcloud functions describe "$function" --gen2 --project="$GCP_PROJECT_ID" \
    --region="$REGION" --format='value(state,eventTrigger.trigger,eventTrigger.retryPolicy)' \
    || broken "function" "$function is not there: run deploy/$environment.sh"
  read -r state trigger retry <<<"$found"
  [[ $state == ACTIVE ]] || broken "function" "$function is $state: run deploy/$environment.sh"
  [[ -n $trigger ]] || broken "trigger" "$function has none: run deploy/$environment.sh"
  [[ $retry == RETRY_POLICY_RETRY ]] \
    || broken "trigger" "it does not retry: run deploy/$environment.sh"
  (cloud::check_setup) || broken "permissions" "see above"
  cloud::find cloud::logs ERROR 1h 5
  [[ -z $found ]] || broken "function" "its last errors: $found"
  broken "trigger" "no event has come within $VERIFY_SECONDS s; a new one takes up to two minutes to work"
}

main "$@"
