# The project's Python environments on this machine.
# shellcheck shell=bash

# python::environments ROOT: make the environments, or bring them up to date: .venv, in which
# everything runs, and one for each emulator. Leaves the shell in ROOT, and uv on the PATH.
python::environments() {
  local root=$1
  cd "$root" || exit # pyenv and uv find the Pythons by .python-version here
  PATH="$root/.local/uv/bin:$PATH"
  uv --version >/dev/null 2>&1 || python::install_uv "$root"
  python::environment "$root/.venv" 3.12 "$root/tests/requirements.txt"
  python::environment "$root/.local/venv/storage" 3.12 "$root/deploy/local/storage.txt"
  python::environment "$root/.local/venv/bigquery" 3.13 "$root/deploy/local/bigquery.txt"
}

# python::environment FOLDER VERSION REQUIREMENTS
python::environment() {
  local folder=$1 version=$2 requirements=$3 found
  found=$("$folder/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || true
  if [[ $found != "$version" ]]; then
    echo "Making ${folder#"$PWD/"}" >&2
    uv venv --quiet --clear --python "$version" "$folder"
  fi
  local sync=(uv pip sync --quiet --python "$folder/bin/python" "$requirements") compiled=$folder/compiled.txt
  # Compile now: under PYTHONDONTWRITEBYTECODE each process would compile again. But not at each start: it
  # looks at every file, which takes some ten times as long as the rest.
  [[ -f $compiled && $(<"$compiled") == "$(<"$requirements")" ]] || sync+=(--compile-bytecode)
  # Offline first: if everything is installed or in uv's cache, no package index is needed.
  "${sync[@]}" --offline 2>/dev/null || "${sync[@]}"
  cp "$requirements" "$compiled"
}

# python::install_uv ROOT: install the pinned uv into .local/uv.
python::install_uv() {
  local root=$1 python=python3
  command -v python3 >/dev/null || script::fail "expected python3 on the PATH, found none: install Python 3.12"
  echo "Installing uv into .local/uv" >&2
  if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$root/.local/pip" \
      || script::fail "expected Python's pip or venv, found neither: install one (apt-get install python3-venv)"
    python="$root/.local/pip/bin/python"
  fi
  # Its version and hashes are in the requirements of the development tools.
  PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --no-deps --require-hashes --target "$root/.local/uv" \
    --requirement <(sed -n '/^uv==/,/# via/p' "$root/tests/requirements.txt")
}
