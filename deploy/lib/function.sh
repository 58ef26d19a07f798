# The functions: their names, their accounts, their logs, and who may call them.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for logs.sh and delete.sh
NAMES="dev, staging, prod, inventory or reconcile-<environment>"

# The events of a bucket. The trigger for uploads is made with the function: `gcloud functions deploy` makes
# one. Those for removals are made after it, and are named <function>-<event>.
# https://docs.cloud.google.com/storage/docs/pubsub-notifications
EVENT_TYPES=google.cloud.storage.object.v1
UPLOADED=finalized
REMOVED=(
  deleted  # a live object, if the bucket does not keep it; or one that was kept
  archived # a live object that the bucket keeps
)
triggers= # set by function::find_triggers

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

# function::find_triggers: set `triggers` to the Eventarc triggers of the project, in all locations, a line
# each: name, location, subscription, and what it delivers where: account, service, region, attempts
# (empty if it retries) and filters.
function::find_triggers() {
  local delivers='serviceAccount,destination.cloudRun.service,destination.cloudRun.region,retryPolicy.maxAttempts,eventFilters[].value.list()'
  tool::find_enabled gcloud eventarc triggers list --location=- --project="$GCP_PROJECT_ID" \
    --format="csv[no-heading,separator=\"|\"](name.basename(),name.segment(3),transport.pubsub.subscription.basename(),$delivers)" \
    || true
  triggers=$found
}

# function::pick_trigger EVENT: of `triggers`, set `trigger`, `trigger_location`, `subscription` and `delivers`
# to that which brings `function` an event; return 1 if it is not there. A trigger that somebody has
# deleted leaves its name in `trigger`: the function still has it.
function::pick_trigger() {
  local line
  trigger=$function-$1
  if [[ $1 == "$UPLOADED" ]]; then
    trigger=
    function::find 'value(eventTrigger.trigger.basename())' || return 1
    trigger=$found
  fi
  line=$(grep "^$trigger|" <<<"$triggers") || return 1
  # shellcheck disable=SC2034 # for those who call this
  IFS='|' read -r trigger trigger_location subscription delivers <<<"$line"
}

# function::trigger_fits EVENT: whether the trigger that was picked is as deployment::make_triggers makes it.
function::trigger_fits() {
  local from="$service_account|$function|$REGION|" type=$EVENT_TYPES.$1
  [[ $trigger_location == "$bucket_location" && $delivers =~ ^"$from|"("$type,$bucket"|"$bucket,$type")$ ]]
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
