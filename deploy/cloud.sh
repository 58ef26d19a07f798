# What the scripts that talk to Google Cloud share: the settings, the roles, and functions.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
# shellcheck source=deploy/config.sh
source "$root/deploy/config.sh"
# shellcheck source=deploy/lib.sh
source "$root/deploy/lib.sh"

dry_run=  # set by --dry-run
found=    # set by cloud::find
policy=   # the project's bindings, as cloud::policy finds them
deployer= # set by cloud::find_deployer

# What every environment's service account may do, and where: the least with which an upload becomes
# a row. Uploads need nothing: the function never reads an object.
PROJECT_ROLES=(
  roles/eventarc.eventReceiver # to be handed the bucket's events by Eventarc
  roles/run.invoker            # to deliver them to the function, which takes no anonymous call
)
TABLE_ROLE=roles/bigquery.dataEditor       # on the table alone: to append rows
DATASET_ROLE=roles/bigquery.metadataViewer # on the dataset: insertAll looks at it; shows no row
# What reads the views may do: the least with which it can query them.
JOB_ROLE=roles/bigquery.jobUser # on the project: to run queries
# On the dataset: to read the views, and the tables below them. It is roles/bigquery.dataViewer, which an
# access list shows by this name alone.
READER_ROLE=READER
STORAGE_AGENT_ROLE=roles/pubsub.publisher  # Cloud Storage's own agent publishes the events
DEPLOYER_ROLE=roles/iam.serviceAccountUser # on each account: to have the function run or be built as it
# What is said of a new account which cannot be seen yet, and of a change that met another.
NOT_VISIBLE='does not exist|not.?found|unknown service account|invalid.*(account|member|user)|concurrent|conflict'
NO_ACCOUNT='service account .*(not found|does not exist)' # what a deployment says of one
ADD_ACCESS='s#"access": *\[#&GRANTED, #'

# deploy/bigquery/views/, each after the one that it reads: BigQuery makes no view on what is not there.
VIEWS=(registrations artifacts model_versions promotions latest_models)

# bq, on this project, and without asking to be initialized.
bq=(bq --headless --project_id="$GCP_PROJECT_ID")

# cloud::environment ENV: set what belongs to an environment.
cloud::environment() {
  environment=$1
  bucket=$BUCKET_PREFIX-$1
  function=$FUNCTION_PREFIX-$1
  service_account=$(cloud::email "$SERVICE_ACCOUNT_PREFIX-$1")
  member=serviceAccount:$service_account
}

# cloud::inventory: likewise, what belongs to the inventory, of which a project has one.
cloud::inventory() {
  function=$FUNCTION_PREFIX-inventory
  service_account=$(cloud::email "$INVENTORY_SERVICE_ACCOUNT")
  member=serviceAccount:$service_account
}

# cloud::reconciliation ENV: likewise, what belongs to an environment's reconciliation. Its job has the
# function's name.
cloud::reconciliation() {
  cloud::environment "$1"
  function=$FUNCTION_PREFIX-reconcile-$1
  service_account=$(cloud::email "$RECONCILE_SERVICE_ACCOUNT")
  member=serviceAccount:$service_account
}

# cloud::email ID: a service account's address. A project such as example.com:acme turns around in it.
cloud::email() {
  local project=$GCP_PROJECT_ID
  case $project in *:*) project=${project#*:}.${project%%:*} ;; esac
  echo "$1@$project.iam.gserviceaccount.com"
}

# cloud::require TOOL…: fail, before anything is changed, unless the tools and the project are there.
cloud::require() {
  local tool answer
  # No prompt ever waits for somebody who is not there.
  export CLOUDSDK_CORE_DISABLE_PROMPTS=1
  [[ $REGISTRY_TABLE =~ ^[A-Za-z0-9_]+\.[A-Za-z0-9_-]+$ ]] \
    || lib::fail "REGISTRY_TABLE: expected <dataset>.<table>, found $REGISTRY_TABLE"
  [[ -z $dry_run ]] || return 0
  for tool in "$@"; do
    command -v "$tool" >/dev/null \
      || lib::fail "expected $tool on the PATH, found none: install the Google Cloud CLI"
  done
  if ! answer=$(gcloud projects describe "$GCP_PROJECT_ID" --format='value(projectNumber)' 2>&1 </dev/null); then
    case $answer in
      *"not currently have an active account"* | *"auth login"*)
        lib::fail "expected an active account, found none: run gcloud auth login" ;;
    esac
    lib::fail "expected access to the project $GCP_PROJECT_ID (GCP_PROJECT_ID), found: $(cloud::reason "$answer")"
  fi
}

