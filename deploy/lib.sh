# Functions which the scripts share. Sourcing this runs nothing.
# shellcheck shell=bash

# lib::usage: print the header comment of the script that runs.
lib::usage() {
  sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# lib::fail MESSAGE: say on standard error what is wrong, and end.
lib::fail() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

# lib::bad_usage MESSAGE: say on standard error what is wrong with the arguments, and end.
lib::bad_usage() {
  printf '%s: %s\n\n' "${0##*/}" "$1" >&2
  lib::usage >&2
  exit 2
}

# lib::python_environments ROOT: make, or bring up to date, the project's Python environments: .venv,
# in which everything is run, and one for each emulator. Leaves the shell in ROOT.
lib::python_environments() {
  local root=$1
  cd "$root" || exit # where .python-version is, by which pyenv and uv find the Pythons
  PATH="$root/.local/uv/bin:$PATH"
  uv --version >/dev/null 2>&1 || lib::install_uv "$root"
  lib::python_environment "$root/.venv" 3.12 "$root/tests/requirements.txt"
  lib::python_environment "$root/.local/venv/storage" 3.12 "$root/deploy/local/storage.txt"
  lib::python_environment "$root/.local/venv/bigquery" 3.13 "$root/deploy/local/bigquery.txt"
}

# lib::python_environment FOLDER VERSION REQUIREMENTS
lib::python_environment() {
  local folder=$1 version=$2 requirements=$3 found
  found=$("$folder/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || true
  if [[ $found != "$version" ]]; then
    echo "Making ${folder#"$PWD/"}" >&2
    uv venv --quiet --clear --python "$version" "$folder"
  fi
  # Compiled now, as under PYTHONDONTWRITEBYTECODE each process would do it again.
  local sync=(uv pip sync --quiet --compile-bytecode --python "$folder/bin/python" "$requirements")
  # When all is there, or in uv's cache, no index is asked: it works on a train.
  "${sync[@]}" --offline 2>/dev/null || "${sync[@]}"
}

# lib::install_uv ROOT: install the pinned uv into a folder of the project.
lib::install_uv() {
  local root=$1 python=python3
  command -v python3 >/dev/null || lib::fail "expected python3 on the PATH, found none: install Python 3.12"
  echo "Installing uv into .local/uv" >&2
  if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$root/.local/pip" \
      || lib::fail "expected Python's pip or venv, found neither: install one (apt-get install python3-venv)"
    python="$root/.local/pip/bin/python"
  fi
  # Its version and hashes stand among those of the development tools.
  PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --no-deps --require-hashes --target "$root/.local/uv" \
    --requirement <(sed -n '/^uv==/,/# via/p' "$root/tests/requirements.txt")
}
