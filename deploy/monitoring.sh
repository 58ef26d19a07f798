#!/usr/bin/env bash
#
# Watch deployed environments: an alert when events fail or are malformed, an alert when undelivered
# events grow old, and a dead-letter topic that keeps events which could not be delivered for a day.
# If the reconciliation is deployed: an alert when it found lost events, when it did not succeed, and,
# in prod, when a version is different from staging or never was there.
# Run it once for each deployed function, and again at any time: after a change of a schedule, too.
#
# Usage: deploy/monitoring.sh [--dry-run] [dev] [staging] [prod] [--notify CHANNEL]
#
#   --notify CHANNEL   notify a channel, projects/<project>/notificationChannels/<id>
#                      (gcloud beta monitoring channels list shows them)
#   --dry-run          print every command that changes something, ready to paste, and run none
#   --help             print this
#
# Without an environment it watches all three. Settings: deploy/config.sh. Policies: deploy/monitoring/.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The most that Pub/Sub counts. It waits up to 600 s between deliveries, so the hundredth comes some
# 16 hours after the first; Eventarc keeps an event for 24.
MAX_DELIVERY_ATTEMPTS=100
# What the one who runs this for the first time may do on the project.
PERMISSIONS=(
  logging.logMetrics.create monitoring.alertPolicies.create pubsub.subscriptions.create
  pubsub.subscriptions.setIamPolicy pubsub.subscriptions.update pubsub.topics.create pubsub.topics.setIamPolicy
)
channel=

