"""What is installed: pinned, the same everywhere, and enough for the deployed function."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.conftest import serving
from tests.events import HEADERS, body
from tests.servers import bigquery as server

UV = Path(sys.executable).with_name("uv")
FILES = [
    "requirements.txt",
    "tests/requirements.txt",
    "deploy/local/storage.txt",
    "deploy/local/bigquery.txt",
]


def pins(path: Path) -> set[str]:
    """Read what is pinned, `name==version` and where it applies; hashes aside."""
    lines = path.read_text().splitlines()
    return {line.removesuffix("\\").strip() for line in lines if re.match(r"[a-z]", line)}


@pytest.mark.parametrize("name", FILES)
def test_the_pins_are_those_that_the_sources_ask_for(name: str, tmp_path: Path) -> None:
    """The command in the file's first lines, run again, changes nothing."""
    [command] = re.findall(r"^#    uv (.*)$", (ROOT / name).read_text(), re.MULTILINE)
    copy = tmp_path / "requirements.txt"
    shutil.copy(ROOT / name, copy)  # a pin that still fits is kept
    arguments = [str(copy) if word == name else word for word in command.split()]
    assert str(copy) in arguments
    subprocess.run([UV, *arguments, "--quiet"], cwd=ROOT, check=True, timeout=120)

    assert pins(ROOT / name) == pins(copy)


@pytest.mark.parametrize("name", FILES)
def test_each_pin_is_exact_and_has_hashes_and_no_file_names_an_index(name: str) -> None:
    text = (ROOT / name).read_text()
    requirements = re.split(r"\n(?=[a-z])", text)[1:]

    assert len(requirements) == len(pins(ROOT / name)) > 0
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+==\S+", requirement)
        assert "--hash=sha256:" in requirement
    assert not re.search(r"://|--(extra-)?index-url|--find-links", text)


def test_the_tests_run_with_what_is_deployed() -> None:
    assert pins(ROOT / "requirements.txt") <= pins(ROOT / "tests/requirements.txt")


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
