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
  grep -qxF "$role $member " <<<"$policy"
}

# iam::bind ROLE MEMBER GROUP NAME [FLAG…]: give a role on a resource to a member who lacks it.
iam::bind() {
  local role=$1 member=$2 group condition=(--condition=None)
  shift 2
  ! iam::bound "$role" "$member" "$@" || return 0
  read -ra group <<<"$1"
  [[ ${group[0]} != pubsub ]] || condition=() # it knows no conditions
  tool::say "$role on $2 for $member"
  tool::retry "$NOT_VISIBLE" "$member is not visible yet" \
    gcloud "${group[@]}" add-iam-policy-binding "${@:2}" --member="$member" --role="$role" \
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
  else
    tool::find gcloud auth list --filter=status:ACTIVE --format='value(account)'
    case $found in
      '') ;;
      *.gserviceaccount.com) deployer=serviceAccount:$found ;;
      *) deployer=user:$found ;;
    esac
  fi
}

# iam::make_account ID TITLE: make a service account, and let `deployer` deploy functions as it.
iam::make_account() {
  local email
  email=$(iam::email "$1")
  if ! iam::find_account "$email"; then
    tool::say "service account $1"
    tool::run gcloud iam service-accounts create "$1" --project="$GCP_PROJECT_ID" --display-name="$2"
  fi
  [[ -n $deployer ]] || return 0
  iam::bind "$DEPLOYER_ROLE" "$deployer" "iam service-accounts" "$email" --project="$GCP_PROJECT_ID"
}

# iam::find_account EMAIL: return 1 if there is no such service account.
iam::find_account() {
  tool::find gcloud iam service-accounts describe "$1" --project="$GCP_PROJECT_ID" --format='value(email)'
}
