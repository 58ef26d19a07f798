# Deploying a function: what has to be there before, and the command.
# shellcheck shell=bash

# What an environment's account may do. It needs nothing on the bucket: the function never reads an object.
RECEIVER_ROLE=roles/eventarc.eventReceiver # on the project: to get the bucket's events from Eventarc
INVOKER_ROLE=roles/run.invoker             # on the function: to deliver them; it takes no anonymous call
BUILDER_ROLE=roles/run.builder             # the build account's, on the project: source, image and log

# How many events an instance gets at once. tests/benchmarks/README.md has what 8 to 80 do.
CONCURRENCY=32

# deployment::command ENTRY_POINT CONCURRENCY [TIMEOUT [NAME=VALUE]]: set `deployment` to the deploy command
# for `function`, with the options that all functions have, and one more environment variable. A redeploy
# sends all options: what is left out is reset. Only a new function is closed to anonymous calls: that
# sets a policy, which those who may only deploy may not.
#
# CONCURRENCY is how many requests an instance gets at once; it needs as many threads to answer them, and
# for more than one a whole CPU: https://docs.cloud.google.com/run/docs/about-concurrency
#
# SOURCE_DATE_EPOCH shortens a start: Python checks compiled sources by content, because an image does
# not keep the times of files.
deployment::command() {
  local variables=GCP_PROJECT_ID=$GCP_PROJECT_ID,THREADS=$2
  [[ $REGISTRY_TABLE == ml_registry.models ]] || variables+=,REGISTRY_TABLE=$REGISTRY_TABLE
  variables+=${4:+,$4}
  deployment=(
    gcloud functions deploy "$function" --gen2
    --project="$GCP_PROJECT_ID"
    --region="$REGION"
    --runtime=python312
    --source="$root"
    --entry-point="$1"
    --service-account="$service_account"
    --build-service-account="projects/$GCP_PROJECT_ID/serviceAccounts/$(iam::email "$BUILD_SERVICE_ACCOUNT")"
    --set-env-vars="$variables"
    --set-build-env-vars=SOURCE_DATE_EPOCH=315532800
    --timeout="${3:-60s}"
    --cpu=1
    --concurrency="$2"
    --quiet
  )
  if ! function::find 'value(name)'; then
    iam::need cloudfunctions.functions.create run.services.setIamPolicy
    deployment+=(--no-allow-unauthenticated)
  fi
}

# deployment::main ENV [ARGUMENT…]: all that dev.sh, staging.sh and prod.sh do.
deployment::main() {
  case "$#:${2-}" in
    1:) ;;
    2:--dry-run) dry_run=yes ;;
    2:--help | 2:-h) script::usage && exit ;;
    *) script::bad_usage "expected --dry-run or nothing, found ${*:2}" ;;
  esac
  function::use "$1"
  tool::require gcloud bq
  bucket_location=$REGION # where setup.sh puts the bucket; not looked up with --dry-run
  if [[ -n $preview ]]; then
    bucket::find || true
  elif [[ -z $dry_run ]]; then
    deployment::check
  fi
  deployment::need_triggers
  # The trigger's location is the bucket's. Without --retry a failed event is dropped. Eventarc's
  # deliveries count as internal: https://docs.cloud.google.com/run/docs/securing/ingress and
  # https://docs.cloud.google.com/functions/docs/networking/network-settings
  deployment::command register_model "$CONCURRENCY"
  tool::run "${deployment[@]}" \
    --trigger-event-filters=type="$EVENT_TYPES.$UPLOADED" \
    --trigger-event-filters=bucket="$bucket" \
    --trigger-location="$bucket_location" \
    --trigger-service-account="$service_account" \
    --retry \
    --max-instances=5 \
    --memory=256MB \
    --ingress-settings=internal-only
  function::bind "$INVOKER_ROLE" "$member"
  deployment::make_triggers
  [[ -z $dry_run$preview ]] || return 0
  (deployment::say_dead_letters 2>/dev/null) || true
  deployment::say
}

# deployment::need_triggers: before anything is made, fail if a trigger for removals has to be made and the one
# who runs this may not. To find that all is there, looking is enough.
deployment::need_triggers() {
  local event
  function::find_triggers
  for event in "${REMOVED[@]}"; do
    if ! function::pick_trigger "$event"; then
      iam::need eventarc.triggers.create
    elif ! function::trigger_fits "$event"; then
      iam::need eventarc.triggers.create eventarc.triggers.delete
    fi
  done
}

