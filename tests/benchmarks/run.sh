#!/usr/bin/env bash
#
# Measure the function next to the bare framework and the usual function, then a burst of uploads, then
# the reconciliation and the views at growing sizes. It takes a quarter of an hour, on a machine that
# does nothing else. `cost` reckons from the results what Google Cloud charges.
#
# Usage: tests/benchmarks/run.sh [function [option…] | burst [option…] | sizes [option…] | cost]
#
# Each has --help.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." >/dev/null && pwd)
# shellcheck source=deploy/lib/script.sh
source "$root/deploy/lib/script.sh"
# shellcheck source=deploy/lib/python.sh
source "$root/deploy/lib/python.sh"

main() {
  case "${1-}" in
    "" | function | burst | sizes | cost) ;;
    --help | -h) script::usage && exit ;;
    *) script::bad_usage "expected function, burst, sizes or cost, found $1" ;;
  esac
  python::environments "$root"
  if [[ ${1-} != cost ]]; then # which measures nothing
    command -v openssl >/dev/null || script::fail "expected openssl on the PATH, found none: apt-get install openssl"
    python::environment "$root/.local/venv/deployed" 3.12 "$root/requirements.txt"
  fi
  exec .venv/bin/python -m "tests.benchmarks${1:+.$1}" "${@:2}"
}

main "$@"
