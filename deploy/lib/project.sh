# The project: its APIs, and the agents with which Google's services act in it.
# shellcheck shell=bash

project_number= # set by tool::require

STORAGE_AGENT_ROLE=roles/pubsub.publisher # on the project: Cloud Storage's agent publishes the events

# project::enable NAME…: enable APIs, given without .googleapis.com.
project::enable() {
  local name absent=()
  tool::find gcloud services list --enabled --project="$GCP_PROJECT_ID" --format='value(config.name)' || true
  for name in "$@"; do
    tool::has_line "$name.googleapis.com" "$found" || absent+=("$name.googleapis.com")
  done
  ((${#absent[@]})) || return 0
  tool::say "APIs"
  tool::run gcloud services enable "${absent[@]}" --project="$GCP_PROJECT_ID"
}

# project::has_api NAME.googleapis.com: whether an API is enabled.
project::has_api() {
  gcloud services list --enabled --project="$GCP_PROJECT_ID" --format='value(config.name)' 2>/dev/null </dev/null \
    | grep -x "$1" >/dev/null
}

# project::find_storage_agent: set `agent` to Cloud Storage's service agent, as a member of a policy.
project::find_storage_agent() {
  agent="serviceAccount:\$(gcloud storage service-agent --project=$GCP_PROJECT_ID)"
  [[ -z $dry_run ]] || return 0
  tool::find gcloud storage service-agent --project="$GCP_PROJECT_ID" \
    || script::fail "expected a Cloud Storage service agent in $GCP_PROJECT_ID, found: $found"
  agent=serviceAccount:$found
}

# project::find_pubsub_agent: set `agent` to Pub/Sub's service agent, as a member of a policy.
project::find_pubsub_agent() {
  local number=$project_number
  [[ -z $dry_run ]] || number="\$(gcloud projects describe $GCP_PROJECT_ID --format='value(projectNumber)')"
  agent=serviceAccount:service-$number@gcp-sa-pubsub.iam.gserviceaccount.com
}
