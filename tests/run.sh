#!/usr/bin/env bash
#
# Run all checks of this project: style, types, shell scripts, tests, coverage.
#
# Usage: tests/run.sh [pytest options]
#
# With options it runs pytest alone, with them: tests/run.sh -k artifact. Some options are our own:
#
#   --pictures   take the READMEs' pictures again: tests/run.sh -k pictures --pictures
#   --golden     rewrite what the scripts print with --dry-run: tests/run.sh -k dry_run --golden
#   -m soak      ten thousand uploads through faults, some minutes: tests/run.sh -m soak --seed 7 -s

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
# shellcheck source=deploy/lib/script.sh
source "$root/deploy/lib/script.sh"
# shellcheck source=deploy/lib/python.sh
source "$root/deploy/lib/python.sh"

main() {
  case "${1-}" in
    --help | -h) script::usage && exit ;;
  esac
  python::environments "$root"
  PATH="$root/.venv/bin:$PATH"
  if (($#)); then
    exec pytest "$@"
  fi
  # Some tests start the command line and the function: each would compile the sources again.
  unset PYTHONDONTWRITEBYTECODE
  # Many tests wait, so several processes run at once, the longest first. Those of one process share the
  # emulator and the local system. Only the views' process uses GoogleSQL, so a new machine compiles it once.
  local benchmarks commands deploy elsewhere faults operations scripts system views
  system=(tests/test_{local,browser,readme,faces,removals,jobs}.py)
  views=(tests/test_{sql,views,comparison,changes_view,plain_views,forget,inventory,page,reconciliation}.py)
  commands=(tests/test_{cli,options,output,check,compare,where,uri,get,promote,promotion,withdraw,withdrawal,install}.py)
  benchmarks=(tests/test_{benchmarks,requirements,local_storage,local_generations}.py)
  deploy=(tests/test_{deploy,answer}.py)
  scripts=(tests/test_{deploy_scripts,monitoring,setup,gcloud}.py)
  operations=(tests/test_{triggers,notify,replay,upgrade}.py)
  faults=(tests/test_{soak,fuzz,security}.py)
  elsewhere=("${system[@]}" "${views[@]}" "${commands[@]}" "${benchmarks[@]}" "${deploy[@]}" "${scripts[@]}"
    "${operations[@]}" "${faults[@]}" tests/test_{page_states,table}.py)
  coverage erase
  start system "${system[@]}"
  measure views "${views[@]}"
  measure others "${elsewhere[@]/#/--ignore=}"
  measure commands "${commands[@]}"
  start benchmarks "${benchmarks[@]}"
  start deploy "${deploy[@]}"
  start scripts "${scripts[@]}"
  start operations "${operations[@]}"
  start faults "${faults[@]}"
  start states tests/test_page_states.py
  measure table tests/test_table.py
  start checks
  finish
  coverage combine --quiet
  coverage report
}

# checks: style, types, shell scripts.
checks() {
  set -x
  ruff check --quiet
  ruff format --quiet --check
  mypy
  shellcheck --external-sources --check-sourced deploy/*.sh tests/*.sh tests/benchmarks/*.sh .ci/run
}

started=() # process ids
logs=()    # what they print
# A test waits for other processes for half of its time; with more at once, these would take seconds to answer.
at_once=$(($(getconf _NPROCESSORS_ONLN) + 2))

# start NAME [FILE…]: run test files, or without any the function NAME, in the background, once there is
# room.
start() {
  while (($(jobs -rp | wc -l) >= at_once)); do sleep 0.2; done
  local log=$root/.local/$1.log run=(${with[@]+"${with[@]}"} pytest --quiet "${@:2}")
  (($# > 1)) || run=("$1")
  "${run[@]}" >"$log" 2>&1 &
  started+=($!)
  logs+=("$log")
  # shellcheck disable=SC2064 # those that are started by now
  trap "kill ${started[*]} 2>/dev/null || true" EXIT
}

# measure NAME FILE…: the same with coverage. What the other tests test runs in other processes, and they
# would take a third longer.
measure() {
  local with=(coverage run --parallel-mode -m)
  start "$@"
}

# finish: wait for what runs in the background, print what it printed, and fail if one failed.
finish() {
  local at status=0
  for at in "${!started[@]}"; do
    wait "${started[at]}" || status=1
    cat "${logs[at]}"
  done
  return "$status"
}

main "$@"
