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
  [[ -n $dry_run ]] || cloud::check_views "run deploy/setup.sh"
  ! cloud::policy || policy=$found
  cloud::find_deployer
  cloud::reader "$INVENTORY_SERVICE_ACCOUNT" "Model registry, inventory"
  deploy
  for viewer in ${viewers[@]+"${viewers[@]}"}; do
    cloud::bind_service "$viewer" "${VIEWER_ROLES[@]}"
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

# People come from outside: it is IAM that protects it, not the ingress. An instance that answers more
# than one request at a time needs a whole CPU.
deploy() {
  cloud::deploy_command inventory
  cloud::retry "$NO_ACCOUNT" "$INVENTORY_SERVICE_ACCOUNT is not visible yet" \
    "${deployment[@]}" --trigger-http --max-instances=2 --memory=512MB --cpu=1 --concurrency=40
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
