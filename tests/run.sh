#!/usr/bin/env bash
#
# Run all the checks of this project: style, types, shell scripts, tests, coverage.
#
# Usage: tests/run.sh [pytest options]
#
# With options, only pytest is run, and with them: tests/run.sh -k artifact. Some are the project's own:
#
#   --pictures   take the README's pictures anew: tests/run.sh -k pictures --pictures
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
  set -x
  ruff check --quiet
  ruff format --quiet --check
  mypy
  shellcheck --external-sources --check-sourced deploy/*.sh tests/*.sh tests/benchmarks/*.sh .ci/run
  # What takes minutes runs beside the others, which measure coverage.
  local deploy=(tests/test_deploy.py)
  local faults=(tests/test_benchmarks.py tests/test_fuzz.py tests/test_security.py tests/test_soak.py)
  pytest --quiet "${deploy[@]}" >"$root/.local/deploy.log" 2>&1 &
  local deploying=$!
  pytest --quiet "${faults[@]}" >"$root/.local/faults.log" 2>&1 &
  local failing=$!
  # shellcheck disable=SC2064 # these two, whatever is set later
  trap "kill $deploying $failing 2>/dev/null || true" EXIT
  coverage run -m pytest "${deploy[@]/#/--ignore=}" "${faults[@]/#/--ignore=}"
  coverage report
  wait $deploying || { cat "$root/.local/deploy.log" && exit 1; }
  wait $failing || { cat "$root/.local/faults.log" && exit 1; }
  tail -qn 4 "$root/.local/deploy.log" "$root/.local/faults.log"
}

main "$@"