# cloud::say WORD…: a comment, so that all which --dry-run prints can be pasted.
cloud::say() {
  echo "# $*"
}

# cloud::reason OUTPUT: what went wrong, of all that a tool said, on one line.
cloud::reason() {
  tr -s '[:space:]' ' ' <<<"$1" | sed -E 's/^.*(ERROR: |[Ee]rror in )/\1/; s/ $//' | cut -c 1-500
}

# cloud::run COMMAND…: run what changes something; under --dry-run print it, ready to paste.
cloud::run() {
  if [[ -z $dry_run ]]; then
    "$@" </dev/null >&2 # where bq, too, should tell its errors
    return
  fi
  local word line=
  for word in "$@"; do
    # shellcheck disable=SC2016 # it is the text that is looked for
    case $word in
      *'$('* | *'$subscription'*) # what is looked up when it is pasted
        word=${word//\\/\\\\}
        word=${word//\"/\\\"}
        line+="\"${word//\`/\\\`}\" "
        ;;
      *) line+="$(printf '%q' "$word") " ;;
    esac
  done
  echo "${line% }"
}

# cloud::find COMMAND…: set `found` to what a looking command prints; 1 if there is no such thing.
# Anything else that goes wrong ends the script. Under --dry-run nothing is there, as nothing is asked.
cloud::find() {
  local errors status=0
  found=
  [[ -z $dry_run ]] || return 1
  errors=$(mktemp)
  found=$("$@" 2>"$errors" </dev/null) || status=$?
  # bq prints its errors on standard output.
  ((status == 0)) || found+=$(cat "$errors")
  rm -f "$errors"
  ((status != 0)) || return 0
  found=$(cloud::reason "$found")
  if grep -qiE 'denied|permission' <<<"$found" \
    || ! grep -qiE 'not.?found|HTTPError 404|does not exist|matched no objects' <<<"$found"; then
    lib::fail "${*:1:4}: $found"
  fi
  return 1
}

# cloud::retry PATTERN REASON COMMAND…: run what changes something; when it fails with an error that
# matches, say so, wait, and try again, for about three minutes in all.
cloud::retry() {
  local pattern=$1 reason=$2 log status wait
  shift 2
  if [[ -n $dry_run ]]; then
    cloud::run "$@"
    return
  fi
  log=$(mktemp)
  for wait in 5 10 20 40 60 60 0; do
    status=0
    "$@" </dev/null 2>&1 | tee "$log" >&2 || status=$?
    if ((status == 0 || wait == 0)) || ! tr -s '[:space:]' ' ' <"$log" | grep -iE "$pattern" >/dev/null; then
      break
    fi
    echo "$reason: trying again in $wait s" >&2
    sleep "$wait"
  done
  rm -f "$log"
  return "$status"
}

# cloud::apis NAME…: enable APIs, by what stands before .googleapis.com.
cloud::apis() {
  local name missing=()
  cloud::find gcloud services list --enabled --project="$GCP_PROJECT_ID" \
    --format='value(config.name)' || true
  for name in "$@"; do
    grep -qx "$name.googleapis.com" <<<"$found" || missing+=("$name.googleapis.com")
  done
  ((${#missing[@]})) || return 0
  cloud::say "APIs"
  cloud::run gcloud services enable "${missing[@]}" --project="$GCP_PROJECT_ID"
}

# cloud::policy: set `found` to the project's bindings, a line each: role, member, title of a condition.
cloud::policy() {
  cloud::find gcloud projects get-iam-policy "$GCP_PROJECT_ID" --flatten='bindings[].members' \
    --format='csv[no-heading,separator=" "](bindings.role,bindings.members,bindings.condition.title)'
}

# cloud::account ID NAME: make a service account, which whoever deploys may hand to a function.
cloud::account() {
  local email
  email=$(cloud::email "$1")
  if ! cloud::find gcloud iam service-accounts describe "$email" --project="$GCP_PROJECT_ID" \
    --format='value(email)'; then
    cloud::say "service account $1"
    cloud::run gcloud iam service-accounts create "$1" --project="$GCP_PROJECT_ID" --display-name="$2"
  fi
  [[ -n $deployer ]] || return 0
  cloud::find gcloud iam service-accounts get-iam-policy "$email" --project="$GCP_PROJECT_ID" \
    --format=json || true
  if ! cloud::binds "$found" "$DEPLOYER_ROLE" "$deployer"; then
    cloud::say "$DEPLOYER_ROLE on $1 for $deployer"
    cloud::retry "$NOT_VISIBLE" "$1 is not visible yet" \
      gcloud iam service-accounts add-iam-policy-binding "$email" --project="$GCP_PROJECT_ID" \
      --member="$deployer" --role="$DEPLOYER_ROLE" --condition=None --format=none
  fi
}

# cloud::reader ID NAME: make the account `service_account`, which may query the views.
cloud::reader() {
  cloud::account "$1" "$2"
  cloud::bind "$member" "$JOB_ROLE"
  cloud::bind_dataset "$READER_ROLE"
}

# cloud::find_deployer: set `deployer` to whoever runs this, unless DEPLOYER names somebody else.
cloud::find_deployer() {
  deployer=$DEPLOYER
  if [[ -n $deployer ]]; then
    return
  elif [[ -n $dry_run ]]; then
    deployer="user:\$(gcloud config get account)"
  else
    cloud::find gcloud auth list --filter=status:ACTIVE --format='value(account)'
    case $found in
      '') ;; # an access token, which names nobody
      *.gserviceaccount.com) deployer=serviceAccount:$found ;;
      *) deployer=user:$found ;;
    esac
  fi
}

