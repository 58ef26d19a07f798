"""The README tells of what is there."""

import re
import subprocess

import pytest

from registry.outcome import Result
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (.*)$", README, re.MULTILINE)
CODE = re.findall(
    r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
)
SOURCES = "\n".join(
    (ROOT / name).read_text()
    for name in ("deploy/config.sh", "deploy/local/system.py", "registry/settings.py")
)


def table(heading: str) -> list[list[str]]:
    """Read the rows of the table below a heading."""
    [section] = re.findall(rf"^## {heading}\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return [[cell.strip("` ") for cell in row] for row in rows[2:]]


def test_the_columns_are_those_of_the_table() -> None:
    sql = (ROOT / "deploy/bigquery/models.sql").read_text()
    defined = re.findall(r"^  (?:ADD COLUMN IF NOT EXISTS )?(\w+) ([A-Z0-9]+) ", sql, re.MULTILINE)

    assert [(name, kind) for name, kind, _ in table("Columns")] == defined
    assert len(defined) == 13


def test_the_variables_are_read_somewhere() -> None:
    named = {name for row in table("Variables") for name in re.findall(r"[A-Z_]{2,}", row[0])}
    read = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*_(?:PORT|ID|TABLE|HOST|PREFIX)\b", SOURCES))

    assert named == read - {"LAST_PORT", "DEFAULT_TABLE", "STORAGE_EMULATOR_HOST"}


def test_the_files_exist() -> None:
    files = {code for code in CODE if re.fullmatch(r"[\w./-]+(\.\w+|/)", code)}
    files -= {"ml_registry.models"}
    [layout] = re.findall(r"^## Layout\n+```text\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    folder = ""
    for indent, names in re.findall(r"^( *)((?:[\w./]+, )*[\w./]+)(?:  |$)", layout, re.MULTILINE):
        folder = folder if indent else names if names.endswith("/") else ""
        files |= {f"{folder if indent else ''}{name}" for name in names.split(", ")}

    assert len(files) > 15
    for file in files:
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(("deploy/", "tests/"))])
def test_the_commands_exist_with_their_options(command: str) -> None:
    script, *options = command.split()
    usage = subprocess.run([ROOT / script, "--help"], capture_output=True, text=True, check=True)

    assert f"Usage: {script}" in usage.stdout
    for option in options:
        assert re.search(rf"^ +{option} ", usage.stdout, re.MULTILINE)


def test_both_commands_are_there() -> None:
    assert {"deploy/local.sh --once", "tests/run.sh"} <= set(COMMANDS)


def test_the_outcomes_are_those_that_are_logged() -> None:
    [sentence] = re.findall(r"its `outcome`\s+is ([^.]*)\.", README)

    assert re.findall(r"`(\w+)`", sentence) == [*Result]
