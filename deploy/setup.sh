#!/usr/bin/env bash
#
# Set up a Google Cloud project for the registry: APIs, buckets, dataset, tables, views, service
# accounts and their roles. Run it once, and again at any time: it adds what is missing, leaves what
# is right, and deletes nothing.
#
# Usage: deploy/setup.sh [--dry-run] [dev] [staging] [prod]
#
#   --dry-run   print every command that changes something, ready to paste, and run none
#   --help      print this
#
# Without an environment it sets up all three. Settings: deploy/config.sh.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

APIS=(
  artifactregistry bigquery cloudbuild cloudfunctions eventarc iam logging monitoring pubsub run storage
)
# What the account that builds the functions may do on the project. It has its own account because in
# newer projects the default one, Compute Engine's, has none of these roles.
BUILD_ROLES=(
  roles/artifactregistry.writer # to store the image
  roles/logging.logWriter       # to log the build
  roles/storage.objectViewer    # to read the uploaded source
)

main() {
  local name environments=()
  for name in "$@"; do
    case $name in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      dev | staging | prod) environments+=("$name") ;;
      *) script::bad_usage "expected dev, staging, prod or --dry-run, found $name" ;;
    esac
  done
  ((${#environments[@]})) || environments=(dev staging prod)

  tool::require gcloud bq
  project::enable "${APIS[@]}"
  iam::find_deployer
  project_roles
  bigquery::make
  for name in "${environments[@]}"; do
    function::use "$name"
    make_bucket
    make_account
  done
  [[ -n $dry_run ]] || tool::say "Ready. Deploy with: $(printf 'deploy/%s.sh ' "${environments[@]}")"
}

project_roles() {
  local role agent
  iam::make_account "$BUILD_SERVICE_ACCOUNT" "Builds the model registry's functions"
  for role in "${BUILD_ROLES[@]}"; do
    iam::bind_on_project "$role" "serviceAccount:$(iam::email "$BUILD_SERVICE_ACCOUNT")"
  done
  # Without this no trigger can be made.
  project::find_storage_agent
  iam::bind_on_project "$STORAGE_AGENT_ROLE" "$agent"
}

make_bucket() {
  if ! tool::find gcloud storage buckets describe "gs://$bucket" --format='value(versioning_enabled)'; then
    tool::say "bucket $bucket"
    tool::run gcloud storage buckets create "gs://$bucket" --project="$GCP_PROJECT_ID" \
      --location="$REGION" --uniform-bucket-level-access --public-access-prevention
  fi
  if [[ $found != True ]]; then
    tool::run gcloud storage buckets update "gs://$bucket" --versioning
  fi
}

# The function runs as this account, which also delivers its events.
make_account() {
  local role
  iam::make_account "$SERVICE_ACCOUNT_PREFIX-$environment" "Model registry, $environment"
  for role in "${EVENT_ROLES[@]}"; do
    iam::bind_on_project "$role" "$member"
  done
  bigquery::grant "$root/deploy/bigquery/9-access-function.sql"
}

main "$@"
