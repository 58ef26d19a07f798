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
  # The trigger's location is the bucket's. Without --retry a failed event is dropped. Eventarc's
  # deliveries count as internal: https://docs.cloud.google.com/run/docs/securing/ingress and
  # https://docs.cloud.google.com/functions/docs/networking/network-settings
  deployment::command register_model "$CONCURRENCY"
  tool::run "${deployment[@]}" \
    --trigger-event-filters=type=google.cloud.storage.object.v1.finalized \
    --trigger-event-filters=bucket="$bucket" \
    --trigger-location="$bucket_location" \
    --trigger-service-account="$service_account" \
    --retry \
    --max-instances=5 \
    --memory=256MB \
    --ingress-settings=internal-only
  function::bind "$INVOKER_ROLE" "$member"
  [[ -z $dry_run$preview ]] || return 0
  (deployment::say_dead_letters 2>/dev/null) || true
  deployment::say
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
  tool::find gcloud pubsub topics describe "$function-dead-letter" --project="$GCP_PROJECT_ID" \
    && function::find_trigger \
    && tool::find gcloud pubsub subscriptions describe "$subscription" --project="$GCP_PROJECT_ID" \
      --format='value(deadLetterPolicy.deadLetterTopic)' \
    && [[ -z $found ]] \
    && tool::say "The trigger is new: run deploy/monitoring.sh $environment, so that dead letters are kept."
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
