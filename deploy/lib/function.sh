# The functions: their names, their accounts, their logs, and who may call them.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for logs.sh and delete.sh
NAMES="dev, staging, prod, inventory or reconcile-<environment>"

# function::is_name WORD: whether a word names a deployed function.
function::is_name() {
  [[ $1 =~ ^(reconcile-)?(dev|staging|prod)$ || $1 == inventory ]]
}

# function::use NAME: set `function`, `service_account` and `member`, and for all but the inventory
# `environment` and `bucket`.
function::use() {
  environment=${1#reconcile-}
  bucket=$BUCKET_PREFIX-$environment
  function=$FUNCTION_PREFIX-$1
  case $1 in
    inventory) service_account=$(iam::email "$INVENTORY_SERVICE_ACCOUNT") ;;
    reconcile-*) service_account=$(iam::email "$RECONCILE_SERVICE_ACCOUNT") ;;
    *) service_account=$(iam::email "$SERVICE_ACCOUNT_PREFIX-$1") ;;
  esac
  member=serviceAccount:$service_account
}

# function::find FORMAT: set `found` to what `function` is, or return 1 if it is not deployed.
function::find() {
  tool::find gcloud functions describe "$function" --gen2 --project="$GCP_PROJECT_ID" \
    --region="$REGION" --format="$1"
}

# function::find_trigger: set `trigger` to the Eventarc trigger of `function`, and `subscription` to the one
# through which it delivers; return 1 if the function, or its trigger, is not there.
function::find_trigger() {
  trigger=
  function::find 'value(eventTrigger.trigger)' || return 1
  trigger=$found
  [[ -n $trigger ]] \
    && tool::find gcloud eventarc triggers describe "$trigger" --project="$GCP_PROJECT_ID" \
      --format='value(transport.pubsub.subscription.basename())' || return 1
  # shellcheck disable=SC2034 # for monitoring.sh
  subscription=$found
}

# function::find_job [FORMAT]: set `found` to the Cloud Scheduler job that calls `function`, or return 1.
# Where the API is not enabled, there is no job.
function::find_job() {
  tool::find_enabled gcloud scheduler jobs describe "$function" --location="$REGION" \
    --project="$GCP_PROJECT_ID" --format="${1:-value(name)}"
}

# function::bind ROLE MEMBER: give a role on the Cloud Run service of `function` alone.
function::bind() {
  iam::bind "$1" "$2" "run services" "$function" --project="$GCP_PROJECT_ID" --region="$REGION"
}

# function::logs SEVERITY FRESHNESS LIMIT NAME…: print what functions have logged, the newest last.
function::logs() {
  local name services='' read
  for name in "${@:4}"; do
    services+="${services:+ OR }\"$FUNCTION_PREFIX-$name\""
  done
  [[ $# == 4 ]] || services="($services)"
  read=(
    gcloud logging read
    "resource.type=\"cloud_run_revision\" resource.labels.service_name=$services severity>=$1"
    --project="$GCP_PROJECT_ID" --freshness="$2" --limit="$3"
    --format='value(timestamp.date("%Y-%m-%d %H:%M:%S"),severity,firstof(jsonPayload.message,textPayload,httpRequest.requestUrl))'
  )
  if [[ -n $dry_run ]]; then
    tool::run "${read[@]}"
  else
    "${read[@]}" | sed '1!G;h;$!d'
  fi
}