# cloud::bind MEMBER ROLE: bind a role on the project, unless `policy` has it. A new account cannot be
# seen at once, and two changes of the policy at the same time get in each other's way.
cloud::bind() {
  if ! grep -qxF "$2 $1 " <<<"$policy"; then
    cloud::say "$2 for $1"
    cloud::retry "$NOT_VISIBLE" "$1 is not visible yet" \
      gcloud projects add-iam-policy-binding "$GCP_PROJECT_ID" \
      --member="$1" --role="$2" --condition=None --format=none
  fi
}

# cloud::bind_dataset ROLE: give `service_account` a role on the dataset. Reads the dataset's access
# list, adds to it, and writes it back: bq has no other way.
cloud::bind_dataset() {
  local dataset=$GCP_PROJECT_ID:${REGISTRY_TABLE%.*} add file=dataset.json
  add=${ADD_ACCESS/GRANTED/"{\"role\": \"$1\", \"userByEmail\": \"$service_account\"}"}
  cloud::find "${bq[@]}" show --format=json "$dataset" || true
  ! cloud::binds "$found" "$1" "$service_account" || return 0
  cloud::say "$1 on ${REGISTRY_TABLE%.*} for $member"
  if [[ -n $dry_run ]]; then
    echo "bq show --format=json $dataset | sed '$add' >$file"
  else
    file=$(mktemp)
    sed "$add" <<<"$found" >"$file"
  fi
  cloud::retry "$NOT_VISIBLE" "$member is not visible yet" \
    "${bq[@]}" update --source="$file" "$dataset"
  [[ -n $dry_run ]] || rm -f "$file"
}

# cloud::bind_table TABLE: let `member` append rows to one table.
cloud::bind_table() {
  cloud::find "${bq[@]}" get-iam-policy --format=json "$GCP_PROJECT_ID:$1" || true
  if ! cloud::binds "$found" "$TABLE_ROLE" "$member"; then
    cloud::say "$TABLE_ROLE on $1 for $member"
    cloud::retry "$NOT_VISIBLE" "$member is not visible yet" \
      "${bq[@]}" --format=none add-iam-policy-binding --member="$member" \
      --role="$TABLE_ROLE" "$GCP_PROJECT_ID:$1"
  fi
}

# cloud::bind_service MEMBER ROLE…: bind roles on `function` alone.
cloud::bind_service() {
  local who=$1 role
  shift
  cloud::find gcloud run services get-iam-policy "$function" --project="$GCP_PROJECT_ID" \
    --region="$REGION" --format=json || true
  for role in "$@"; do
    if ! cloud::binds "$found" "$role" "$who"; then
      cloud::say "$role on $function for $who"
      cloud::run gcloud run services add-iam-policy-binding "$function" --project="$GCP_PROJECT_ID" \
        --region="$REGION" --member="$who" --role="$role" --format=none
    fi
  done
}

# cloud::binds JSON ROLE WHO: whether a policy, or a dataset's access list, gives somebody a role.
cloud::binds() {
  local binding
  while IFS= read -r binding || [[ -n $binding ]]; do
    [[ $binding != *"\"$2\""* || $binding != *"\"$3\""* ]] || return 0
  done < <(tr -d '\n' <<<"$1" | tr '{' '\n')
  return 1
}

