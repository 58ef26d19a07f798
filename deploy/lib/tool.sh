# Running gcloud and bq: commands that look, commands that change something, and waiting.
# shellcheck shell=bash

dry_run=                    # set by a script's --dry-run: print the commands, ask nothing, run nothing
preview=${upgrade_preview-} # set by upgrade.sh: look at what is there, print what is to change, run nothing
found=                      # set by tool::find
failure=                    # set by tool::attempt

# How long to wait before each further try, ten minutes in all.
WAITS=(5 10 20 40 60 60 90 90 120 120)

# tool::require TOOL…: before anything is changed, fail unless the settings are well-formed and the tools
# and the project are there. Sets `project_number`.
tool::require() {
  local tool answer
  export CLOUDSDK_CORE_DISABLE_PROMPTS=1 # nobody may be there to answer
  settings::check
  [[ -z $dry_run ]] || return 0
  script::make_temporary
  for tool in "$@"; do
    command -v "$tool" >/dev/null \
      || script::fail "expected $tool on the PATH, found none: install the Google Cloud CLI"
  done
  # shellcheck disable=SC2034 # for those who look at what belongs to the project
  if ! project_number=$(gcloud projects describe "$GCP_PROJECT_ID" --format='value(projectNumber)' 2>"$temporary/errors" </dev/null); then
    answer=$(answer::reason "$(<"$temporary/errors")")
    case $answer in
      *"not currently have an active account"* | *"auth login"*)
        script::fail "expected an active account, found none: run gcloud auth login" ;;
    esac
    [[ $(answer::status "$answer") != DISABLED ]] \
      || answer+=": a service account uses the API of its own project: gcloud services enable cloudresourcemanager.googleapis.com --project=<that project>"
    script::fail "expected access to the project $GCP_PROJECT_ID (GCP_PROJECT_ID), found: $answer"
  fi
}

# tool::say WORD…: print a comment. With it, everything that --dry-run prints can be pasted.
tool::say() {
  echo "# $*"
}

# tool::run COMMAND…: run a command that changes something, or end; with --dry-run or in a preview print it,
# ready to paste.
tool::run() {
  tool::make false "$@"
}

# tool::make FIND COMMAND…: run a command that makes what the function FIND looks for, or end. When it
# fails, look: an answer may have been lost, or somebody else may have made it. Or wait, while that helps.
tool::make() {
  local find=$1 word line='' try=0
  shift
  if [[ -z $dry_run$preview ]]; then
    until tool::attempt "$@" || "$find"; do
      tool::wait "$((try++))" "$failure" "$@" \
        || script::fail "$(tool::name "$@"): $failure$(answer::remedy "$failure")"
    done
    return
  fi
  for word in "$@"; do
    line+="$(tool::quote "$word") "
  done
  echo "${line% }"
}

# tool::remove COMMAND…: run a command that deletes something, or end. What is gone at a second try is done:
# an answer may have been lost.
tool::remove() {
  tool::make tool::gone "$@"
}

tool::gone() {
  [[ $(answer::status "$failure") == NOT_FOUND ]]
}

# tool::attempt COMMAND…: run a command once. On failure set `failure` to the reason, and return 1.
tool::attempt() {
  # bq prints its errors on standard output.
  "$@" </dev/null 2>&1 | tee "$temporary/output" >&2 && return 0 # not the status with which the script ends
  failure=$(answer::reason "$(<"$temporary/output")")
  return 1
}

# tool::wait TRY REASON COMMAND…: wait until it is worth trying again; return 1 if it is not.
tool::wait() {
  local delay wait=${WAITS[$1]-}
  [[ -n $wait ]] && delay=$(answer::delay "${@:2}") || return 1
  echo "$delay: trying again in $wait s" >&2
  sleep "$wait"
}

# tool::has_line LINE TEXT: whether a text has a line.
tool::has_line() {
  [[ $'\n'$2$'\n' == *$'\n'"$1"$'\n'* ]]
}

# tool::name WORD…: print a command without its options, as it is called in a message.
tool::name() {
  local word name=()
  for word in "$@"; do
    [[ $word == --* || $word == *' '* || ${#name[@]} -ge 5 ]] || name+=("$word")
  done
  echo "${name[*]}"
}

# tool::quote WORD: print a word as a shell reads it back. What is still to be looked up, $(…),
# $subscription or $policy, is left to the shell into which it is pasted.
tool::quote() {
  local word=$1
  # shellcheck disable=SC2016 # these are patterns, not expansions
  case $word in
    *'$('* | *'$subscription'* | *'$policy'*)
      word=${word//\\/\\\\}
      word=${word//\"/\\\"}
      echo "\"${word//\`/\\\`}\""
      ;;
    '' | *[!A-Za-z0-9_./:=@%+,-]*) echo "'${word//\'/\'\\\'\'}'" ;;
    *) echo "$word" ;;
  esac
}

# tool::find COMMAND…: run a command that only looks, and set `found` to what it prints. Returns 1 if
# there is no such resource; any other error ends the script, unless waiting helps. With --dry-run
# nothing is asked, and nothing is found.
tool::find() {
  local status
  tool::look "$@" && return 0
  status=$(answer::status "$found")
  [[ -n $dry_run || $status == NOT_FOUND ]] || script::fail "$(tool::name "$@"): $found$(answer::remedy "$found")"
  return 1
}

# tool::find_enabled COMMAND…: the same, but where the API is not enabled, there is nothing of its kind.
tool::find_enabled() {
  tool::look "$@" && return 0
  [[ -n $dry_run || $(answer::status "$found") =~ ^(NOT_FOUND|DISABLED)$ ]] \
    || script::fail "$(tool::name "$@"): $found$(answer::remedy "$found")"
  found=
  return 1
}

# tool::look COMMAND…: as tool::find, but return 1 with any error, and set `found` to its reason.
tool::look() {
  local try=0
  found=
  [[ -z $dry_run ]] || return 1
  until found=$("$@" 2>"$temporary/errors" </dev/null); do
    found=$(answer::reason "$found"$'\n'"$(<"$temporary/errors")") # bq prints its errors on standard output
    [[ $(answer::status "$found") != NOT_FOUND ]] || return 1
    tool::wait "$((try++))" "$found" "$@" || return 1
  done
}
