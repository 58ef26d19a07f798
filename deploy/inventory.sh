#!/usr/bin/env bash
#
# Deploy the page of the inventory, which shows what is registered, for all environments. It only
# reads, and only the people you name may open it. Run it again after a change of the code or of a
# setting.
#
# Usage: deploy/inventory.sh [--dry-run] [--viewer MEMBER]...
#
#   --viewer MEMBER   let somebody open it: user:ada@example.com, group:ml@example.com,
#                     serviceAccount:<address> or domain:example.com
#   --dry-run         print every command that changes something, ready to paste, and run none
#   --help            print this
#
# Settings: deploy/config.sh. Run deploy/setup.sh first.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What a viewer may do on the page's service.
VIEWER_ROLES=(
  "$INVOKER_ROLE"  # to open it
  roles/run.viewer # for gcloud's proxy, which looks up its address
)
# What the one who runs this for the first time may do on the project.
PERMISSIONS=(
  bigquery.jobs.create cloudfunctions.functions.create iam.serviceAccounts.create
  iam.serviceAccounts.setIamPolicy resourcemanager.projects.setIamPolicy run.services.setIamPolicy
)

main() {
  local viewer role viewers=()
  while (($#)); do
    case $1 in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --viewer)
        check_viewer "${2-}"
        viewers+=("$2")
        shift
        ;;
      *) script::bad_usage "expected --viewer or --dry-run, found $1" ;;
    esac
    shift
  done

  tool::require gcloud bq
  function::use inventory
  [[ -n $dry_run$preview ]] || check_setup "run deploy/setup.sh"
  iam::find_account "$service_account" || iam::need "${PERMISSIONS[@]}"
  iam::find_deployer
  iam::make_account "$INVENTORY_SERVICE_ACCOUNT" "Model registry, inventory"
  iam::bind_on_project "$JOB_ROLE" "$member"
  bigquery::grant "$root/deploy/bigquery/9-access-page.sql"
  deploy
  for role in "${VIEWER_ROLES[@]}"; do
    for viewer in ${viewers[@]+"${viewers[@]}"}; do
      function::bind "$role" "$viewer"
    done
  done
  [[ -n $dry_run$preview ]] || say_deployed
}

# check_viewer MEMBER
check_viewer() {
  case $1 in
    allUsers | allAuthenticatedUsers)
      script::bad_usage "--viewer: expected people of the project, found $1: the page shows who uploaded what" ;;
  esac
  [[ $1 =~ ^(user|group|serviceAccount|domain|principal|principalSet):[^[:space:]]+$ ]] \
    || script::bad_usage "--viewer: expected user:, group:, serviceAccount: or domain: and a name, found ${1:-nothing}"
}

check_setup() {
  deployment::check_builder "$1"
  bigquery::check "$1"
}

# People call it from outside, so IAM protects it, not the ingress settings.
deploy() {
  deployment::command inventory 40 "" "${LINKS:+LINKS=${LINKS//$'\n'/ }}"
  tool::run "${deployment[@]}" --trigger-http --max-instances=2 --memory=512MB
}

say_deployed() {
  cat <<EOF

$function is deployed. To open it:

gcloud run services proxy $function --project=$GCP_PROJECT_ID --region=$REGION

and then http://localhost:8080. deploy/inventory.sh --viewer user:ada@example.com lets somebody else in.
EOF
}

main "$@"