# cloud::render FILE NAME=VALUE…: print a file with each ${NAME} filled in.
cloud::render() {
  local text pair name
  text=$(cat "$1")
  shift
  for pair in "$@"; do
    name=${pair%%=*}
    text=${text//"\${$name}"/"${pair#*=}"}
  done
  echo "$text"
}

# cloud::sql FILE: print a file of deploy/bigquery/, for the configured table. Without its comments: bq
# would take one at the beginning for an option.
cloud::sql() {
  cloud::render "$1" "project=$GCP_PROJECT_ID" "dataset=${REGISTRY_TABLE%.*}" "table=${REGISTRY_TABLE#*.}" \
    | sed '/^--/d'
}

# cloud::deploy ENV [ARGUMENT…]: what dev.sh, staging.sh and prod.sh do.
cloud::deploy() {
  local name=$1 location
  shift
  case "$#:${1-}" in
    0:) ;;
    1:--dry-run) dry_run=yes ;;
    1:--help | 1:-h) lib::usage && exit ;;
    *) lib::bad_usage "expected --dry-run or nothing, found $*" ;;
  esac
  cloud::environment "$name"
  cloud::require gcloud bq
  location=$REGION # what setup.sh gives the bucket; not asked for under --dry-run
  if [[ -z $dry_run ]]; then
    cloud::check_setup
    location=$bucket_location
  fi
  # A trigger lives where its bucket is. Without --retry a failed event is dropped. Eventarc's
  # deliveries count as internal: https://docs.cloud.google.com/run/docs/securing/ingress and
  # https://docs.cloud.google.com/functions/docs/networking/network-settings
  cloud::deploy_command register_model
  cloud::retry \
    "eventarc service (agent|account)|unable to publish to cloud pub/sub|$NO_ACCOUNT" \
    "Eventarc is not ready in this project yet" \
    "${deployment[@]}" \
    --trigger-event-filters=type=google.cloud.storage.object.v1.finalized \
    --trigger-event-filters=bucket="$bucket" \
    --trigger-location="$location" \
    --trigger-service-account="$service_account" \
    --retry \
    --max-instances=5 \
    --memory=256MB \
    --ingress-settings=internal-only
  [[ -n $dry_run ]] || cloud::deployed
}

# cloud::deploy_command ENTRY_POINT [TIMEOUT [NAME=VALUE]]: set `deployment` to the command, with the
# options that all functions have; with a variable that the others do not have. A redeploy sends all of
# them again: what is left out is reset.
#
# Two variables make them start faster. From a folder OpenSSL reads the one certificate that it needs,
# from Python's own file all of them, a tenth of a start's work; the base image has the folder, of the
# package ca-certificates: https://docs.cloud.google.com/functions/docs/reference/system-packages. And
# by SOURCE_DATE_EPOCH Python checks a compiled source by its content, not by the time of the file,
# which an image does not keep.
cloud::deploy_command() {
  local variables=GCP_PROJECT_ID=$GCP_PROJECT_ID
  [[ $REGISTRY_TABLE == ml_registry.models ]] || variables+=,REGISTRY_TABLE=$REGISTRY_TABLE
  variables+=${3:+,$3},REQUESTS_CA_BUNDLE=/etc/ssl/certs
  deployment=(
    gcloud functions deploy "$function" --gen2
    --project="$GCP_PROJECT_ID"
    --region="$REGION"
    --runtime=python312
    --source="$root"
    --entry-point="$1"
    --service-account="$service_account"
    --build-service-account="projects/$GCP_PROJECT_ID/serviceAccounts/$(cloud::email "$BUILD_SERVICE_ACCOUNT")"
    --set-env-vars="$variables"
    --set-build-env-vars=SOURCE_DATE_EPOCH=315532800
    --timeout="${2:-60s}"
    --no-allow-unauthenticated
    --quiet
  )
}

