#!/usr/bin/env bash
#
# Forget a model or a person, as a data-protection request asks for. Of a model everything goes: its objects in
# all their generations, and its rows. Of a person only the name goes, and the models stay: the custom metadata
# "uploader" of the objects, and the same in the rows, whose uploader becomes NULL.
#
# Usage: deploy/forget.sh [--dry-run] [--yes] --model NAME|--uploader NAME [dev|staging|prod...]
#
#   --model NAME      such as churn: all objects in the folder churn, also those that are no artifacts
#   --uploader NAME   such as ada: all objects and rows with exactly this uploader
#   dev|staging|prod  in these environments; by default in all three
#   --yes             do not ask
#   --dry-run         print what would go and what cannot go yet, and change nothing
#   --help            print this
#
# It can be repeated, and a run that was killed is completed by the next one. It ends with 0 if nothing is left,
# and with 1 if something is: BigQuery cannot change a row in its first minutes. Settings: deploy/config.sh.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What is asked about the name goes as a parameter, in base64: bq takes the text NULL for no value.
VALUE='SAFE_CONVERT_BYTES_TO_STRING(FROM_BASE64(@name))'
# Where a model or a person is named: the tables, and the column that says when a row was written.
MODEL_TABLES=("$REGISTRY_TABLE registered_at" "$dataset.removals recorded_at")
UPLOADER_TABLES=("$REGISTRY_TABLE registered_at")
# Rows that came by tabledata.insertAll cannot be changed for some minutes, rarely for 90:
# https://docs.cloud.google.com/bigquery/docs/data-manipulation-language#limitations
# https://cloud.google.com/knowledge/kb/cannot-update-or-delete-over-bigquery-streaming-tables-000004334
STREAMING_MINUTES=90
DAY=86400

kind=         # model or uploader
name=         # its name
parameter=    # the same, for bq
criterion=    # of the rows that name it
tables=()     # in which they are
environments=()
left_objects= # how many generations and rows were found last
left_rows=
again= # when BigQuery can change the youngest of these rows
kept=  # what the buckets keep, as sentences

