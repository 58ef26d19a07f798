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
  artifactregistry bigquery cloudbuild cloudfunctions cloudresourcemanager eventarc iam logging monitoring
  pubsub run storage
)
# What the one who runs this may do on the project.
PERMISSIONS=(
  bigquery.datasets.create bigquery.jobs.create iam.serviceAccounts.create iam.serviceAccounts.setIamPolicy
  resourcemanager.projects.setIamPolicy serviceusage.services.enable storage.buckets.create
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
  look_at_buckets "${environments[@]}"
  iam::need "${PERMISSIONS[@]}"
  project::enable "${APIS[@]}"
  look_at_buckets "${environments[@]}" # where Cloud Storage's API was off
  iam::find_deployer
  project_roles
  bigquery::make
  for name in "${environments[@]}"; do
    function::use "$name"
    bucket::make
    make_account
  done
  [[ -n $dry_run$preview ]] || tool::say "Ready. Deploy with: $(printf 'deploy/%s.sh ' "${environments[@]}")"
}

# look_at_buckets ENV…: fail if the name of a bucket is taken.
look_at_buckets() {
  local name
  for name in "$@"; do
    function::use "$name"
    bucket::find || true
  done
}

project_roles() {
  local agent
  # Builds have an account of their own because in newer projects the default one may do nothing.
  iam::make_account "$BUILD_SERVICE_ACCOUNT" "Builds the model registry's functions"
  iam::bind_on_project "$BUILDER_ROLE" "serviceAccount:$(iam::email "$BUILD_SERVICE_ACCOUNT")"
  # Without this no trigger can be made.
  project::find_storage_agent
  iam::bind_on_project "$STORAGE_AGENT_ROLE" "$agent"
}

# The function runs as this account, which also delivers its events.
make_account() {
  iam::make_account "$SERVICE_ACCOUNT_PREFIX-$environment" "Model registry, $environment"
  iam::bind_on_project "$RECEIVER_ROLE" "$member"
  bigquery::grant "$root/deploy/bigquery/9-access-function.sql"
}

main "$@"
