# Alert policies, as deploy/monitoring/ defines them.
# shellcheck shell=bash

# alert::make NAME TITLE PLACEHOLDER=VALUE [CHANNEL]: make the alert policy of
# deploy/monitoring/NAME.json for `function`, or update it: a function that was deleted and deployed
# again has another subscription. CHANNEL is added to the channels that it notifies.
alert::make() {
  local file=$function-$1.json title="$function: $2" placeholder=${3%%=*} value=${3#*=} channel=${4-}
  local name='' channels='' filter=''
  tool::find gcloud alpha monitoring policies list --project="$GCP_PROJECT_ID" \
    --format='csv[no-heading,separator="|"](displayName,name,notificationChannels.list(),conditions[0].conditionThreshold.filter)' \
    || true
  IFS='|' read -r _ name channels filter < <(awk -F '|' -v title="$title" '$1 == title' <<<"$found") || true
  if [[ -n $dry_run ]]; then
    echo "sed 's|\${function}|$function|g; s|\${environment}|$environment|g; s|\${title}|$title|g; s|\${$placeholder}|'\"$value\"'|g' $(tool::quote "$root/deploy/monitoring/$1.json") >$file"
  else
    file=$(mktemp)
    alert::json "$1" "title=$title" "$placeholder=$value" >"$file"
  fi
  if [[ -z $name ]]; then
    tool::say "alert policy $title"
    tool::retry 'cannot find metric' "the metric is not visible yet" \
      gcloud alpha monitoring policies create --project="$GCP_PROJECT_ID" \
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
  [[ -n $dry_run ]] || rm -f "$file"
}

# alert::json NAME PLACEHOLDER=VALUE…: print the policy with its placeholders filled in.
alert::json() {
  local text pair
  text=$(cat "$root/deploy/monitoring/$1.json")
  for pair in "function=$function" "environment=$environment" "${@:2}"; do
    text=${text//"\${${pair%%=*}}"/"${pair#*=}"}
  done
  echo "$text"
}
