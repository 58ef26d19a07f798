#!/usr/bin/env bash
#
# Send dead letters again: the events that could not be delivered for most of a day, which
# deploy/monitoring.sh keeps for a month. Fix the cause first. This prints the first dead letters;
# then Pub/Sub sends all of them to the function, and repeats one that fails until it succeeds or is
# a month old. Dead letters that come later are sent in the same way.
#
# Usage: deploy/replay.sh [--dry-run] [--look] dev|staging|prod...
#
#   --look      print the first dead letters and send none; what an earlier run still sends, is kept again
#   --dry-run   print the commands, ready to paste, and run none
#   --help      print this
#
# Settings: deploy/config.sh. Run deploy/monitoring.sh first.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SHOWN=10 # dead letters
# Pub/Sub waits so long for an answer, as long as the function may take, and so long before a repeat.
TIMING=(--ack-deadline=60 --min-retry-delay=10s --max-retry-delay=600s)
PERMISSIONS=(pubsub.subscriptions.consume pubsub.subscriptions.update)

main() {
  local argument name do=send environments=()
  for argument in "$@"; do
    case $argument in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --look) do=look ;;
      dev | staging | prod) environments+=("$argument") ;;
      *) script::bad_usage "expected dev, staging, prod, --look or --dry-run, found $argument" ;;
    esac
  done
  ((${#environments[@]})) || script::bad_usage "expected one or more of dev, staging, prod, found nothing"

  tool::require gcloud
  for name in "${environments[@]}"; do
    use "$name"
    is_sent || iam::need "${PERMISSIONS[@]}"
  done
  for name in "${environments[@]}"; do
    use "$name"
    "$do"
  done
}

# use NAME: set what is known of an environment, its `subscription` with the dead letters, the `url` of
# its function, and where they are `sent`, if they are; or end.
use() {
  local host='value(serviceConfig.uri.basename())'
  function::use "$1"
  subscription=$function-dead-letter
  sent=
  if [[ -n $dry_run ]]; then
    url="https://\$(gcloud functions describe $function --gen2 --project=$GCP_PROJECT_ID --region=$REGION --format='$host')"
    return
  fi
  function::find "$host" || script::fail "expected the function $function, found none: run deploy/$environment.sh"
  url=https://$found
  tool::find gcloud pubsub subscriptions describe "$subscription" --project="$GCP_PROJECT_ID" \
    --format='csv[no-heading,separator=" "](pushConfig.pushEndpoint,pushConfig.oidcToken.audience,pushConfig.oidcToken.serviceAccountEmail)' \
    || script::fail "expected the subscription $subscription, found none: run deploy/monitoring.sh $environment, which keeps dead letters from then on"
  [[ $found == ' '* ]] || sent=$found
}

# is_sent: whether Pub/Sub sends the dead letters to the function already.
is_sent() {
  [[ $sent == "$url $url $service_account" ]]
}

look() {
  keep
  show
}

send() {
  if is_sent; then
    echo "The dead letters of $function are being sent. To see what is left: deploy/replay.sh --look $environment"
    return
  fi
  if [[ -z $dry_run ]]; then
    keep
    show
  fi
  tool::say "dead letters are sent to $function"
  # Pub/Sub counts as internal: https://docs.cloud.google.com/run/docs/securing/ingress
  tool::run gcloud pubsub subscriptions update "$subscription" --project="$GCP_PROJECT_ID" \
    --push-endpoint="$url" --push-auth-token-audience="$url" \
    --push-auth-service-account="$service_account" "${TIMING[@]}"
  [[ -n $dry_run ]] || say_sent
}

# keep: stop sending. What is sent to a function cannot be looked at.
keep() {
  [[ -n $sent$dry_run ]] || return 0
  tool::say "dead letters of $function are kept"
  tool::run gcloud pubsub subscriptions modify-push-config "$subscription" --project="$GCP_PROJECT_ID" \
    --push-endpoint=
}

# show: print when the first dead letters were written, and their names. Not acknowledged, they stay.
show() {
  local pull=(
    gcloud pubsub subscriptions pull "$subscription" --project="$GCP_PROJECT_ID" --limit="$SHOWN"
    --format='value(message.attributes.eventTime.date("%Y-%m-%d %H:%M:%S"),message.attributes.objectId)'
  )
  if [[ -n $dry_run ]]; then
    tool::run "${pull[@]}"
    return
  fi
  tool::find "${pull[@]}" || script::fail "expected the subscription $subscription, found none"
  echo "The first dead letters of $function, at most $SHOWN:"
  tr -d '\000-\010\013-\037\177' <<<"${found:-none}" # a name may hold what a terminal obeys
}

say_sent() {
  cat <<EOF

Pub/Sub sends the dead letters to $function within a minute or two. To see what becomes of them:

deploy/logs.sh $environment
EOF
}

main "$@"
