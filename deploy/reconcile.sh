#!/usr/bin/env bash
#
# Deploy the reconciliation of environments: for each a function that compares the bucket with the
# registry, registers what was missed, and records what is gone; and a job that calls it. Run it again
# after a change of the code or of a setting.
#
# Usage: deploy/reconcile.sh [--dry-run] [--schedule CRON] dev|staging|prod...
#
#   --schedule CRON   when the job calls it, in UTC. By default as before; a new job "0 3 * * *": at three
#                     every night
#   --dry-run         print every command that changes something, ready to paste, and run none
#   --help            print this
#
# Settings: deploy/config.sh. Run deploy/setup.sh first.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

BUCKET_ROLE=roles/storage.legacyBucketReader # on the bucket: to list it; it reads no object
DEADLINE=1800s                               # the longest that a job can wait for an answer
TIME_ZONE=Etc/UTC
# What the one who runs this for the first time may do on the project.
PERMISSIONS=(
  bigquery.jobs.create cloudfunctions.functions.create cloudscheduler.jobs.create iam.serviceAccounts.create
  iam.serviceAccounts.setIamPolicy resourcemanager.projects.setIamPolicy run.services.setIamPolicy
  serviceusage.services.enable storage.buckets.setIamPolicy
)

schedule= # as --schedule says
cron=     # of the job that was made last
zone=

main() {
  local name environments=()
  while (($#)); do
    case $1 in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --schedule)
        schedule=${2-}
        check_schedule
        shift
        ;;
      dev | staging | prod) environments+=("$1") ;;
      *) script::bad_usage "expected dev, staging, prod, --schedule or --dry-run, found $1" ;;
    esac
    shift
  done
  ((${#environments[@]})) || script::bad_usage "expected one or more of dev, staging, prod, found nothing"

  tool::require gcloud bq
  for name in "${environments[@]}"; do
    function::use "reconcile-$name"
    [[ -n $dry_run$preview ]] || check_setup "run deploy/setup.sh $environment"
  done
  iam::find_account "$service_account" || iam::need "${PERMISSIONS[@]}"
  project::enable cloudscheduler
  iam::find_deployer
  iam::make_account "$RECONCILE_SERVICE_ACCOUNT" "Model registry, reconciliation"
  iam::bind_on_project "$JOB_ROLE" "$member"
  bigquery::grant "$root/deploy/bigquery/9-access-reconciliation.sql"
  for name in "${environments[@]}"; do
    function::use "reconcile-$name"
    iam::bind "$BUCKET_ROLE" "$member" "storage buckets" "gs://$bucket"
    deploy
    function::bind "$INVOKER_ROLE" "$member"
    make_job
    [[ -n $dry_run$preview ]] || say_deployed
  done
}

check_schedule() {
  [[ $schedule =~ ^[^[:space:]]+(\ +[^[:space:]]+){4}$ ]] \
    || script::bad_usage "--schedule: expected five fields such as \"0 3 * * *\", found ${schedule:-nothing}"
}

check_setup() {
  bucket::check "$1"
  deployment::check_builder "$1"
  bigquery::check "$1"
}

# One instance and one request at a time: two would correct the same differences.
deploy() {
  deployment::command reconcile 1 "$DEADLINE" "BUCKET=$bucket"
  tool::run "${deployment[@]}" --trigger-http --max-instances=1 --memory=512MB
}

# Make or update the job that calls the function. gcloud refuses a URL without its scheme, even one
# that is still to be looked up, so only the host is looked up.
make_job() {
  local url wanted host='value(serviceConfig.uri.basename())' run=(tool::make function::find_job) verb=create
  local target='httpTarget.oidcToken.serviceAccountEmail,httpTarget.oidcToken.audience,httpTarget.uri'
  if [[ -n $dry_run ]]; then
    url="https://\$(gcloud functions describe $function --gen2 --project=$GCP_PROJECT_ID --region=$REGION --format='$host')"
  else
    function::find "$host" \
      || script::fail "expected the function $function, found none: run deploy/reconcile.sh $environment"
    url=https://$found
  fi
  cron=$schedule zone=$TIME_ZONE
  if function::find_job "value(schedule,timeZone,$target)"; then
    [[ -n $cron ]] || IFS=$'\t' read -r cron zone _ <<<"$found"
    run=(tool::run) verb=update
  fi
  : "${cron:=0 3 * * *}"
  wanted=$(printf '%s\t' "$cron" "$zone" "$service_account" "$url")$url
  [[ ${found%/} != "$wanted" ]] || return 0 # Cloud Scheduler adds a slash to the URL of a host
  tool::say "job $function"
  "${run[@]}" gcloud scheduler jobs "$verb" http "$function" --location="$REGION" \
    --project="$GCP_PROJECT_ID" --schedule="$cron" --time-zone="$zone" --uri="$url" \
    --http-method=POST --oidc-service-account-email="$service_account" --oidc-token-audience="$url" \
    --attempt-deadline="$DEADLINE" --max-retry-attempts=3 --format=none
}

say_deployed() {
  cat <<EOF

$function is deployed, and runs at $cron, $zone. To run it at once, and to see what it did:

gcloud scheduler jobs run $function --location=$REGION --project=$GCP_PROJECT_ID
deploy/logs.sh reconcile-$environment

To be told when it does not run, or finds lost events; again, if its schedule has changed:

deploy/monitoring.sh $environment
EOF
}

main "$@"
