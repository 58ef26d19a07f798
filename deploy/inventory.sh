#!/usr/bin/env bash
#
# Deploy the inventory, a web page that shows what is registered: one for all environments. It only
# reads, and only who is let in may open it. Again after every change of the code or of a setting.
#
# Usage: deploy/inventory.sh [--dry-run] [--viewer MEMBER]...
#
#   --viewer MEMBER   let somebody open it: user:ada@example.com, group:ml@example.com,
#                     serviceAccount:<address> or domain:example.com
#   --dry-run         print every command that changes something, ready to paste, and run none
#   --help            print this
#
# Settings: deploy/config.sh. deploy/setup.sh comes first.

set -euo pipefail

# shellcheck source=deploy/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

# What the page may do: the least with which it can query the views.
JOB_ROLE=roles/bigquery.jobUser # on the project: to run queries
# On the dataset: to read the views, and the table below them. It is roles/bigquery.dataViewer, which an
# access list shows by this name alone.
READER_ROLE=READER
# On the page, for people.
VIEWER_ROLES=(
  roles/run.invoker # to open it
  roles/run.viewer  # for the proxy, which looks where it is
)

main() {
  local viewer viewers=()
  while (($#)); do
    case $1 in
      --help | -h) lib::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --viewer)
        check_viewer "${2-}"
        viewers+=("$2")
        shift
        ;;
      *) lib::bad_usage "expected --viewer or --dry-run, found $1" ;;
    esac
    shift
  done

  cloud::require gcloud bq
  cloud::inventory
  [[ -n $dry_run ]] || check_setup
  ! cloud::policy || policy=$found
  cloud::find_deployer
  cloud::account "$INVENTORY_SERVICE_ACCOUNT" "Model registry, inventory"
  cloud::bind "$member" "$JOB_ROLE"
  cloud::bind_dataset "$READER_ROLE"
  deploy
  for viewer in ${viewers[@]+"${viewers[@]}"}; do
    let_in "$viewer"
  done
  [[ -n $dry_run ]] || deployed
}

# check_viewer MEMBER
check_viewer() {
  case $1 in
    allUsers | allAuthenticatedUsers)
      lib::bad_usage "--viewer: expected people of the project, found $1: the page shows who uploaded what" ;;
  esac
  [[ $1 =~ ^(user|group|serviceAccount|domain|principal|principalSet):[^[:space:]]+$ ]] \
    || lib::bad_usage "--viewer: expected user:, group:, serviceAccount: or domain: and a name, found ${1:-nothing}"
}

# check_setup: fail unless all is there that setup.sh makes and the page needs.
check_setup() {
  local remedy="run deploy/setup.sh" builder view
  builder=$(cloud::email "$BUILD_SERVICE_ACCOUNT")
  cloud::find gcloud iam service-accounts describe "$builder" --project="$GCP_PROJECT_ID" \
    --format='value(email)' || lib::fail "expected the service account $builder, found none: $remedy"
  cloud::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:$REGISTRY_TABLE" \
    || lib::fail "expected the table $REGISTRY_TABLE, found none: $remedy"
  for view in "${VIEWS[@]}"; do
    view=${REGISTRY_TABLE%.*}.$view
    cloud::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:$view" \
      || lib::fail "expected the view $view, found none: $remedy"
  done
}

# People come from outside: it is IAM that protects it, not the ingress. An instance that answers more
# than one request at a time needs a whole CPU.
deploy() {
  cloud::deploy_command inventory
  cloud::retry "$NO_ACCOUNT" "$INVENTORY_SERVICE_ACCOUNT is not visible yet" \
    "${deployment[@]}" --trigger-http --max-instances=2 --memory=512MB --cpu=1 --concurrency=40
}

# let_in MEMBER: on this one service.
let_in() {
  local role
  cloud::find gcloud run services get-iam-policy "$function" --project="$GCP_PROJECT_ID" \
    --region="$REGION" --format=json || true
  for role in "${VIEWER_ROLES[@]}"; do
    if ! cloud::binds "$found" "$role" "$1"; then
      cloud::say "$role on $function for $1"
      cloud::run gcloud run services add-iam-policy-binding "$function" --project="$GCP_PROJECT_ID" \
        --region="$REGION" --member="$1" --role="$role" --format=none
    fi
  done
}

# deployed: say how to open it.
deployed() {
  cat <<EOF

$function is deployed. To open it:

gcloud run services proxy $function --project=$GCP_PROJECT_ID --region=$REGION

and then http://localhost:8080. deploy/inventory.sh --viewer user:ada@example.com lets somebody else in.
EOF
}

main "$@"