main() {
  local name environments=()
  while (($#)); do
    case $1 in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --notify)
        channel=${2-}
        [[ $channel =~ ^projects/[^/]+/notificationChannels/[^/]+$ ]] \
          || script::bad_usage "--notify: expected projects/<project>/notificationChannels/<id>, found ${channel:-nothing}"
        shift
        ;;
      dev | staging | prod) environments+=("$1") ;;
      *) script::bad_usage "expected dev, staging, prod, --notify or --dry-run, found $1" ;;
    esac
    shift
  done
  ((${#environments[@]})) || environments=(dev staging prod)

  tool::require gcloud
  for name in "${environments[@]}"; do
    function::use "$name"
    [[ -n $dry_run ]] || find_subscriptions
    metric=$function-failures
    find_metric || iam::need "${PERMISSIONS[@]}"
  done
  for name in "${environments[@]}"; do
    function::use "$name"
    watch_failures
    keep_dead_letters
    function::use "reconcile-$name"
    watch_reconciliation
  done
}

find_metric() {
  tool::find gcloud logging metrics describe "$metric" --project="$GCP_PROJECT_ID"
}

# Count the failed and invalid events that the function logs, and alert on them.
watch_failures() {
  metric=$function-failures
  if ! find_metric; then
    tool::say "log-based metric $metric"
    tool::make find_metric gcloud logging metrics create "$metric" --project="$GCP_PROJECT_ID" \
      --description="Events that $function could not register" \
      --log-filter="resource.type=\"cloud_run_revision\" resource.labels.service_name=\"$function\" jsonPayload.outcome=(\"failed\" OR \"invalid\")"
  fi
  alert::make failures "events failed or invalid" "metric=$metric" "$channel"
}

# Keep events that could not be delivered, whichever trigger brings them, and alert when one waits for long.
keep_dead_letters() {
  topic=$function-dead-letter
  local agent subscription
  find_subscriptions
  project::find_pubsub_agent
  if ! find_topic; then
    tool::say "topic $topic"
    tool::make find_topic gcloud pubsub topics create "$topic" --project="$GCP_PROJECT_ID"
  fi
  if ! find_kept; then
    tool::say "subscription $topic, which keeps what is published there"
    tool::make find_kept gcloud pubsub subscriptions create "$topic" --project="$GCP_PROJECT_ID" \
      --topic="$topic" --message-retention-duration=31d --expiration-period=never
  fi
  # Pub/Sub's agent forwards a dead letter: it publishes to the topic and acknowledges the original.
  iam::bind roles/pubsub.publisher "$agent" "pubsub topics" "$topic" --project="$GCP_PROJECT_ID"
  for subscription in "${subscriptions[@]}"; do
    forward "$subscription"
  done
  # One filter for all of them: the names have letters, digits and dashes only.
  alert::make undelivered "undelivered events grow old" \
    "subscriptions=$(IFS='|' && echo "${subscriptions[*]}")" "$channel"
}

# forward SUBSCRIPTION: have the dead letters of a trigger's subscription published to `topic`.
forward() {
  iam::bind roles/pubsub.subscriber "$agent" "pubsub subscriptions" "$1" --project="$GCP_PROJECT_ID"
  tool::find gcloud pubsub subscriptions describe "$1" --project="$GCP_PROJECT_ID" \
    --format='value(deadLetterPolicy.deadLetterTopic)' || true
  if [[ $found != "projects/$GCP_PROJECT_ID/topics/$topic" ]]; then
    tool::say "dead letters of the trigger's subscription $1"
    tool::run gcloud pubsub subscriptions update "$1" --project="$GCP_PROJECT_ID" \
      --dead-letter-topic="projects/$GCP_PROJECT_ID/topics/$topic" \
      --max-delivery-attempts="$MAX_DELIVERY_ATTEMPTS"
  fi
}

# Alert on what the reconciliation logs, and when it does not run.
watch_reconciliation() {
  if [[ -z $dry_run ]] && ! function::find 'value(name)'; then
    tool::say "no alerts for the reconciliation of $environment: deploy/reconcile.sh $environment has not deployed it"
    return
  fi
  [[ -z $dry_run ]] || tool::say "if deploy/reconcile.sh $environment has run:"
  watch_outcome lost lost "events were lost"
  [[ $environment != prod ]] || watch_outcome unlike_staging unlike-staging "prod is not what staging has"
  watch_schedule
}

# watch_outcome OUTCOME NAME TITLE: count the lines of an outcome, and alert on them.
watch_outcome() {
  metric=$function-$2
  if ! find_metric; then
    tool::say "log-based metric $metric"
    tool::make find_metric gcloud logging metrics create "$metric" --project="$GCP_PROJECT_ID" \
      --description="Reconciliations that found this: $3" \
      --log-filter="resource.type=\"cloud_run_revision\" resource.labels.service_name=\"$function\" jsonPayload.outcome=\"$1\""
  fi
  alert::make "$2" "$3" "metric=$metric" "$channel"
}

# Alert when no reconciliation has succeeded in time, whatever the reason: Cloud Scheduler did not call it
# or could not, or it failed. Cloud Run counts the successes, so this also looks at the time before now.
# A metric-absence condition waits for 23.5 hours at most, which is less than a day. PromQL looks back as
# far as there is data, six weeks for Cloud Run's:
# https://docs.cloud.google.com/monitoring/alerts/metric-absence
# https://docs.cloud.google.com/monitoring/alerts/using-promql
# https://docs.cloud.google.com/monitoring/quotas
# It fires after one hour more: so there is time to run a new one.
watch_schedule() {
  local window
  function::find_job 'value(schedule)' || found='0 3 * * *' # without its job it does not run either
  window=$(longest_pause "$found")
  if [[ -z $window ]]; then
    tool::say "no alert when $function does not run: \"$found\" may be less than once a month"
    alert::remove "$MISSED"
    return
  fi
  alert::make missed "$MISSED" "window=$window" "$channel"
}

# longest_pause SCHEDULE: print a day, a week or a month, as its fields say, and two hours; nothing for more.
longest_pause() {
  local day month weekday late='(29|30|31)' # not in every month
  read -r _ _ day month weekday <<<"$1"
  [[ $month == '*' ]] || return 0
  [[ $weekday != '*' || ! $day =~ ^$late([-,]$late)*$ ]] || return 0
  case $weekday,$day in
    '*,*') echo 26h ;;
    '*,'*) echo 746h ;;
    *) echo 170h ;; # also with a day of the month: it runs on both
  esac
}

find_topic() {
  tool::find gcloud pubsub topics describe "$topic" --project="$GCP_PROJECT_ID"
}

# The subscription that keeps dead letters.
find_kept() {
  tool::find gcloud pubsub subscriptions describe "$topic" --project="$GCP_PROJECT_ID"
}

# Set `subscriptions` to those through which Eventarc delivers the function's events.
find_subscriptions() {
  local event subscription
  subscriptions=()
  [[ -n $dry_run ]] || function::find_triggers
  [[ -z $dry_run ]] || echo "trigger=\$(gcloud functions describe $function --gen2 --project=$GCP_PROJECT_ID --region=$REGION --format='value(eventTrigger.trigger)')"
  for event in "$UPLOADED" "${REMOVED[@]}"; do
    if [[ -n $dry_run ]]; then
      subscription=\$subscription_$event # set by the line that this prints, when somebody pastes it
      trigger="\${trigger%/*}/$function-$event"
      [[ $event != "$UPLOADED" ]] || trigger="\$trigger"
      echo "subscription_$event=\$(gcloud eventarc triggers describe \"$trigger\" --format='value(transport.pubsub.subscription.basename())')"
    elif ! function::pick_trigger "$event"; then
      script::fail "expected ${trigger:+the trigger $trigger of }the function $function, found none: run deploy/$environment.sh"
    fi
    subscriptions+=("$subscription")
  done
}

main "$@"
