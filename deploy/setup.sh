#!/usr/bin/env bash
#
# Set up a Google Cloud project for the registry: APIs, buckets, dataset, tables, views, service
# accounts, roles. Once; and again at any time: what is right already is left as it is, and nothing
# is ever deleted or replaced, but for a view of another definition.
#
# Usage: deploy/setup.sh [--dry-run] [dev] [staging] [prod]
#
#   --dry-run   print every command that changes something, ready to paste, and run none
#   --help      print this
#
# Environments: all three, unless some are named. Settings: deploy/config.sh.

set -euo pipefail

# shellcheck source=deploy/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

APIS=(
  artifactregistry bigquery cloudbuild cloudfunctions eventarc iam logging monitoring pubsub run storage
)
# The account that builds the function. Without one of its own, a build runs as the project's default
# Compute Engine account, which in newer projects may do none of this.
BUILD_ROLES=(
  roles/artifactregistry.writer # to store the image
  roles/logging.logWriter       # to say how the build goes
  roles/storage.objectViewer    # to read the uploaded source
)

main() {
  local name environments=()
  for name in "$@"; do
    case $name in
      --help | -h) lib::usage && exit ;;
      --dry-run) dry_run=yes ;;
      dev | staging | prod) environments+=("$name") ;;
      *) lib::bad_usage "expected dev, staging, prod or --dry-run, found $name" ;;
    esac
  done
  ((${#environments[@]})) || environments=(dev staging prod)

  cloud::require gcloud bq
  cloud::apis "${APIS[@]}"
  ! cloud::policy || policy=$found
  cloud::find_deployer
  build_account
  storage_agent
  dataset
  for name in "${environments[@]}"; do
    cloud::environment "$name"
    bucket
    identity
  done
  [[ -n $dry_run ]] || cloud::say "Ready. Deploy with: $(printf 'deploy/%s.sh ' "${environments[@]}")"
}

build_account() {
  local role
  cloud::account "$BUILD_SERVICE_ACCOUNT" "Builds the model registry's functions"
  for role in "${BUILD_ROLES[@]}"; do
    cloud::bind "serviceAccount:$(cloud::email "$BUILD_SERVICE_ACCOUNT")" "$role"
  done
}

# Cloud Storage publishes a bucket's events itself. Without this no trigger can be made.
storage_agent() {
  local agent
  if [[ -n $dry_run ]]; then
    agent="\$(gcloud storage service-agent --project=$GCP_PROJECT_ID)"
  else
    cloud::find gcloud storage service-agent --project="$GCP_PROJECT_ID" \
      || lib::fail "expected a Cloud Storage service agent of $GCP_PROJECT_ID, found: $found"
    agent=$found
  fi
  cloud::bind "serviceAccount:$agent" "$STORAGE_AGENT_ROLE"
}

dataset() {
  local dataset=${REGISTRY_TABLE%.*} column file view complete=yes changed=
  if ! cloud::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:$dataset"; then
    cloud::say "dataset $dataset"
    cloud::run "${bq[@]}" mk --dataset --location="$REGION" \
      --description="Uploads of model artifacts" "$GCP_PROJECT_ID:$dataset"
  fi
  cloud::find "${bq[@]}" show --schema --format=json "$GCP_PROJECT_ID:$REGISTRY_TABLE" || complete=
  for column in $(columns); do
    grep -qE "\"name\": *\"$column\"" <<<"$found" || complete=
  done
  if [[ -z $complete ]]; then
    cloud::say "table $REGISTRY_TABLE"
    query "$(cloud::sql "$root/deploy/bigquery/models.sql")"
  fi
  if ! cloud::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:$dataset.vanished"; then
    cloud::say "table $dataset.vanished"
    query "$(cloud::sql "$root/deploy/bigquery/vanished.sql")"
  fi
  for view in "${VIEWS[@]}"; do
    file=$root/deploy/bigquery/views/$view.sql
    # After one that is new, so are those which read it: they have its columns.
    if [[ -n $changed ]] || ! same_view "$dataset.$view" "$file"; then
      changed=yes
      cloud::say "view $dataset.$view"
      query "$(cloud::sql "$file")"
    fi
  done
}

# columns: what models.sql defines.
columns() {
  sed -nE 's/^  (ADD COLUMN IF NOT EXISTS )?([a-z0-9_]+) [A-Z0-9]+ .*/\2/p' "$root/deploy/bigquery/models.sql"
}

# same_view VIEW FILE: whether the view is there as the file defines it, white space aside.
same_view() {
  local wanted
  cloud::find "${bq[@]}" show --view --format=json "$GCP_PROJECT_ID:$1" || return 1
  wanted=$(cloud::sql "$2" | sed -n '/^AS$/,$p' | sed '1d;$s/;$//; s/[\"]/\\&/g') # as JSON has it
  wanted=\"query\":\"${wanted//\\n/}\"
  found=${found//\\n/}
  [[ ${found//[[:space:]]/} == *"${wanted//[[:space:]]/}"* ]]
}

query() {
  cloud::run "${bq[@]}" --format=none query --use_legacy_sql=false "$1"
}

bucket() {
  if ! cloud::find gcloud storage buckets describe "gs://$bucket" --format='value(versioning_enabled)'; then
    cloud::say "bucket $bucket"
    cloud::run gcloud storage buckets create "gs://$bucket" --project="$GCP_PROJECT_ID" \
      --location="$REGION" --uniform-bucket-level-access --public-access-prevention
  fi
  if [[ $found != True ]]; then
    cloud::run gcloud storage buckets update "gs://$bucket" --versioning
  fi
}

# The function runs as this account, and its events are delivered in its name.
identity() {
  local role
  cloud::account "$SERVICE_ACCOUNT_PREFIX-$environment" "Model registry, $environment"
  for role in "${PROJECT_ROLES[@]}"; do
    cloud::bind "$member" "$role"
  done
  cloud::bind_table "$REGISTRY_TABLE"
  cloud::bind_dataset "$DATASET_ROLE"
}

main "$@"
