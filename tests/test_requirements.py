"""What is installed: pinned, the same everywhere, and enough for the deployed function."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests import ROOT
from tests.conftest import serving, uploaded
from tests.events import HEADERS, body
from tests.pins import FILES, compile_pins, extras_first, pins
from tests.servers import bigquery as server

# Where each file is installed. The deployed pins are among those of the tests.
INSTALLED = {
    "requirements.txt": ".venv",
    "tests/requirements.txt": ".venv",
    "deploy/local/storage.txt": ".local/venv/storage",
    "deploy/local/bigquery.txt": ".local/venv/bigquery",
}


@pytest.mark.parametrize("name", FILES)
def test_the_pins_are_those_that_the_sources_ask_for(name: str, tmp_path: Path) -> None:
    """Compiling again changes nothing."""
    copy = tmp_path / "requirements.txt"
    shutil.copy(ROOT / name, copy)  # a pin that still fits is kept
    compile_pins(name, copy)

    assert pins(ROOT / name) == pins(copy)


@pytest.mark.parametrize("name", FILES)
def test_each_pin_is_exact_and_has_hashes_and_no_file_names_an_index(name: str) -> None:
    text = (ROOT / name).read_text()
    requirements = re.split(r"\n(?=[a-z])", text)[1:]

    assert len(requirements) == len(pins(ROOT / name)) > 0
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+", requirement)
        assert "--hash=sha256:" in requirement
    assert not re.search(r"://|--(extra-)?index-url|--find-links", text)


@pytest.mark.parametrize("name", FILES)
def test_each_pin_has_the_extras_that_others_need_and_stands_above_those(name: str) -> None:
    """What pip 23.2.1 insists on, which comes with Python 3.12.0 and 3.12.1."""
    found = problems(pins(ROOT / name), ROOT / INSTALLED[name])

    assert found == []


def test_a_pin_without_its_extra_or_below_what_needs_it_is_found() -> None:
    bare = ["google-auth==1", "google-cloud-bigquery==1"]
    below = ["google-api-core==1", "google-auth[pyopenssl]==1"]

    assert problems(bare, ROOT / ".venv") == [
        "google-cloud-bigquery needs google-auth[pyopenssl], found google-auth==1"
    ]
    assert problems(below, ROOT / ".venv") == [
        "google-api-core stands above google-auth[pyopenssl]==1, which it needs"
    ]


def problems(lines: list[str], environment: Path) -> list[str]:
    """Return what is wrong with pins, by what the packages in an environment need."""
    pinned = {canonicalize_name((pin := Requirement(line)).name): pin for line in lines}
    order = list(pinned)
    found = []
    for name, needed in needs(pinned, environment):
        other = pinned.get(canonicalize_name(needed.name))
        if other is None:  # compiling again would add it
            continue
        if not needed.extras <= other.extras:
            extras = ",".join(sorted(needed.extras))
            found.append(f"{name} needs {needed.name}[{extras}], found {other}")
        elif other.extras and order.index(name) < order.index(canonicalize_name(other.name)):
            found.append(f"{name} stands above {other}, which it needs")
    return found


def needs(
    pinned: Mapping[NormalizedName, Requirement], environment: Path
) -> Iterator[tuple[NormalizedName, Requirement]]:
    """Yield each pinned package with each package that it needs, here and with its extras."""
    [python] = environment.glob("lib/python3.*")
    version = {"python_version": python.name.removeprefix("python")}
    for installed in distributions(path=[str(python / "site-packages")]):
        name = canonicalize_name(installed.name)
        if name in pinned:
            extras = ["", *pinned[name].extras]
            for needed in map(Requirement, installed.requires or []):
                marker = needed.marker
                if not marker or any(marker.evaluate({**version, "extra": e}) for e in extras):
                    yield name, needed


def test_the_pins_with_extras_come_first_each_above_those_that_need_it() -> None:
    text = """# by uv
a==1 \\
    # via b
b[x]==1 \\
    # via d
c[y]==1 \\
    # via
    #   a
    #   b
"""
    assert re.findall(r"^\w.*==", extras_first(text), re.MULTILINE) == ["c[y]==", "b[x]==", "a=="]


def test_the_tests_run_with_what_is_deployed() -> None:
    assert {*pins(ROOT / "requirements.txt")} <= {*pins(ROOT / "tests/requirements.txt")}


# --- The build, as Google does it -----------------------------------------------------------------


STEPS = [
    "compileall -f -q .",
    """
    pip install --requirement requirements.txt --upgrade --upgrade-strategy only-if-needed
    --no-warn-script-location --no-warn-conflicts --force-reinstall --no-compile
    --disable-pip-version-check --no-cache-dir --user
    """,
    "compileall --invalidation-mode unchecked-hash -qq {layer}",
    "pip check",
]


@pytest.mark.skipif(not find_spec("ensurepip"), reason="this Python has no ensurepip")
def test_the_function_serves_as_google_builds_it(tmp_path: Path) -> None:
    """
    From the uploaded files alone, with Python's own pip, in the python312 buildpack's steps.

    They are in GoogleCloudPlatform/buildpacks: cmd/python/functions_framework/lib/lib.go,
    pkg/python/python.go and cmd/python/pip/lib/lib.go.
    """
    source, layer, home = (tmp_path / name for name in ("workspace", "layer", "python"))
    for name in uploaded():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    python = Path(sys.executable).resolve()  # outside of .venv, in which --user is refused
    link_library(home)
    image = {"PYTHONHOME": str(home), "PYTHONUSERBASE": str(layer), "PYTHONNOUSERSITE": ""}
    build = {
        "PYTHONPATH": own_pip(python, tmp_path / "pip"),
        "PIP_REQUIRE_VIRTUALENV": "0",  # it may be on for a person who runs this
        "SOURCE_DATE_EPOCH": "315532800",  # the deploy scripts set it
    }
    environ = {**os.environ, **image, **build}
    for step in STEPS:
        words = [word.format(layer=layer) for word in step.split()]
        subprocess.run([python, "-m", *words], cwd=source, env=environ, check=True)

    with (
        server.bigquery_server() as bigquery,
        serving(tmp_path, bigquery.url, environment=layer, source=source, **image) as function,
    ):
        assert function.post(HEADERS, json.dumps(body())).ok

    assert len(bigquery.rows) == 1


def link_library(home: Path) -> None:
    """Make a PYTHONHOME without the packages of this machine's Python, as it is in the image."""
    library = Path(get_path("stdlib"))
    linked = home / library.relative_to(sys.base_prefix)
    linked.mkdir(parents=True)
    for part in library.iterdir():
        # The last one forbids pip to install outside of a virtual environment.
        if part.name not in {"site-packages", "dist-packages", "EXTERNALLY-MANAGED"}:
            (linked / part.name).symlink_to(part)


def own_pip(python: Path, folder: Path) -> str:
    """Make a folder that holds only the pip that ensurepip brings; return it."""
    # Debian lets ensurepip run in a virtual environment only.
    subprocess.run([python, "-m", "venv", folder], check=True)
    [packages] = folder.glob("lib/python3.*/site-packages")
    return str(packages)
