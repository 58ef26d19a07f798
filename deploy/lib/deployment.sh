# Deploying a function: what has to be there before, and the command.
# shellcheck shell=bash

# What an environment's account may do on the project. It needs nothing on the bucket: the function
# never reads an object.
EVENT_ROLES=(
  roles/eventarc.eventReceiver # to get the bucket's events from Eventarc
  roles/run.invoker            # to deliver them to the function, which takes no anonymous call
)

# deployment::command ENTRY_POINT [TIMEOUT [NAME=VALUE]]: set `deployment` to the deploy command for
# `function`, with the options that all functions have, and one more environment variable. A redeploy
# sends all options: what is left out is reset.
#
# Two variables shorten a start. REQUESTS_CA_BUNDLE: OpenSSL reads one certificate from a folder, but
# all of them from Python's own file, which is a tenth of a start's work; the base image has the folder
# (https://docs.cloud.google.com/functions/docs/reference/system-packages, ca-certificates).
# SOURCE_DATE_EPOCH: Python checks compiled sources by content, because an image does not keep the
# times of files.
deployment::command() {
  local variables=GCP_PROJECT_ID=$GCP_PROJECT_ID
  [[ $REGISTRY_TABLE == ml_registry.models ]] || variables+=,REGISTRY_TABLE=$REGISTRY_TABLE
  variables+=${3:+,$3},REQUESTS_CA_BUNDLE=/etc/ssl/certs
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
    --timeout="${2:-60s}"
    --no-allow-unauthenticated
    --quiet
  )
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
  [[ -n $dry_run ]] || deployment::check
  # The trigger's location is the bucket's. Without --retry a failed event is dropped. Eventarc's
  # deliveries count as internal: https://docs.cloud.google.com/run/docs/securing/ingress and
  # https://docs.cloud.google.com/functions/docs/networking/network-settings
  deployment::command register_model
  tool::retry \
    "eventarc service (agent|account)|unable to publish to cloud pub/sub|$NO_ACCOUNT" \
    "Eventarc is not ready in this project yet" \
    "${deployment[@]}" \
    --trigger-event-filters=type=google.cloud.storage.object.v1.finalized \
    --trigger-event-filters=bucket="$bucket" \
    --trigger-location="$bucket_location" \
    --trigger-service-account="$service_account" \
    --retry \
    --max-instances=5 \
    --memory=256MB \
    --ingress-settings=internal-only
  [[ -n $dry_run ]] || deployment::say
}

# deployment::check: fail unless everything is there that setup.sh makes for `environment`. Sets
# `bucket_location`.
deployment::check() {
  local remedy="run deploy/setup.sh $environment" role agent
  deployment::check_bucket "$remedy"
  deployment::check_account "$service_account" "$remedy"
  deployment::check_account "$(iam::email "$BUILD_SERVICE_ACCOUNT")" "$remedy"
  bigquery::check "$remedy"
  bigquery::check_access "$root/deploy/bigquery/9-access-function.sql" "$remedy"
  for role in "${EVENT_ROLES[@]}"; do
    iam::bound "$role" "$member" projects "$GCP_PROJECT_ID" \
      || script::fail "expected $role for $member, found no such binding: $remedy"
  done
  project::find_storage_agent
  iam::bound "$STORAGE_AGENT_ROLE" "$agent" projects "$GCP_PROJECT_ID" \
    || script::fail "expected $STORAGE_AGENT_ROLE for the Cloud Storage service agent, found no such binding: $remedy"
}

# deployment::check_bucket REMEDY: fail unless `bucket` is there; set `bucket_location`, in lower case.
deployment::check_bucket() {
  tool::find gcloud storage buckets describe "gs://$bucket" --format='value(location)' \
    || script::fail "expected the bucket gs://$bucket, found none: $1"
  bucket_location=$(tr '[:upper:]' '[:lower:]' <<<"$found")
}

# deployment::check_account EMAIL REMEDY: fail unless a service account is there.
deployment::check_account() {
  iam::find_account "$1" || script::fail "expected the service account $1, found none: $2"
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
