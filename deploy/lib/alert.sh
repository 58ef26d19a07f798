# Alert policies, as deploy/monitoring/ defines them.
# shellcheck shell=bash

# alert::make NAME TITLE PLACEHOLDER=VALUE [CHANNEL]: make the alert policy of
# deploy/monitoring/NAME.json for `function`, or update it: a function that was deleted and deployed
# again has another subscription. CHANNEL is added to the channels that it notifies.
alert::make() {
  local file=$temporary/alert.json title="$function: $2" placeholder=${3%%=*} value=${3#*=} channel=${4-}
  local name='' channels='' filter=''
  alert::find || true
  if [[ -n $dry_run ]]; then
    echo "sed 's|\${function}|$function|g; s|\${environment}|$environment|g; s|\${title}|$title|g; s|\${$placeholder}|'\"$value\"'|g' $(tool::quote "$root/deploy/monitoring/$1.json") >$function-$1.json"
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

# alert::find: set `name`, `channels` and `filter` to those of the policy `title`, or return 1.
alert::find() {
  tool::find gcloud alpha monitoring policies list --project="$GCP_PROJECT_ID" \
    --format='csv[no-heading,separator="|"](displayName,name,notificationChannels.list(),conditions[0].conditionThreshold.filter)' \
    && IFS='|' read -r _ name channels filter < <(awk -F '|' -v title="$title" '$1 == title' <<<"$found")
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
