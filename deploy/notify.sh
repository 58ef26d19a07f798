#!/usr/bin/env bash
#
# Be told of what happens: publish what the function logs about each upload (registered, removed or
# skipped) to a Pub/Sub topic, from which other programs get it. A sink of Cloud Logging does it: the
# function is not changed, and gets no slower. Run it again to change the filter.
#
# Usage: deploy/notify.sh [--dry-run] [--filter FILTER] [--topic TOPIC] [--stop] [dev] [staging] [prod]
#
#   --filter FILTER   publish only lines that also fit this filter, in the Logging query language, such
#                     as 'jsonPayload.outcome="registered"'. By default as before; '' publishes all
#   --topic TOPIC     publish to this topic, with a filter of its own, instead of <function>-notify
#   --stop            publish nothing more. The topic stays, and who is subscribed to it
#   --dry-run         print every command that changes something, ready to paste, and run none
#   --help            print this
#
# Without an environment it does this for all three. Settings: deploy/config.sh.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The filter's language: https://docs.cloud.google.com/logging/docs/view/logging-query-language
OUTCOMES='("registered" OR "removed" OR "skipped")'
PUBLISHER_ROLE=roles/pubsub.publisher # on the topic: the sink publishes there
# What the one who runs this for the first time may do on the project.
PERMISSIONS=(logging.sinks.create pubsub.topics.create pubsub.topics.setIamPolicy)

filter=       # as --filter says
other_filter= # whether it says so
other_topic=  # as --topic says
made=         # the topic that was made last; two environments may share it

main() {
  local name do=publish environments=()
  while (($#)); do
    case $1 in
      --help | -h) script::usage && exit ;;
      --dry-run) dry_run=yes ;;
      --stop) do=stop ;;
      --filter)
        (($# > 1)) || script::bad_usage "--filter: expected a filter, found nothing"
        filter=$2 other_filter=yes
        shift
        ;;
      --topic)
        other_topic=${2-}
        [[ $other_topic =~ ^[a-z][a-z0-9-]{2,39}$ ]] \
          || script::bad_usage "--topic: expected 3 to 40 small letters, digits and dashes, found ${other_topic:-nothing}"
        [[ $other_topic != notify ]] \
          || script::bad_usage "--topic: expected another name than notify, whose sink would be the one without --topic"
        shift
        ;;
      dev | staging | prod) environments+=("$1") ;;
      *) script::bad_usage "expected dev, staging, prod, --filter, --topic, --stop or --dry-run, found $1" ;;
    esac
    shift
  done
  ((${#environments[@]})) || environments=(dev staging prod)

  tool::require gcloud
  for name in "${environments[@]}"; do
    use "$name"
    [[ $do == stop ]] || check
  done
  for name in "${environments[@]}"; do
    use "$name"
    "$do"
  done
}

# use NAME: set the `topic` and the `sink` of an environment.
use() {
  function::use "$1"
  sink=$function-${other_topic:-notify}
  topic=${other_topic:-$sink}
}

check() {
  [[ -n $dry_run ]] || function::find 'value(name)' \
    || script::fail "expected the function $function, found none: run deploy/$environment.sh"
  find_sink || iam::need "${PERMISSIONS[@]}"
}

publish() {
  local wanted writer
  wanted="resource.type=\"cloud_run_revision\" resource.labels.service_name=\"$function\" jsonPayload.outcome=$OUTCOMES"
  wanted+=${filter:+" AND ($filter)"}
  if ! find_topic; then
    tool::say "topic $topic"
    tool::make find_topic gcloud pubsub topics create "$topic" --project="$GCP_PROJECT_ID"
    made=$topic
  fi
  if ! find_sink 'value(filter)'; then
    tool::say "sink $sink, which publishes to $topic"
    tool::make find_sink gcloud logging sinks create "$sink" \
      "pubsub.googleapis.com/projects/$GCP_PROJECT_ID/topics/$topic" --project="$GCP_PROJECT_ID" \
      --log-filter="$wanted"
  elif [[ -n $other_filter && $found != "$wanted" ]]; then
    tool::say "filter of the sink $sink"
    tool::run gcloud logging sinks update "$sink" --project="$GCP_PROJECT_ID" --log-filter="$wanted"
  fi
  writer="\$(gcloud logging sinks describe $sink --project=$GCP_PROJECT_ID --format='value(writerIdentity)')"
  if [[ -z $dry_run ]]; then
    find_sink 'value(writerIdentity)' || script::fail "expected the sink $sink, found none"
    writer=$found
  fi
  iam::bind "$PUBLISHER_ROLE" "$writer" "pubsub topics" "$topic" --project="$GCP_PROJECT_ID"
  [[ -n $dry_run ]] || echo "What happens to uploads to $bucket is published to the topic $topic."
}

stop() {
  [[ -n $dry_run ]] || find_sink || {
    echo "There is no sink $sink."
    return
  }
  tool::remove gcloud logging sinks delete "$sink" --project="$GCP_PROJECT_ID" --quiet
}

find_topic() {
  [[ $made == "$topic" ]] || tool::find gcloud pubsub topics describe "$topic" --project="$GCP_PROJECT_ID"
}

# find_sink [FORMAT]: set `found` to the sink, or return 1 if there is none.
find_sink() {
  tool::find gcloud logging sinks describe "$sink" --project="$GCP_PROJECT_ID" --format="${1:-value(name)}"
}

main "$@"
