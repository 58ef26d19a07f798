# Service accounts, roles, and who has them.
# shellcheck shell=bash

deployer= # set by iam::find_deployer

DEPLOYER_ROLE=roles/iam.serviceAccountUser # on an account: to deploy a function that runs, or is built, as it
# shellcheck disable=SC2034 # for the scripts that deploy what queries the views
JOB_ROLE=roles/bigquery.jobUser # on the project: to run queries

# The policy that was read last, and whose it is.
policy=
policy_of=

# iam::email ID: print a service account's address. In a project such as example.com:acme the parts
# of the project's id swap places.
iam::email() {
  local project=$GCP_PROJECT_ID
  case $project in *:*) project=${project#*:}.${project%%:*} ;; esac
  echo "$1@$project.iam.gserviceaccount.com"
}

# iam::bound ROLE MEMBER GROUP NAME [FLAG…]: whether the policy of a resource gives a role to a
# member, without a condition. GROUP is gcloud's, such as "storage buckets". Sets `policy`, `policy_of`.
iam::bound() {
  local role=$1 member=$2 group
  shift 2
  if [[ $policy_of != "$*" ]]; then
    read -ra group <<<"$1"
    policy=
    ! tool::find gcloud "${group[@]}" get-iam-policy "${@:2}" --flatten='bindings[].members' \
      --format='csv[no-heading,separator=" "](bindings.role,bindings.members,bindings.condition.title)' \
      || policy=$found
    policy_of=$*
  fi
  tool::has_line "$role $member " "$policy"
}

# iam::bind ROLE MEMBER GROUP NAME [FLAG…]: give a role on a resource to a member who lacks it.
iam::bind() {
  local role=$1 member=$2 group condition=(--condition=None)
  shift 2
  ! iam::bound "$role" "$member" "$@" || return 0
  read -ra group <<<"$1"
  [[ ${group[0]} != pubsub ]] || condition=() # it knows no conditions
  tool::say "$role on $2 for $member"
  tool::run gcloud "${group[@]}" add-iam-policy-binding "${@:2}" --member="$member" --role="$role" \
    ${condition[@]+"${condition[@]}"} --format=none
}

# iam::bind_on_project ROLE MEMBER
iam::bind_on_project() {
  iam::bind "$1" "$2" projects "$GCP_PROJECT_ID"
}

# iam::find_deployer: set `deployer` to DEPLOYER or else to the account that runs this. An access
# token alone names nobody: then it is empty.
iam::find_deployer() {
  deployer=$DEPLOYER
  if [[ -n $deployer ]]; then
    return
  elif [[ -n $dry_run ]]; then
    deployer="user:\$(gcloud config get account)"
    return
  fi
  # Of several accounts, each acts as the next one.
  tool::find gcloud config get auth/impersonate_service_account
  found=${found##*,}
  [[ -n $found ]] || tool::find gcloud auth list --filter=status:ACTIVE --format='value(account)'
  case $found in
    '') ;;
    principal:* | principalSet:*) deployer=$found ;; # a workload's, without a service account
    *.gserviceaccount.com) deployer=serviceAccount:$found ;;
    *) deployer=user:$found ;;
  esac
}

# iam::make_account ID TITLE: make a service account, and let `deployer` deploy functions as it.
iam::make_account() {
  email=$(iam::email "$1")
  if ! iam::there; then
    tool::say "service account $1"
    tool::make iam::there \
      gcloud iam service-accounts create "$1" --project="$GCP_PROJECT_ID" --display-name="$2"
  fi
  [[ -n $deployer ]] || return 0
  iam::bind "$DEPLOYER_ROLE" "$deployer" "iam service-accounts" "$email" --project="$GCP_PROJECT_ID"
}

iam::there() {
  iam::find_account "$email"
}

# iam::find_account EMAIL: set `found` to whether a service account is disabled, or return 1 if there is
# none.
iam::find_account() {
  tool::find gcloud iam service-accounts describe "$1" --project="$GCP_PROJECT_ID" --format='value(disabled)'
}

# iam::is_ours EMAIL: whether a service account is one that a script makes, or a service's own.
iam::is_ours() {
  local id
  for id in "$BUILD_SERVICE_ACCOUNT" "$INVENTORY_SERVICE_ACCOUNT" "$RECONCILE_SERVICE_ACCOUNT" \
    "$SERVICE_ACCOUNT_PREFIX"-{dev,staging,prod}; do
    [[ $1 != "$(iam::email "$id")" ]] || return 0
  done
  [[ $1 == *@gcp-sa-* || $1 == service-*@gs-project-accounts.* ]]
}

# iam::may_act_as EMAIL: whether the one who runs this has a role to deploy as a service account: on it, or
# on the whole project.
iam::may_act_as() {
  iam::find_deployer
  [[ -z $deployer ]] \
    || iam::bound "$DEPLOYER_ROLE" "$deployer" "iam service-accounts" "$1" --project="$GCP_PROJECT_ID" \
    || [[ -z $(iam::missing_permissions iam.serviceAccounts.actAs) ]]
}

# iam::need PERMISSION…: before anything is made, fail if the one who runs this lacks permissions on the
# project.
iam::need() {
  local missing
  [[ -z $dry_run ]] || return 0
  missing=$(iam::missing_permissions "$@")
  [[ -z $missing ]] || script::fail \
    "expected permission on $GCP_PROJECT_ID for $missing, found none: ask an owner of the project to run it"
}

# iam::missing_permissions PERMISSION…: print those that the one who runs this lacks on the project. gcloud
# has no command for it, so this asks the service itself. Prints nothing where that cannot be asked.
# https://docs.cloud.google.com/resource-manager/reference/rest/v1/projects/testIamPermissions
iam::missing_permissions() {
  local service token permission answer lacking=()
  service=$(gcloud config get api_endpoint_overrides/cloudresourcemanager 2>/dev/null </dev/null) || true
  [[ -n $service ]] || service=https://cloudresourcemanager.googleapis.com/
  # The token goes by standard input, so that no list of processes shows it.
  token=$(gcloud auth print-access-token 2>/dev/null </dev/null) || return 0
  answer=$(curl --silent --fail --max-time 30 --config - --header 'Content-Type: application/json' \
    --data "{\"permissions\": [$(printf '"%s",' "$@" | sed 's/,$//')]}" \
    "${service%/}/v1/projects/$GCP_PROJECT_ID:testIamPermissions" \
    2>/dev/null <<<"header = \"Authorization: Bearer $token\"") || return 0
  for permission in "$@"; do
    [[ $answer == *"\"$permission\""* ]] || lacking+=("$permission")
  done
  echo "${lacking[*]-}"
}
