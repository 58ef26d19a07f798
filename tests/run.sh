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
  # Many tests wait, so several processes run at once. Those of one process share the emulator and the
  # local system. Only the views' process uses GoogleSQL, so a new machine compiles it once.
  coverage erase
  start checks
  start local tests/test_local.py tests/test_browser.py tests/test_readme.py tests/test_faces.py tests/test_removals.py \
    tests/test_jobs.py
  start states tests/test_page_states.py
  start deploy tests/test_deploy.py tests/test_answer.py
  start scripts tests/test_deploy_scripts.py tests/test_monitoring.py tests/test_setup.py tests/test_gcloud.py
  start operations tests/test_triggers.py tests/test_notify.py tests/test_replay.py tests/test_upgrade.py
  start faults tests/test_soak.py tests/test_fuzz.py tests/test_security.py
  start benchmarks tests/test_benchmarks.py tests/test_requirements.py tests/test_local_storage.py \
    tests/test_local_generations.py
  # Only these measure: the others test what runs in other processes, and would take a third longer.
  measured=(coverage run --parallel-mode -m)
  start views tests/test_sql.py tests/test_views.py tests/test_comparison.py tests/test_changes_view.py \
    tests/test_plain_views.py tests/test_forget.py tests/test_inventory.py tests/test_page.py \
    tests/test_reconciliation.py
  start table tests/test_table.py
  start others "${elsewhere[@]/#/--ignore=}"
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

measured=()  # what runs pytest to measure coverage
started=()   # process ids
logs=()      # what they print
elsewhere=() # the test files that they run
# A test waits for other processes for half of its time; with more at once, these would take seconds to answer.
at_once=$(($(getconf _NPROCESSORS_ONLN) + 2))

# start NAME [FILE…]: run test files, or without any the function NAME, in the background, once there is
# room.
start() {
  while (($(jobs -rp | wc -l) >= at_once)); do sleep 0.2; done
  local log=$root/.local/$1.log run=(${measured[@]+"${measured[@]}"} pytest --quiet "${@:2}")
  (($# > 1)) || run=("$1")
  "${run[@]}" >"$log" 2>&1 &
  started+=($!)
  logs+=("$log")
  elsewhere+=("${@:2}")
  # shellcheck disable=SC2064 # those that are started by now
  trap "kill ${started[*]} 2>/dev/null || true" EXIT
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
