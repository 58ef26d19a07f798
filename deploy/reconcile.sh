#!/usr/bin/env bash
#
# Deploy the reconciliation of one environment: a function that compares the bucket with the registry,
# registers what was missed, and records what has vanished; and a job that calls it. Again after every
# change of the code or of a setting.
#
# Usage: deploy/reconcile.sh [--dry-run] [--schedule CRON] dev|staging|prod
#
#   --schedule CRON   when the job calls it, in UTC: "0 3 * * *" when left out, every night at three
#   --dry-run         print every command that changes something, ready to paste, and run none
#   --help            print this
#
# Settings: deploy/config.sh. deploy/setup.sh comes first.

set -euo pipefail

# shellcheck source=deploy/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

BUCKET_ROLE=roles/storage.legacyBucketReader # on the bucket: to list it; it reads no object
INVOKER_ROLE=roles/run.invoker               # on the function, which the job calls as the same account
DEADLINE=1800s                               # the longest that a job can wait for an answer
TIME_ZONE=Etc/UTC

schedule="0 3 * * *"

main() {
  local name=''
  while (($#)); do
    case $1 in
      --help | -h) lib::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --schedule)
        schedule=${2-}
        check_schedule
        shift
        ;;
      dev | staging | prod) name=$name$1 ;;
      *) lib::bad_usage "expected dev, staging, prod, --schedule or --dry-run, found $1" ;;
    esac
    shift
  done
  cloud::one_environment "$name"

  cloud::require gcloud bq
  cloud::reconciliation "$name"
  [[ -n $dry_run ]] || check_setup
  cloud::apis cloudscheduler
  ! cloud::policy || policy=$found
  cloud::find_deployer
  cloud::reader "$RECONCILE_SERVICE_ACCOUNT" "Model registry, reconciliation"
  cloud::bind_table "$REGISTRY_TABLE"
  cloud::bind_table "${REGISTRY_TABLE%.*}.vanished"
  bind_bucket
  deploy
  cloud::bind_service "$member" "$INVOKER_ROLE"
  job
  [[ -n $dry_run ]] || deployed
}

check_schedule() {
  [[ $schedule =~ ^[^[:space:]]+(\ +[^[:space:]]+){4}$ ]] \
    || lib::bad_usage "--schedule: expected five fields such as \"0 3 * * *\", found ${schedule:-nothing}"
}

# check_setup: fail unless all is there that setup.sh makes and the reconciliation needs.
check_setup() {
  local remedy="run deploy/setup.sh $environment"
  cloud::find gcloud storage buckets describe "gs://$bucket" --format='value(name)' \
    || lib::fail "expected the bucket gs://$bucket, found none: $remedy"
  cloud::check_views "$remedy"
}

bind_bucket() {
  cloud::find gcloud storage buckets get-iam-policy "gs://$bucket" --format=json || true
  if ! cloud::binds "$found" "$BUCKET_ROLE" "$member"; then
    cloud::say "$BUCKET_ROLE on $bucket for $member"
    cloud::retry "$NOT_VISIBLE" "$member is not visible yet" \
      gcloud storage buckets add-iam-policy-binding "gs://$bucket" \
      --member="$member" --role="$BUCKET_ROLE" --condition=None --format=none
  fi
}

# One at a time: two would settle the same differences.
deploy() {
  cloud::deploy_command reconcile "$DEADLINE" "BUCKET=$bucket"
  cloud::retry "$NO_ACCOUNT" "$RECONCILE_SERVICE_ACCOUNT is not visible yet" \
    "${deployment[@]}" --trigger-http --max-instances=1 --concurrency=1 --memory=512MB --cpu=1
}

# The job that calls the function: made, or brought up to date. gcloud takes no URL that does not begin
# like one, so it is the host that is looked up.
job() {
  local url wanted verb=create
  local look=(
    gcloud functions describe "$function" --gen2 --project="$GCP_PROJECT_ID" --region="$REGION"
  )
  if [[ -n $dry_run ]]; then
    url="https://\$(${look[*]} --format='value(serviceConfig.uri.basename())')"
  else
    cloud::find "${look[@]}" --format='value(serviceConfig.uri.basename())' \
      || lib::fail "expected the function $function, found none: run deploy/reconcile.sh $environment"
    url=https://$found
  fi
  wanted=$(printf '%s\t' "$schedule" "$TIME_ZONE" "$service_account" "$url")$url
  if cloud::find gcloud scheduler jobs describe "$function" --location="$REGION" \
    --project="$GCP_PROJECT_ID" \
    --format='value(schedule,timeZone,httpTarget.oidcToken.serviceAccountEmail,httpTarget.oidcToken.audience,httpTarget.uri)'; then
    [[ ${found%/} != "$wanted" ]] || return 0 # Cloud Scheduler ends the URL of a host with a slash
    verb=update
  fi
  cloud::say "job $function"
  cloud::run gcloud scheduler jobs "$verb" http "$function" --location="$REGION" \
    --project="$GCP_PROJECT_ID" --schedule="$schedule" --time-zone="$TIME_ZONE" --uri="$url" \
    --http-method=POST --oidc-service-account-email="$service_account" --oidc-token-audience="$url" \
    --attempt-deadline="$DEADLINE" --max-retry-attempts=3 --format=none
}

# deployed: say how to run it.
deployed() {
  cat <<EOF

$function is deployed, and runs at $schedule, $TIME_ZONE. To run it at once, and to see what it did:

gcloud scheduler jobs run $function --location=$REGION --project=$GCP_PROJECT_ID
deploy/logs.sh reconcile-$environment
EOF
}

main "$@"
