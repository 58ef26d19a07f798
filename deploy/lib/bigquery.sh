# The registry's dataset, tables, views and access, as deploy/bigquery/ defines them in SQL.
# shellcheck shell=bash

dataset=${REGISTRY_TABLE%.*}
bq=(bq --headless --project_id="$GCP_PROJECT_ID") # without --headless it asks to be initialized

# bigquery::sql FILE…: print files of deploy/bigquery/ for the configured table and for `member`.
# Without comments: bq would take one at the beginning for an option.
bigquery::sql() {
  local text pair
  text=$(sed '/^--/d; /^$/d' "$@")
  for pair in "project=$GCP_PROJECT_ID" "dataset=$dataset" "table=${REGISTRY_TABLE#*.}" \
    "location=$REGION" "member=${member-}"; do
    text=${text//"\${${pair%%=*}}"/"${pair#*=}"}
  done
  echo "$text"
}

# bigquery::query SQL [FLAG…]: print the answer as CSV, its column names first.
bigquery::query() {
  "${bq[@]}" --format=csv query --use_legacy_sql=false --max_rows=10000 "${@:2}" "$1"
}

# bigquery::make: make the dataset, and make or update the tables and the views. All of it can be
# repeated: the SQL leaves what is there, and replaces a view by itself.
bigquery::make() {
  local command
  if ! bigquery::find_dataset; then
    tool::say "dataset $dataset"
    tool::make bigquery::find_dataset "${bq[@]}" --format=none query --use_legacy_sql=false \
      "$(bigquery::sql "$root/deploy/bigquery/1-dataset.sql")"
  fi
  command=("${bq[@]}" --format=none query --use_legacy_sql=false
    "$(bigquery::sql "$root"/deploy/bigquery/[2-8]-*.sql)")
  [[ -z $dry_run$preview ]] || tool::say "tables and views"
  tool::run "${command[@]}"
}

# bigquery::find_dataset: set `location` to where the dataset is, or return 1 if there is none. bq
# gives the location in JSON alone.
bigquery::find_dataset() {
  location=$REGION
  tool::find "${bq[@]}" show --format=json "$GCP_PROJECT_ID:$dataset" || return 1
  [[ ! $found =~ \"location\":\ *\"([^\"]+)\" ]] || location=$(tr '[:upper:]' '[:lower:]' <<<"${BASH_REMATCH[1]}")
}

# bigquery::missing_grants FILE: set `missing` to those GRANT statements of a file, each a line, which
# are not in force for `member`. BigQuery's reference does not say what a repeated GRANT does, so
# none is repeated: https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/data-control-language
# A privilege is looked up one resource at a time, in the dataset's location:
# https://docs.cloud.google.com/bigquery/docs/information-schema-object-privileges
bigquery::missing_grants() {
  local statement role object grantee where
  # shellcheck disable=SC2016 # the backticks are SQL's
  local parts='^GRANT `(.+)` ON (SCHEMA|TABLE) `[^`]+`\.([^ ]+) TO "(.+)";$'
  missing=
  [[ -n ${location-} ]] || bigquery::find_dataset || true
  while IFS= read -r statement; do
    [[ $statement =~ $parts ]] || script::fail "expected a GRANT on each line of $1, found $statement"
    role=${BASH_REMATCH[1]} object=${BASH_REMATCH[3]//\`/} grantee=${BASH_REMATCH[4]}
    where="object_name = '${object##*.}'"
    [[ $object != *.* ]] || where="object_schema = '${object%%.*}' AND $where"
    tool::find bigquery::query \
      "SELECT privilege_type, grantee FROM \`$GCP_PROJECT_ID\`.\`region-$location\`.INFORMATION_SCHEMA.OBJECT_PRIVILEGES WHERE $where" \
      || true
    tool::has_line "$role,$grantee" "$found" || missing+=$statement$'\n'
  done < <(bigquery::sql "$1")
  missing=${missing%$'\n'}
}

# bigquery::grant FILE: run the GRANT statements of a file that are missing.
bigquery::grant() {
  bigquery::missing_grants "$1"
  [[ -n $missing ]] || return 0
  tool::say "access of $member to $dataset"
  tool::run "${bq[@]}" --format=none query --use_legacy_sql=false "$missing"
}

# bigquery::check REMEDY: fail unless the tables and the views are there.
bigquery::check() {
  local file name
  tool::find bigquery::query "SELECT table_name FROM \`$GCP_PROJECT_ID\`.$dataset.INFORMATION_SCHEMA.TABLES" \
    || script::fail "expected the dataset $dataset, found none: $1"
  for file in "$root"/deploy/bigquery/[2-8]-*.sql; do
    name=${file##*/?-}
    name=${name%.sql}
    [[ $name != models ]] || name=${REGISTRY_TABLE#*.}
    tool::has_line "$name" "$found" || script::fail "expected $dataset.$name, found none: $1"
  done
}

# bigquery::check_access FILE REMEDY: fail unless `member` has the access of a file.
bigquery::check_access() {
  bigquery::missing_grants "$1"
  [[ -z $missing ]] || script::fail "expected access to $dataset for $member, found it missing (${missing%%$'\n'*}): $2"
}