# deployment::make_triggers: make the triggers for removals that are missing. They retry as the function's own
# does, for 24 hours, because no other number of attempts is asked for:
# https://docs.cloud.google.com/eventarc/docs/retry-events and
# https://docs.cloud.google.com/functions/docs/writing/retries
# One of earlier settings is made anew: no update moves a trigger to another location. The next
# reconciliation finds what it has not delivered.
deployment::make_triggers() {
  local event
  for event in "${REMOVED[@]}"; do
    if function::pick_trigger "$event"; then
      ! function::trigger_fits "$event" || continue
      tool::say "trigger $trigger, of earlier settings"
      tool::remove gcloud eventarc triggers delete "$trigger" --project="$GCP_PROJECT_ID" \
        --location="$trigger_location" --quiet
    fi
    tool::say "trigger $trigger"
    tool::make deployment::find_trigger gcloud eventarc triggers create "$trigger" \
      --project="$GCP_PROJECT_ID" --location="$bucket_location" \
      --destination-run-service="$function" --destination-run-region="$REGION" \
      --event-filters=type="$EVENT_TYPES.$event" --event-filters=bucket="$bucket" \
      --service-account="$service_account"
  done
}

deployment::find_trigger() {
  function::find_triggers
  function::pick_trigger "$event" && function::trigger_fits "$event"
}

# deployment::check: fail unless everything is there that setup.sh makes for `environment`. Sets
# `bucket_location`.
deployment::check() {
  local remedy="run deploy/setup.sh $environment" agent
  bucket::check "$remedy"
  deployment::check_account "$service_account" "$remedy"
  deployment::check_builder "$remedy"
  bigquery::check "$remedy"
  bigquery::check_access "$root/deploy/bigquery/9-access-function.sql" "$remedy"
  deployment::check_role "$RECEIVER_ROLE" "$member" "$remedy"
  project::find_storage_agent
  deployment::check_role "$STORAGE_AGENT_ROLE" "$agent" "$remedy"
}

# deployment::check_role ROLE MEMBER REMEDY: fail unless a member has a role on the project.
deployment::check_role() {
  iam::bound "$1" "$2" projects "$GCP_PROJECT_ID" \
    || script::fail "expected $1 for $2, found no such binding: $3"
}

# deployment::check_account EMAIL REMEDY: fail unless a service account is there and works.
deployment::check_account() {
  iam::find_account "$1" || script::fail "expected the service account $1, found none: $2"
  [[ $found != True ]] \
    || script::fail "expected the service account $1 to be enabled, found it disabled: gcloud iam service-accounts enable $1 --project=$GCP_PROJECT_ID"
}

# deployment::check_builder REMEDY: fail unless the account that builds functions is there, with its role.
deployment::check_builder() {
  local email
  email=$(iam::email "$BUILD_SERVICE_ACCOUNT")
  deployment::check_account "$email" "$1"
  deployment::check_role "$BUILDER_ROLE" "serviceAccount:$email" "$1"
}

# deployment::say_dead_letters: say if monitoring.sh has to run again: a trigger that was made anew has a
# subscription without its policy. Who may only deploy may not see that, and goes without.
deployment::say_dead_letters() {
  local event
  tool::find gcloud pubsub topics describe "$function-dead-letter" --project="$GCP_PROJECT_ID" || return
  function::find_triggers
  for event in "$UPLOADED" "${REMOVED[@]}"; do
    function::pick_trigger "$event" || return
    tool::find gcloud pubsub subscriptions describe "$subscription" --project="$GCP_PROJECT_ID" \
      --format='value(deadLetterPolicy.deadLetterTopic)' || return
    if [[ -z $found ]]; then
      tool::say "The trigger $trigger is new: run deploy/monitoring.sh $environment, so that dead letters are kept."
      return
    fi
  done
}

# deployment::say: print how to see it work.
deployment::say() {
  cat <<EOF

$function is deployed. To see it work:

gcloud storage cp model.pkl gs://$bucket/titanic-survival/v1/model.pkl --custom-metadata=uploader=me
bq query --project_id=$GCP_PROJECT_ID --use_legacy_sql=false 'SELECT * FROM \`$REGISTRY_TABLE\` ORDER BY registered_at DESC LIMIT 5'
deploy/logs.sh $environment

Or all of it at once: deploy/verify.sh $environment. A new trigger takes up to two minutes to work.
EOF
}