main() {
  local argument looks_only='' yes=''
  while (($#)); do
    argument=$1
    case $argument in
      --help | -h) script::usage && exit ;;
      --dry-run) looks_only=yes ;;
      --yes) yes=yes ;;
      --model | --uploader)
        [[ -z $kind ]] || script::bad_usage "expected --model or --uploader once, found another $argument"
        kind=${argument#--} name=${2-}
        [[ -n $name ]] || script::bad_usage "$argument: expected a name, found nothing"
        shift
        ;;
      dev | staging | prod) environments+=("$argument") ;;
      *) script::bad_usage "expected --model, --uploader, --dry-run, --yes, dev, staging or prod, found $argument" ;;
    esac
    shift
  done
  [[ -n $kind ]] || script::bad_usage "expected --model or --uploader, found neither"
  [[ $kind == uploader || $name != */* ]] \
    || script::bad_usage "--model: expected the name of a model, which has no slash, found $name"
  ((${#environments[@]})) || environments=(dev staging prod)
  use_kind

  # This script looks also with --dry-run, so it has a variable of its own for it.
  tool::require gcloud bq
  command -v curl >/dev/null || script::fail "expected curl on the PATH, found none: install it"
  [[ -n $looks_only ]] || iam::need "${permissions[@]}"
  look
  show "$looks_only"
  if ((left_objects + left_rows == 0)); then
    echo "Nothing of the $kind $(printf %q "$name") is left to remove."
    return
  fi
  if [[ -z $looks_only ]]; then
    [[ -n $yes ]] \
      || script::confirm "Forget the $kind $(printf %q "$name") of $GCP_PROJECT_ID?" "nothing was removed"
    remove
    look
  fi
  say_what_stays
  [[ -n $looks_only ]] || check_nothing_is_left
}

# use_kind: set what differs between a model and a person.
use_kind() {
  parameter=--parameter=name::$(encoded)
  permissions=(bigquery.jobs.create bigquery.tables.getData bigquery.tables.updateData storage.objects.list)
  if [[ $kind == model ]]; then
    criterion="STARTS_WITH(gcs_path, CONCAT($VALUE, '/'))"
    tables=("${MODEL_TABLES[@]}")
    permissions+=(storage.objects.delete)
  else
    criterion="(uploader = $VALUE OR JSON_VALUE(metadata, '\$.uploader') = $VALUE)"
    tables=("${UPLOADER_TABLES[@]}")
    permissions+=(storage.objects.update)
  fi
}

encoded() {
  printf %s "$name" | base64 | tr -d '\n'
}

# look: find what names the model or the person, and what buckets keep of it. Each environment gets a file of
# generations, and all rows are in one, each a line `table,bucket,count,when they can be changed`.
look() {
  local table time young environment
  left_objects=0 left_rows=0 again='' kept=''
  : >"$temporary/rows"
  for table in "${tables[@]}"; do
    read -r table time <<<"$table"
    young="TIMESTAMP_ADD(MAX($time), INTERVAL $((STREAMING_MINUTES + 1)) MINUTE)"
    tool::find bigquery::query \
      "SELECT gcs_bucket, COUNT(*), FORMAT_TIMESTAMP('%F %H:%M UTC', $young) FROM \`$GCP_PROJECT_ID.$table\` WHERE $criterion GROUP BY gcs_bucket ORDER BY gcs_bucket" \
      "$parameter" \
      || script::fail "expected the table $table, found none: run deploy/setup.sh"
    sed "1d; /^$/d; s/^/$table,/" <<<"$found" >>"$temporary/rows"
  done
  for environment in "${environments[@]}"; do
    function::use "$environment"
    find_objects
    left_objects=$((left_objects + $(wc -l <"$temporary/$environment")))
    left_rows=$((left_rows + $(rows "$bucket")))
    again=$(awk -F, -v bucket="$bucket" -v latest="$again" '
      $2 == bucket && $4 > latest { latest = $4 }
      END { print latest }' "$temporary/rows")
  done
}

# find_objects: write the generations of `bucket` which name the model or the person to a file.
find_objects() {
  local prefix=''
  [[ $kind != model ]] || prefix=$name/
  if bucket::find; then
    note_what_is_kept
    object::list "$prefix" || true
  else
    found=
  fi
  PREFIX=$prefix UPLOADER=$([[ $kind == model ]] || encoded) LC_ALL=C awk -F'|' '
    index(substr($0, length($1 $2 $3) + 4), ENVIRON["PREFIX"]) == 1 || !length(ENVIRON["PREFIX"]) && length($0) {
      if (ENVIRON["UPLOADER"] == "" || ENVIRON["UPLOADER"] == $3) print
    }' <<<"$found" >"$temporary/$environment"
}

note_what_is_kept() {
  if ((${soft_delete:-0})); then
    kept+="- gs://$bucket: what was deleted stays soft-deleted for $(days "$soft_delete"), until $(day_after "$soft_delete") at the latest; until then it can be restored"$'\n'
  fi
  if ((${retention:-0})); then
    kept+="- gs://$bucket: what is younger than its retention period of $(days "$retention") cannot be deleted"$'\n'
  fi
}

# rows BUCKET [TABLE]: print how many rows there are.
rows() {
  awk -F, -v bucket="$1" -v table="${2-}" '
    $2 == bucket && (table == "" || $1 == table) { count += $3 } END { print count + 0 }' "$temporary/rows"
}

# show [yes]: print what was found in each environment, and each generation if asked to.
show() {
  local environment line table elsewhere
  for environment in "${environments[@]}"; do
    function::use "$environment"
    line=$(awk -F'|' '
      { bytes += $2; name = substr($0, length($1 $2 $3) + 4); objects += !seen[name]++ }
      END { printf "objects: %d in %d generations, %.0f bytes", objects, NR, bytes }' "$temporary/$environment")
    for table in "${tables[@]}"; do
      line+="; rows of ${table% *}: $(rows "$bucket" "${table% *}")"
    done
    echo "$environment, gs://$bucket: $line"
    [[ -z $1 ]] || while IFS= read -r line; do
      printf '  %s\n' "$(object::show "$line")"
    done <"$temporary/$environment"
  done
  elsewhere=$(cut -d, -f2 "$temporary/rows" | sort -u | grep -vxF "$(printf "$BUCKET_PREFIX-%s\n" "${environments[@]}")") || true
  [[ -z $elsewhere ]] || echo "There are also rows of other buckets, which stay: ${elsewhere//$'\n'/, }"
}

# remove: the objects go first. Otherwise a reconciliation would register them again.
remove() {
  local environment buckets='' table time
  for environment in "${environments[@]}"; do
    function::use "$environment"
    buckets+="${buckets:+, }'$bucket'"
    if [[ $kind == model ]]; then
      object::change "$temporary/$environment" DELETE
    else
      object::change "$temporary/$environment" PATCH '{"metadata": {"uploader": null}}'
    fi
  done
  for table in "${tables[@]}"; do
    read -r table time <<<"$table"
    failure=
    change_rows "$table" "gcs_bucket IN ($buckets) AND $criterion"
    [[ -z $failure ]] || change_rows "$table" \
      "gcs_bucket IN ($buckets) AND $criterion AND $time < TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL $STREAMING_MINUTES MINUTE)"
  done
}

# change_rows TABLE CONDITION: sets `failure` if some of the rows are too young. Then none is changed.
change_rows() {
  local sql="DELETE FROM \`$GCP_PROJECT_ID.$1\` WHERE $2"
  local rest="JSON_REMOVE(metadata, '\$.uploader')"
  # An object without metadata has NULL in its row.
  [[ $kind == model ]] || sql="UPDATE \`$GCP_PROJECT_ID.$1\` SET uploader = NULL, metadata = IF(TO_JSON_STRING($rest) = '{}', NULL, $rest) WHERE $2"
  tool::make are_too_young "${bq[@]}" --format=none query --use_legacy_sql=false "$parameter" "$sql"
}

are_too_young() {
  [[ $failure == *'streaming buffer'* ]]
}

# What nobody can remove earlier:
# https://docs.cloud.google.com/storage/docs/soft-delete
# https://docs.cloud.google.com/bigquery/docs/time-travel
# https://docs.cloud.google.com/bigquery/docs/cached-results
# https://docs.cloud.google.com/logging/quotas#logs_retention_periods
say_what_stays() {
  local travel=168
  ! bigquery::find_dataset || [[ ! $found =~ \"maxTimeTravelHours\":\ *\"([0-9]+)\" ]] || travel=${BASH_REMATCH[1]}
  cat <<EOF

What stays for a time, and cannot be removed earlier:
$kept- $dataset: the rows as they were, for $(days $((travel * DAY / 24))) of time travel, until $(day_after $((travel * DAY / 24))), and for 7 days more in BigQuery's fail-safe
- results of queries in BigQuery's cache, for about a day, and its history of jobs, for 180 days
- log lines, which hold names of objects: 30 days in Cloud Logging's bucket _Default, unless yours is set otherwise; audit logs, which hold who did what, 400 days
- events that could not be delivered, in the subscriptions for dead letters, for up to 31 days
And what this script does not know: copies, exports and snapshots that people made; $(unknown).
An event that is under way may be delivered for a day, and an upload may come back with it: look again with --dry-run then.
EOF
}

unknown() {
  if [[ $kind == model ]]; then
    echo "other models that were trained from it"
  else
    echo "the name in other keys of the custom metadata, in names of models and files, and in the models themselves"
  fi
}

days() {
  if (($1 % DAY == 0)); then echo "$(($1 / DAY)) days"; else echo "$(($1 / 3600)) hours"; fi
}

# day_after SECONDS: print the day on which so many seconds have passed. The first is GNU's, the second BSD's.
day_after() {
  local at=$(($(date +%s) + $1))
  date -u -d "@$at" +%F 2>/dev/null || date -u -r "$at" +%F
}

check_nothing_is_left() {
  ((left_objects == 0)) \
    || script::fail "expected nothing to be left, found $left_objects generations that came meanwhile: run it again"
  ((left_rows == 0)) \
    || script::fail "expected nothing to be left, found $left_rows rows that BigQuery cannot change yet: run it again after $again"
  echo
  echo "Forgotten: the $kind $(printf %q "$name")"
}

main "$@"
