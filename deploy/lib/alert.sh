# Alert policies, as deploy/monitoring/ defines them.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for monitoring.sh, and for delete.sh, which removes this one
MISSED="it did not run" # the title of missed.json

# alert::make NAME TITLE PLACEHOLDER=VALUE [CHANNEL]: make the alert policy of
# deploy/monitoring/NAME.json for `function`, or update it: a function that was deleted and deployed
# again has another subscription. CHANNEL is added to the channels that it notifies.
alert::make() {
  local file=$temporary/alert.json title="$function: $2" placeholder=${3%%=*} value=${3#*=} channel=${4-}
  local name='' channels='' filter=''
  alert::find || true
  if [[ -n $dry_run || (-n $preview && $filter != *"$value"*) ]]; then
    echo "sed 's#\${function}#$function#g; s#\${environment}#$environment#g; s#\${region}#$REGION#g; s#\${title}#$title#g; s#\${$placeholder}#'\"$value\"'#g' $(tool::quote "$root/deploy/monitoring/$1.json") >$function-$1.json"
    file=$function-$1.json
  else
    alert::json "$1" "title=$title" "$placeholder=$value" >"$file"
  fi
  if [[ -z $name ]]; then
    tool::say "alert policy $title"
    tool::make alert::find gcloud alpha monitoring policies create --project="$GCP_PROJECT_ID" \
      --policy-from-file="$file" ${channel:+--notification-channels="$channel"} --format=none
  else
    if [[ $filter != *"$value"* ]]; then
      tool::say "alert policy $title, for $value"
      tool::run gcloud alpha monitoring policies update "$name" --project="$GCP_PROJECT_ID" \
        --policy-from-file="$file" ${channels:+--set-notification-channels="$channels"}
    fi
    if [[ -n $channel && ,$channels, != *",$channel,"* ]]; then
      tool::say "$channel for the alert policy $title"
      tool::run gcloud alpha monitoring policies update "$name" --project="$GCP_PROJECT_ID" \
        --add-notification-channels="$channel"
    fi
  fi
}

# alert::find: set `name`, `channels` and `filter` (or query) to those of the policy `title`, or return 1.
# Where the API is not enabled, there is none.
alert::find() {
  tool::find_enabled gcloud alpha monitoring policies list --project="$GCP_PROJECT_ID" \
    --format='csv[no-heading,separator="|"](displayName,name,notificationChannels.list(),conditions[0].conditionThreshold.filter,conditions[0].conditionPrometheusQueryLanguage.query)' \
    || true
  # shellcheck disable=SC2034 # the one who calls this reads them
  IFS='|' read -r _ name channels filter < <(awk -F '|' -v title="$title" '$1 == title' <<<"$found")
}

# alert::there TITLE: whether there is this policy for `function`.
alert::there() {
  local title="$function: $1" name channels filter
  alert::find
}

# alert::remove TITLE: remove this policy for `function`, if it is there.
alert::remove() {
  local title="$function: $1" name='' channels filter
  if [[ -n $dry_run ]]; then
    echo "policy=\$(gcloud alpha monitoring policies list --project=$GCP_PROJECT_ID --filter='displayName=\"$title\"' --format='value(name)')"
    # shellcheck disable=SC2016 # set by the line above, when somebody pastes it
    name='$policy'
  else
    alert::find || return 0
  fi
  tool::remove gcloud alpha monitoring policies delete "$name" --project="$GCP_PROJECT_ID" --quiet
}

# alert::json NAME PLACEHOLDER=VALUE…: print the policy with its placeholders filled in.
alert::json() {
  local text pair
  text=$(cat "$root/deploy/monitoring/$1.json")
  for pair in "function=$function" "environment=$environment" "region=$REGION" "${@:2}"; do
    text=${text//"\${${pair%%=*}}"/"${pair#*=}"}
  done
  echo "$text"
}
