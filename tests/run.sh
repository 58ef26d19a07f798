#!/usr/bin/env bash
#
# Run all the checks of this project: style, types, shell scripts, tests, coverage.
#
# Usage: tests/run.sh [pytest options]
#
# With options, only pytest is run, and with them: tests/run.sh -k artifact. One is the project's own:
#
#   --pictures   take the README's pictures anew: tests/run.sh -k pictures --pictures

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
# shellcheck source=deploy/lib.sh
source "$root/deploy/lib.sh"

main() {
  case "${1-}" in
    --help | -h) lib::usage && exit ;;
  esac
  lib::python_environments "$root"
  PATH="$root/.venv/bin:$PATH"
  if (($#)); then
    exec pytest "$@"
  fi
  set -x
  ruff check --quiet
  ruff format --quiet --check
  mypy
  shellcheck --external-sources deploy/*.sh tests/*.sh .ci/run
  # The tests of the deploy scripts run beside the others: they keep one processor busy for minutes.
  pytest --quiet tests/test_deploy.py >"$root/.local/test_deploy.log" 2>&1 &
  trap 'kill $! 2>/dev/null || true' EXIT
  coverage run -m pytest --ignore=tests/test_deploy.py
  coverage report
  wait $! || { cat "$root/.local/test_deploy.log" && exit 1; }
  tail -n 1 "$root/.local/test_deploy.log"
}

main "$@"
