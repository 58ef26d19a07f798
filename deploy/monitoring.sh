#!/usr/bin/env bash
#
# Watch deployed environments: an alert when events fail or are malformed, one when undelivered events
# grow old, and a dead-letter topic, so that an event which failed for a day is kept, not dropped. Once
# for each deployed function; and again at any time.
#
# Usage: deploy/monitoring.sh [--dry-run] [dev] [staging] [prod] [--notify CHANNEL]
#
#   --notify CHANNEL   tell a notification channel, projects/<project>/notificationChannels/<id>
#                      (gcloud beta monitoring channels list shows them)
#   --dry-run          print every command that changes something, ready to paste, and run none
#   --help             print this
#
# Environments: all three, unless some are named. Settings: deploy/config.sh. The policies:
# deploy/monitoring/.

set -euo pipefail

# shellcheck source=deploy/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

# Pub/Sub waits 10 to 600 s between deliveries, and Eventarc keeps an event for a day: the hundredth
# delivery, the most that Pub/Sub counts to, is some 16 hours after the first.
MAX_DELIVERY_ATTEMPTS=100
channel=

main() {
  local name environments=()
  while (($#)); do
    case $1 in
      --help | -h) lib::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --notify)
        channel=${2-}
        [[ $channel =~ ^projects/[^/]+/notificationChannels/[^/]+$ ]] \
          || lib::bad_usage "--notify: expected projects/<project>/notificationChannels/<id>, found ${channel:-nothing}"
        shift
        ;;
      dev | staging | prod) environments+=("$1") ;;
      *) lib::bad_usage "expected dev, staging, prod, --notify or --dry-run, found $1" ;;
    esac
    shift
  done
  ((${#environments[@]})) || environments=(dev staging prod)

  cloud::require gcloud
  for name in "${environments[@]}"; do
    cloud::environment "$name"
    failures
    dead_letters
  done
}

# failures: count the ERROR lines of the function, which are its failed and invalid events, and alert.
failures() {
  local metric=$function-failures
  if ! cloud::find gcloud logging metrics describe "$metric" --project="$GCP_PROJECT_ID"; then
    cloud::say "log-based metric $metric"
    cloud::run gcloud logging metrics create "$metric" --project="$GCP_PROJECT_ID" \
      --description="Events which $function could not register" \
      --log-filter="resource.type=\"cloud_run_revision\" resource.labels.service_name=\"$function\" jsonPayload.outcome=(\"failed\" OR \"invalid\")"
  fi
  policy failures "metric=$metric"
}

# dead_letters: keep what could not be delivered, and alert when it takes long.
dead_letters() {
  local topic=$function-dead-letter agent trigger subscription
  if [[ -n $dry_run ]]; then
    # Looked up when it is pasted.
    echo "trigger=\$(gcloud functions describe $function --gen2 --project=$GCP_PROJECT_ID --region=$REGION --format='value(eventTrigger.trigger)')"
    echo "subscription=\$(gcloud eventarc triggers describe \"\$trigger\" --format='value(transport.pubsub.subscription.basename())')"
    agent="serviceAccount:service-\$(gcloud projects describe $GCP_PROJECT_ID --format='value(projectNumber)')@gcp-sa-pubsub.iam.gserviceaccount.com"
    # shellcheck disable=SC2016 # likewise
    subscription='$subscription'
  else
    cloud::find gcloud projects describe "$GCP_PROJECT_ID" --format='value(projectNumber)'
    agent=serviceAccount:service-$found@gcp-sa-pubsub.iam.gserviceaccount.com
    cloud::find gcloud functions describe "$function" --gen2 --project="$GCP_PROJECT_ID" \
      --region="$REGION" --format='value(eventTrigger.trigger)' \
      || lib::fail "expected the function $function, found none: run deploy/$environment.sh"
    trigger=$found
    cloud::find gcloud eventarc triggers describe "$trigger" \
      --format='value(transport.pubsub.subscription.basename())' \
      || lib::fail "expected the trigger $trigger, found none: run deploy/$environment.sh"
    subscription=$found
  fi
  if ! cloud::find gcloud pubsub topics describe "$topic" --project="$GCP_PROJECT_ID"; then
    cloud::say "topic $topic"
    cloud::run gcloud pubsub topics create "$topic" --project="$GCP_PROJECT_ID"
  fi
  if ! cloud::find gcloud pubsub subscriptions describe "$topic" --project="$GCP_PROJECT_ID"; then
    cloud::say "subscription $topic, which keeps what is published there"
    cloud::run gcloud pubsub subscriptions create "$topic" --project="$GCP_PROJECT_ID" \
      --topic="$topic" --message-retention-duration=31d --expiration-period=never
  fi
  # Pub/Sub itself forwards a dead letter: it publishes to the topic and acknowledges the original.
  bind topics "$topic" "$agent" roles/pubsub.publisher
  bind subscriptions "$subscription" "$agent" roles/pubsub.subscriber
  cloud::find gcloud pubsub subscriptions describe "$subscription" --project="$GCP_PROJECT_ID" \
    --format='value(deadLetterPolicy.deadLetterTopic)' || true
  if [[ $found != "projects/$GCP_PROJECT_ID/topics/$topic" ]]; then
    cloud::say "dead letters of the trigger's subscription"
    cloud::run gcloud pubsub subscriptions update "$subscription" --project="$GCP_PROJECT_ID" \
      --dead-letter-topic="projects/$GCP_PROJECT_ID/topics/$topic" \
      --max-delivery-attempts="$MAX_DELIVERY_ATTEMPTS"
  fi
  policy undelivered "subscription=$subscription"
}

# bind topics|subscriptions NAME MEMBER ROLE
bind() {
  cloud::find gcloud pubsub "$1" get-iam-policy "$2" --project="$GCP_PROJECT_ID" --format=json || true
  if ! cloud::binds "$found" "$4" "$3"; then
    cloud::say "$4 on $2 for $3"
    cloud::retry 'does not exist' "$3 is not visible yet" \
      gcloud pubsub "$1" add-iam-policy-binding "$2" --project="$GCP_PROJECT_ID" \
      --member="$3" --role="$4" --format=none
  fi
}

# policy NAME PLACEHOLDER=VALUE: make the alert policy of deploy/monitoring/NAME.json, or bring it up to
# date: a function that was deleted and deployed again has another subscription.
policy() {
  local rendered=$function-$1.json title name='' channels='' filter=''
  title=$(policy_json "$@" | sed -nE 's/^  "displayName": "(.*)",$/\1/p')
  cloud::find gcloud alpha monitoring policies list --project="$GCP_PROJECT_ID" \
    --format='csv[no-heading,separator="|"](displayName,name,notificationChannels.list(),conditions[0].conditionThreshold.filter)' \
    || true
  IFS='|' read -r _ name channels filter < <(awk -F '|' -v title="$title" '$1 == title' <<<"$found") || true
  if [[ -n $dry_run ]]; then
    echo "sed 's|\${function}|$function|g; s|\${environment}|$environment|g; s|\${${2%%=*}}|'\"${2#*=}\"'|g' $(printf %q "$root/deploy/monitoring/$1.json") >$rendered"
  else
    rendered=$(mktemp)
    policy_json "$@" >"$rendered"
  fi
  if [[ -z $name ]]; then
    cloud::say "alert policy $title"
    # A metric cannot be used for some time after it was made.
    cloud::retry 'cannot find metric' "the metric is not visible yet" \
      gcloud alpha monitoring policies create --project="$GCP_PROJECT_ID" \
      --policy-from-file="$rendered" ${channel:+--notification-channels="$channel"} --format=none
  else
    if [[ $filter != *"${2#*=}"* ]]; then
      cloud::say "alert policy $title, for ${2#*=}"
      cloud::run gcloud alpha monitoring policies update "$name" --project="$GCP_PROJECT_ID" \
        --policy-from-file="$rendered" ${channels:+--set-notification-channels="$channels"}
    fi
    if [[ -n $channel && ,$channels, != *",$channel,"* ]]; then
      cloud::say "$channel for the alert policy $title"
      cloud::run gcloud alpha monitoring policies update "$name" --project="$GCP_PROJECT_ID" \
        --add-notification-channels="$channel"
    fi
  fi
  [[ -n $dry_run ]] || rm -f "$rendered"
}

# policy_json NAME PLACEHOLDER=VALUE: print the alert policy of deploy/monitoring/NAME.json.
policy_json() {
  cloud::render "$root/deploy/monitoring/$1.json" "function=$function" "environment=$environment" "$2"
}

main "$@"
