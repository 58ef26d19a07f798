# Running gcloud and bq: commands that look, commands that change something, and waiting.
# shellcheck shell=bash

dry_run= # set by a script's --dry-run
found=   # set by tool::find

# Errors worth waiting out: an account that is not visible yet, a concurrent change of a policy.
NOT_VISIBLE='account .*(does not exist|not.?found)|unknown service account|invalid.*(account|member|user)|concurrent|conflict'
NO_ACCOUNT='service account .*(not found|does not exist)' # how a deployment says it

# tool::require TOOL…: before anything is changed, fail unless the tools and the project are there.
tool::require() {
  local tool answer
  export CLOUDSDK_CORE_DISABLE_PROMPTS=1 # nobody may be there to answer
  [[ $REGISTRY_TABLE =~ ^[A-Za-z0-9_]+\.[A-Za-z0-9_-]+$ ]] \
    || script::fail "REGISTRY_TABLE: expected <dataset>.<table>, found $REGISTRY_TABLE"
  [[ -z $dry_run ]] || return 0
  for tool in "$@"; do
    command -v "$tool" >/dev/null \
      || script::fail "expected $tool on the PATH, found none: install the Google Cloud CLI"
  done
  if ! answer=$(gcloud projects describe "$GCP_PROJECT_ID" --format='value(projectNumber)' 2>&1 </dev/null); then
    case $answer in
      *"not currently have an active account"* | *"auth login"*)
        script::fail "expected an active account, found none: run gcloud auth login" ;;
    esac
    script::fail "expected access to the project $GCP_PROJECT_ID (GCP_PROJECT_ID), found: $(tool::reason "$answer")"
  fi
}

# tool::say WORD…: print a comment. With it, everything that --dry-run prints can be pasted.
tool::say() {
  echo "# $*"
}

# tool::reason OUTPUT: print the error in a tool's output, on one line.
tool::reason() {
  tr -s '[:space:]' ' ' <<<"$1" | sed -E 's/^.*(ERROR: |[Ee]rror in )/\1/; s/ $//' | cut -c 1-500
}

# tool::run COMMAND…: run a command that changes something; with --dry-run print it, ready to paste.
tool::run() {
  if [[ -z $dry_run ]]; then
    "$@" </dev/null >&2 # bq prints its errors on standard output
    return
  fi
  local word line=
  for word in "$@"; do
    line+="$(tool::quote "$word") "
  done
  echo "${line% }"
}

# tool::quote WORD: print a word as a shell reads it back. What is still to be looked up, $(…) or
# $subscription, is left to the shell into which it is pasted.
tool::quote() {
  local word=$1
  # shellcheck disable=SC2016 # these are patterns, not expansions
  case $word in
    *'$('* | *'$subscription'*)
      word=${word//\\/\\\\}
      word=${word//\"/\\\"}
      echo "\"${word//\`/\\\`}\""
      ;;
    '' | *[!A-Za-z0-9_./:=@%+,-]*) echo "'${word//\'/\'\\\'\'}'" ;;
    *) echo "$word" ;;
  esac
}

# tool::find COMMAND…: run a command that only looks, and set `found` to what it prints. Returns 1 if
# there is no such resource; any other error ends the script. With --dry-run nothing is asked, and
# nothing is found.
tool::find() {
  local errors status=0
  found=
  [[ -z $dry_run ]] || return 1
  errors=$(mktemp)
  found=$("$@" 2>"$errors" </dev/null) || status=$?
  # bq prints its errors on standard output.
  ((status == 0)) || found+=$(cat "$errors")
  rm -f "$errors"
  ((status != 0)) || return 0
  found=$(tool::reason "$found")
  if grep -qiE 'denied|permission' <<<"$found" \
    || ! grep -qiE 'not.?found|HTTPError 404|does not exist|matched no objects' <<<"$found"; then
    script::fail "${*:1:4}: $found"
  fi
  return 1
}

# tool::retry PATTERN REASON COMMAND…: run a command that changes something. When it fails with an
# error that matches the pattern, print the reason, wait, and try again, for about three minutes.
tool::retry() {
  local pattern=$1 reason=$2 log status wait
  shift 2
  if [[ -n $dry_run ]]; then
    tool::run "$@"
    return
  fi
  log=$(mktemp)
  for wait in 5 10 20 40 60 60 0; do
    status=0
    "$@" </dev/null 2>&1 | tee "$log" >&2 || status=$?
    if ((status == 0 || wait == 0)) || ! tr -s '[:space:]' ' ' <"$log" | grep -iE "$pattern" >/dev/null; then
      break
    fi
    echo "$reason: trying again in $wait s" >&2
    sleep "$wait"
  done
  rm -f "$log"
  return "$status"
}
