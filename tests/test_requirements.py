"""What is installed: pinned, the same everywhere, and enough for the deployed function."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests import ROOT
from tests.conftest import serving
from tests.events import HEADERS, body
from tests.pins import FILES, UV, compile_pins, extras_first, pins
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


def test_the_function_serves_with_its_own_requirements_alone(tmp_path: Path) -> None:
    """In an empty environment, from a folder that holds what is uploaded and nothing else."""
    source, environment = tmp_path / "source", tmp_path / "environment"
    shutil.copytree(ROOT / "registry", source / "registry")
    shutil.copy(ROOT / "main.py", source)
    python = str(environment / "bin/python")
    for command in (
        ["venv", "--quiet", "--python", "3.12", str(environment)],
        ["pip", "sync", "--quiet", "--python", python, "requirements.txt"],
    ):
        subprocess.run([UV, *command], cwd=ROOT, check=True, timeout=120)

    with (
        server.bigquery_server() as bigquery,
        serving(tmp_path, bigquery.url, environment=environment, source=source) as function,
    ):
        assert function.post(HEADERS, json.dumps(body())).ok

    assert len(bigquery.rows) == 1
