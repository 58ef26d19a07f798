# The objects of a bucket, in all their generations. gcloud takes * ? [ and ] in a name for wildcards, and has
# no way to write them literally. So it only lists here, and each generation is changed by Cloud Storage's own
# API, under its exact name: https://docs.cloud.google.com/storage/docs/wildcards
# shellcheck shell=bash

OBJECTS_AT_ONCE=500 # with one access token, which lasts for an hour

# object::list PREFIX: set `found` to the generations in `bucket`, live and noncurrent, each a line
# `generation|size|uploader|name`, with the uploader in base64. All names with the prefix are among them; there
# may be others if it holds a wildcard. Returns 1 if there is no bucket.
object::list() {
  tool::find gcloud storage objects list "gs://$bucket/${1%%[]*?[]*}**" \
    --format='value[separator="|"](generation,size,metadata.uploader.encode(base64),name)' --raw
}

# object::change FILE METHOD [JSON]: send a request for each generation in a file of such lines, or fail and say
# which was refused. What is gone is done.
object::change() {
  local service token from total
  total=$(wc -l <"$1")
  service=$(gcloud config get api_endpoint_overrides/storage 2>/dev/null </dev/null) || true
  [[ -n $service ]] || service=https://storage.googleapis.com/storage/v1/
  for ((from = 1; from <= total; from += OBJECTS_AT_ONCE)); do
    token=$(gcloud auth print-access-token 2>"$temporary/errors" </dev/null) \
      || script::fail "gcloud auth print-access-token: $(answer::reason "$(cat "$temporary/errors")")"
    sed -n "$from,$((from + OBJECTS_AT_ONCE - 1))p" "$1" >"$temporary/batch"
    {
      # In a file of our own: no list of processes shows the token.
      printf 'header = "Authorization: Bearer %s"\nrequest = "%s"\n' "$token" "$2"
      [[ -z ${3-} ]] || printf 'header = "Content-Type: application/json"\ndata = "%s"\n' "${3//\"/\\\"}"
      object::urls "${service%/}/b/$bucket/o" <"$temporary/batch"
    } >"$temporary/requests"
    curl --silent --show-error --retry 5 --max-time 60 --path-as-is --config "$temporary/requests" \
      --write-out '\nstatus %{http_code}\n' >"$temporary/answers" || true # each answer says for itself
    object::check
    echo "gs://$bucket: $((from + OBJECTS_AT_ONCE > total ? total : from + OBJECTS_AT_ONCE - 1)) of $total" >&2
  done
}

# object::urls SERVICE: turn lines of object::list into addresses, as curl reads them from a file.
object::urls() {
  LC_ALL=C awk -F'|' -v service="$1" '
    BEGIN { for (n = 1; n < 256; n++) code[sprintf("%c", n)] = sprintf("%%%02X", n) }
    {
      name = substr($0, length($1 $2 $3) + 4)
      path = ""
      for (at = 1; at <= length(name); at++) {
        letter = substr(name, at, 1)
        path = path (letter ~ /[A-Za-z0-9_.~-]/ ? letter : code[letter])
      }
      printf "url = \"%s/%s?generation=%s\"\n", service, path, $1
    }'
}

# object::check: fail unless there is an answer for each, and it says that it was done.
object::check() {
  local count at reason
  read -r count at reason < <(awk -v expected="$(wc -l <"$temporary/batch")" '
    match($0, /"message": *"[^"]*/) && !message { message = substr($0, RSTART, RLENGTH); sub(/^"message": *"/, "", message) }
    /^status [0-9]+$/ {
      answers++
      if ($2 !~ /^2/ && $2 != 404 && !refused++) { at = answers; reason = message ? message : "HTTP status " $2 }
      message = ""
    }
    END {
      if (answers < expected && !refused) { at = answers + 1; reason = "no answer" }
      print refused + expected - answers, at + 0, reason
    }' "$temporary/answers")
  ((count == 0)) || script::fail \
    "expected to change all in gs://$bucket, found $count refused, first $(object::show "$(sed -n "${at}p" "$temporary/batch")"): $reason: when the reason is gone (a hold, a retention period, a missing permission), run it again"
}

# object::show LINE: print a generation's address. A name may hold anything, so a terminal gets it quoted.
object::show() {
  local generation=${1%%|*} name=${1#*|*|*|}
  printf 'gs://%s/%q#%s' "$bucket" "$name" "$generation"
}
