#!/usr/bin/env bash
#
# Check that uploads and removals are registered: upload a tiny artifact to deployed environments, wait for
# its row, remove the artifact, and wait for the row of its removal. If the bucket keeps what is removed, the
# artifact is removed twice: each time another trigger has to bring the event. Exit 0 only if all rows
# came; otherwise say which link is broken.
#
# Usage: deploy/verify.sh [--dry-run] dev|staging|prod...
#
#   --dry-run   print every command that changes something, ready to paste, and run none
#   --help      print this
#
# Settings: deploy/config.sh. VERIFY_SECONDS is how long to wait for each row, 420 by default: a new
# trigger takes up to two minutes to work, a new role up to seven.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

artifact=registry-check/v0/$(date +%s)-$RANDOM
uploaded=

main() {
  local argument name environments=()
  for argument in "$@"; do
    case $argument in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      dev | staging | prod) environments+=("$argument") ;;
      *) script::bad_usage "expected dev, staging or prod, found $argument" ;;
    esac
  done
  ((${#environments[@]})) || script::bad_usage "expected one or more of dev, staging, prod, found nothing"
  [[ ${VERIFY_SECONDS:=420} =~ ^[0-9]+$ ]] \
    || script::fail "VERIFY_SECONDS: expected a number of seconds, found $VERIFY_SECONDS"
  tool::require gcloud bq

  script::at_exit remove
  for name in "${environments[@]}"; do
    function::use "$name"
    [[ -n $dry_run ]] || bucket::find \
      || broken "bucket" "gs://$bucket is not there: run deploy/setup.sh $environment"
    verify
  done
}

# verify: let a tiny artifact be registered, and all of its removal.
verify() {
  SECONDS=0
  tool::run gcloud storage cp "$root/deploy/config.sh" "gs://$bucket/$artifact" --custom-metadata=uploader=verify
  uploaded=yes
  wait_for_row "$UPLOADED" "registered"
  if [[ -n $dry_run || $versioning == True ]]; then
    SECONDS=0
    tool::run gcloud storage rm "gs://$bucket/$artifact"
    wait_for_row archived "removed, and its removal recorded"
  fi
  SECONDS=0
  remove
  wait_for_row deleted "deleted, and that recorded"
}

# wait_for_row EVENT WHAT: print how long it takes; if the row does not come in time, say why.
wait_for_row() {
  local event=$1
  [[ -z $dry_run ]] || return 0
  until is_there; do
    if ((SECONDS >= VERIFY_SECONDS)); then
      diagnose "$event"
    fi
    echo "waiting for the row of gs://$bucket/$artifact ($event): $SECONDS of $VERIFY_SECONDS s" >&2
    sleep 5
  done
  echo "gs://$bucket/$artifact was $2 after $SECONDS s"
}

# is_there: whether the row of `event` is there.
is_there() {
  local sql table=$REGISTRY_TABLE
  sql="SELECT COUNT(*) FROM \`$GCP_PROJECT_ID.$REGISTRY_TABLE\` WHERE gcs_bucket = '$bucket' AND gcs_path = '$artifact'"
  if [[ $event != "$UPLOADED" ]]; then
    table=$dataset.removals
    sql="SELECT COUNT(*) FROM \`$GCP_PROJECT_ID.$dataset.removals\` WHERE gcs_bucket = '$bucket' AND gcs_path = '$artifact' AND recorded_by = '$event'"
  fi
  tool::find bigquery::query "$sql" || broken "table" "$table is not there: run deploy/setup.sh $environment"
  [[ $(tail -n 1 <<<"$found") != 0 ]]
}

# remove: delete the artifact in all its generations. Its rows stay: the tables are append-only.
remove() {
  if [[ -n $uploaded ]]; then
    uploaded=
    tool::remove gcloud storage rm "gs://$bucket/$artifact" --all-versions
  fi
}

# broken LINK REASON
broken() {
  script::fail "the $1 is the broken link: $2"
}

# diagnose EVENT: follow the chain from the function back, and stop at the first broken link.
diagnose() {
  local state retry agent link=trigger remedy="run deploy/$environment.sh"
  function::find 'value(state,eventTrigger.retryPolicy)' \
    || broken "function" "$function is not there: $remedy"
  read -r state retry <<<"$found"
  [[ $state == ACTIVE ]] || broken "function" "$function is $state: $remedy"
  function::find_triggers
  if [[ $1 == "$UPLOADED" ]]; then
    function::pick_trigger "$1" || broken "trigger" "$(missing_trigger)"
    [[ $retry == RETRY_POLICY_RETRY ]] || broken "trigger" "it does not retry: $remedy"
  else
    link="trigger $function-$1"
    function::pick_trigger "$1" || broken "$link" "it is not there: $remedy"
    function::trigger_fits "$1" || broken "$link" "it is not as deploy/$environment.sh makes it: $remedy"
  fi
  (deployment::check) || broken "permissions" "see above"
  iam::bound "$INVOKER_ROLE" "$member" "run services" "$function" --project="$GCP_PROJECT_ID" --region="$REGION" \
    || iam::bound "$INVOKER_ROLE" "$member" projects "$GCP_PROJECT_ID" \
    || broken "permissions" "$service_account may not call $function: $remedy"
  agent=serviceAccount:service-$project_number@gcp-sa-eventarc.iam.gserviceaccount.com
  iam::bound roles/eventarc.serviceAgent "$agent" projects "$GCP_PROJECT_ID" \
    || broken "permissions" "Eventarc's agent lacks its role: gcloud projects add-iam-policy-binding $GCP_PROJECT_ID --member=$agent --role=roles/eventarc.serviceAgent --condition=None"
  check_signing
  tool::find function::logs ERROR "${SECONDS}s" 5 "$environment"
  [[ -z $found ]] || broken "function" "its last errors: $found"
  broken "$link" "no event came within $VERIFY_SECONDS s; a new trigger takes up to two minutes to work, a new role up to seven"
}

# The function goes on naming a trigger that somebody has deleted.
missing_trigger() {
  if [[ -z $trigger ]]; then
    echo "$function has none: run deploy/$environment.sh"
  else
    echo "$trigger was deleted: run deploy/delete.sh $environment, and then deploy/$environment.sh"
  fi
}

# In a project from before 8 April 2021, Pub/Sub's agent has no right to sign for the account that delivers:
# https://docs.cloud.google.com/eventarc/docs/roles-permissions
check_signing() {
  local agent role=roles/iam.serviceAccountTokenCreator
  tool::find gcloud projects describe "$GCP_PROJECT_ID" --format='value(createTime)'
  [[ $found < 2021-04-08 ]] || return 0
  project::find_pubsub_agent
  iam::bound "$role" "$agent" projects "$GCP_PROJECT_ID" \
    || iam::bound "$role" "$agent" "iam service-accounts" "$service_account" --project="$GCP_PROJECT_ID" \
    || broken "permissions" "Pub/Sub's agent may not sign for $service_account: gcloud iam service-accounts add-iam-policy-binding $service_account --member=$agent --role=$role --project=$GCP_PROJECT_ID"
}

main "$@"
