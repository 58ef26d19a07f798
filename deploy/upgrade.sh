#!/usr/bin/env bash
#
# Bring all that is deployed in a project to the version that is checked out: tables and views first, then
# each environment, the page, the reconciliations and the monitoring. An environment has to work before
# the next one is touched. Nothing is deployed that was not there, and schedules, viewers and channels stay.
# Run it again at any time, also after it was interrupted.
#
# Usage: deploy/upgrade.sh [--dry-run]
#
#   --dry-run   look at what is deployed, print every command that would change something, ready to paste,
#               and run none
#   --help      print this
#
# Settings: deploy/config.sh. You need the right to change the project's policy, as for deploy/setup.sh.

set -euo pipefail

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

only_look=
steps=()     # the scripts to run, each with its arguments, in their order
completed=() # those that have succeeded

main() {
  case "$#:${1-}" in
    0:) ;;
    1:--dry-run) only_look=yes ;;
    1:--help | 1:-h) script::usage && exit ;;
    *) script::bad_usage "expected --dry-run or nothing, found $*" ;;
  esac
  tool::require gcloud bq
  plan
  if [[ -n $only_look ]]; then
    preview
  else
    script::at_exit say_what_is_left
    run
  fi
}

# plan: print what is deployed, and set `steps` to what upgrades it.
plan() {
  local name there environments=() reconciled=() watched=() setup=() page=''
  for name in dev staging prod; do
    there=
    if find_function "$name"; then
      there=yes
      environments+=("$name")
      ! find_dead_letters || watched+=("$name")
    fi
    if find_reconciliation "$name"; then
      there=yes
      reconciled+=("$name")
    fi
    [[ -z $there ]] || setup+=("$name")
  done
  ! find_function inventory || page=yes
  [[ -n $page || ${#setup[@]} -gt 0 ]] \
    || script::fail "expected something of $FUNCTION_PREFIX that is deployed in $GCP_PROJECT_ID, $REGION, found nothing: run deploy/setup.sh, then deploy/dev.sh"
  ((${#setup[@]})) \
    || script::fail "expected an environment with the page, found none: run deploy/setup.sh with one, then deploy/inventory.sh"

  steps=("setup.sh ${setup[*]}")
  for name in ${environments[@]+"${environments[@]}"}; do
    steps+=("$name.sh" "verify.sh $name")
  done
  [[ -z $page ]] || steps+=(inventory.sh)
  ((!${#reconciled[@]})) || steps+=("reconcile.sh ${reconciled[*]}")
  ((!${#watched[@]})) || steps+=("monitoring.sh ${watched[*]}")
}

# find_function NAME: say when a function was deployed; return 1 if it was not.
find_function() {
  function::use "$1"
  tool::find_enabled gcloud functions describe "$function" --gen2 --project="$GCP_PROJECT_ID" \
    --region="$REGION" --format='value(updateTime.date("%Y-%m-%d %H:%M:%S"))' || return 1
  tool::say "$function was deployed at $found UTC"
}

# find_reconciliation ENV: return 1 if its function or its job is missing. It would not run by itself, so it
# is not deployed again.
find_reconciliation() {
  find_function "reconcile-$1" || return 1
  function::find_job && return
  tool::say "$function has no job, and is left as it is: run deploy/reconcile.sh $1, or deploy/delete.sh reconcile-$1"
  return 1
}

# find_dead_letters: return 1 if monitoring.sh does not keep those of `function`.
find_dead_letters() {
  tool::find_enabled gcloud pubsub topics describe "$function-dead-letter" --project="$GCP_PROJECT_ID" \
    && tool::say "$function is watched by deploy/monitoring.sh"
}

# preview: print the commands that would change something, as each script says, and verify.sh as it is.
preview() {
  local step words commands
  for step in "${steps[@]}"; do
    echo
    if [[ $step == verify.sh* ]]; then
      tool::say "stop here if it does not work"
      echo "$(tool::quote "$root/deploy/verify.sh") ${step#* }"
      continue
    fi
    tool::say "deploy/$step"
    read -ra words <<<"$step"
    commands=$(upgrade_preview=yes "$root/deploy/${words[0]}" "${words[@]:1}")
    echo "${commands:-# changes nothing}"
  done
}

run() {
  local step words
  for step in "${steps[@]}"; do
    printf '\n# deploy/%s\n' "$step"
    read -ra words <<<"$step"
    "$root/deploy/${words[0]}" "${words[@]:1}"
    completed+=("$step")
  done
  echo
  tool::say "All of it is upgraded."
}

# say_what_is_left: say how far it came, also if somebody has ended it.
say_what_is_left() {
  local left=("${steps[@]:${#completed[@]}}")
  ((${#left[@]})) || return 0
  {
    echo "${0##*/}: deploy/${left[0]} did not succeed"
    echo "Done: $(listed ${completed[@]+"${completed[@]}"})"
    echo "Left: $(listed "${left[@]}")"
    echo "Run deploy/upgrade.sh again. It repeats what is done, which does no harm."
  } >&2
}

# listed STEP…: print the scripts, or that there are none.
listed() {
  local list
  list=$(printf ', deploy/%s' "$@")
  if (($#)); then echo "${list#, }"; else echo nothing; fi
}

main "$@"