# cloud::check_setup: fail unless all is there that setup.sh makes, naming what mends it; set
# `bucket_location` as a trigger wants it.
cloud::check_setup() {
  local remedy="run deploy/setup.sh $environment" account role
  cloud::find gcloud storage buckets describe "gs://$bucket" --format='value(location)' \
    || lib::fail "expected the bucket gs://$bucket, found none: $remedy"
  bucket_location=$(tr '[:upper:]' '[:lower:]' <<<"$found")
  for account in "$service_account" "$(cloud::email "$BUILD_SERVICE_ACCOUNT")"; do
    cloud::find gcloud iam service-accounts describe "$account" --project="$GCP_PROJECT_ID" \
      --format='value(email)' || lib::fail "expected the service account $account, found none: $remedy"
  done
  cloud::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:$REGISTRY_TABLE" \
    || lib::fail "expected the table $REGISTRY_TABLE, found none: $remedy"
  cloud::find "${bq[@]}" get-iam-policy --format=json "$GCP_PROJECT_ID:$REGISTRY_TABLE" || true
  cloud::binds "$found" "$TABLE_ROLE" "$member" \
    || lib::fail "expected $TABLE_ROLE on $REGISTRY_TABLE for $member, found no such binding: $remedy"
  cloud::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:${REGISTRY_TABLE%.*}" || true
  cloud::binds "$found" "$DATASET_ROLE" "$service_account" \
    || lib::fail "expected $DATASET_ROLE on ${REGISTRY_TABLE%.*} for $member, found no such binding: $remedy"
  cloud::policy
  for role in "${PROJECT_ROLES[@]}"; do
    grep -qxF "$role $member " <<<"$found" \
      || lib::fail "expected $role for $member, found no such binding: $remedy"
  done
  grep -q "^$STORAGE_AGENT_ROLE serviceAccount:service-.*@gs-project-accounts" <<<"$found" \
    || lib::fail "expected $STORAGE_AGENT_ROLE for the Cloud Storage service agent, found no such binding: $remedy"
}

# cloud::check_views REMEDY: fail unless all is there that setup.sh makes and a reader of the views needs.
cloud::check_views() {
  local remedy=$1 builder name
  builder=$(cloud::email "$BUILD_SERVICE_ACCOUNT")
  cloud::find gcloud iam service-accounts describe "$builder" --project="$GCP_PROJECT_ID" \
    --format='value(email)' || lib::fail "expected the service account $builder, found none: $remedy"
  for name in "$REGISTRY_TABLE" "${REGISTRY_TABLE%.*}.vanished"; do
    cloud::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:$name" \
      || lib::fail "expected the table $name, found none: $remedy"
  done
  for name in "${VIEWS[@]}"; do
    name=${REGISTRY_TABLE%.*}.$name
    cloud::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:$name" \
      || lib::fail "expected the view $name, found none: $remedy"
  done
}

# cloud::deployed: say how to see it work.
cloud::deployed() {
  cat <<EOF

$function is deployed. To see it work:

gcloud storage cp model.pkl gs://$bucket/titanic-survival/v1/model.pkl --custom-metadata=uploader=me
bq query --project_id=$GCP_PROJECT_ID --use_legacy_sql=false 'SELECT * FROM \`$REGISTRY_TABLE\` ORDER BY registered_at DESC LIMIT 5'
deploy/logs.sh $environment

Or all of it at once: deploy/verify.sh $environment. A new trigger takes up to two minutes to work.
EOF
}

# cloud::one_environment NAME: set what belongs to it; usage unless exactly one was named.
cloud::one_environment() {
  case $1 in
    dev | staging | prod) cloud::environment "$1" ;;
    *) lib::bad_usage "expected one of dev, staging, prod, found ${1:-nothing}" ;;
  esac
}

# cloud::one_function NAME: likewise, of an environment, the inventory or a reconciliation.
cloud::one_function() {
  case $1 in
    dev | staging | prod) cloud::environment "$1" ;;
    inventory) cloud::inventory ;;
    reconcile-dev | reconcile-staging | reconcile-prod) cloud::reconciliation "${1#reconcile-}" ;;
    *) lib::bad_usage "expected one of dev, staging, prod, inventory, reconcile-<environment>, found ${1:-nothing}" ;;
  esac
}

# cloud::logs SEVERITY FRESHNESS LIMIT: print what the function has logged, the newest last.
cloud::logs() {
  local read=(
    gcloud logging read
    "resource.type=\"cloud_run_revision\" resource.labels.service_name=\"$function\" severity>=$1"
    --project="$GCP_PROJECT_ID" --freshness="$2" --limit="$3"
    --format='value(timestamp.date("%Y-%m-%d %H:%M:%S"),severity,firstof(jsonPayload.message,textPayload,httpRequest.requestUrl))'
  )
  if [[ -n $dry_run ]]; then
    cloud::run "${read[@]}"
  else
    "${read[@]}" | sed '1!G;h;$!d'
  fi
}
