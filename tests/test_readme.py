"""The READMEs say what is there."""

import itertools
import json
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from registry.cli import main
from registry.outcome import Result
from tests import ROOT
from tests.servers.local import Local

READMES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "README.md", *ROOT.glob("[!.]*/README.md"), *ROOT.glob("tests/*/README.md")]
}
ALL = "\n".join(READMES.values())
COMMANDS = re.findall(r"^\$ (.*)$", ALL, re.MULTILINE)
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", ALL, flags=re.DOTALL | re.MULTILINE))
PYTEST = Path(sys.executable).with_name("pytest")
SCRIPTS = {path.name: path.read_text() for path in (ROOT / "deploy").glob("**/*.sh")}


def table(heading: str) -> list[list[str]]:
    """Read the rows of the table under a heading."""
    [section] = re.findall(rf"^##+ {heading}\n(.*?)^##", ALL, re.DOTALL | re.MULTILINE)
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return [[cell.strip("` ") for cell in row] for row in rows[2:]]


def test_the_columns_are_those_of_the_table() -> None:
    sql = (ROOT / "deploy/bigquery/2-models.sql").read_text()
    defined = re.findall(r"^  (?!ADD )(\w+) ([A-Z0-9]+) ", sql, re.MULTILINE)

    assert [(name, kind) for name, kind, _ in table("Columns")] == defined
    assert len(defined) == 13


def test_the_variables_are_those_that_are_read() -> None:
    named = {name for row in table("Variables") for name in re.findall(r"[A-Z_]{2,}", row[0])}
    set_once = set(re.findall(r"^export (\w+)=", SCRIPTS["config.sh"], re.MULTILINE))
    read_once = set(re.findall(r"\$\{([A-Z]+(?:_[A-Z]+)*):?[-=]", "\n".join(SCRIPTS.values())))
    ports = set(re.findall(r"\b[A-Z]+_PORT\b", SCRIPTS["local.sh"]))

    assert named == set_once | read_once | ports | {"BIGQUERY_EMULATOR_HOST", "THREADS"}


def test_the_roles_are_those_that_the_scripts_grant() -> None:
    sql = [path.read_text() for path in (ROOT / "deploy/bigquery").glob("9-*.sql")]
    granted = set(re.findall(r"roles/[\w.]+\w", "\n".join([*SCRIPTS.values(), *sql])))

    rows = "\n".join(cell for row in table("Who may do what") for cell in row)
    assert set(re.findall(r"roles/[\w.]+", rows)) == granted


def test_the_deploy_scripts_are_all_listed() -> None:
    [section] = re.findall(
        r"^\| script \|.*?\n\n", READMES["deploy/README.md"], re.DOTALL | re.MULTILINE
    )
    scripts = {str(path.relative_to(ROOT)) for path in (ROOT / "deploy").glob("*.sh")}

    listed = set(re.findall(r"`(deploy/\w+\.sh)`", section))
    assert listed == scripts - {"deploy/config.sh", "deploy/lib.sh"}


@pytest.mark.parametrize("readme", READMES)
def test_the_files_and_links_exist(readme: str) -> None:
    text, folder = READMES[readme], (ROOT / readme).parent
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (folder / link).exists(), link
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([\w./-]+(?:\.\w+|/))`", prose):
        if not code.startswith(("roles/", "ml_registry.")):
            assert (ROOT / code).exists() or (folder / code).exists(), code


OURS = [
    command
    for line in [*COMMANDS, *CODE]
    for command in line.split(" && ")
    if re.match(r"(deploy|tests(/\w+)?)/(?!config|lib\b)\w+\.sh\b", command)
]


@pytest.mark.parametrize("command", sorted(set(OURS)))
def test_the_commands_exist_with_their_options(command: str) -> None:
    script, *arguments = shlex.split(command)
    usage = subprocess.run([ROOT / script, "--help"], capture_output=True, text=True, check=True)

    assert f"Usage: {script}" in usage.stdout
    if script == "tests/run.sh":  # its other options are pytest's
        subprocess.run([str(PYTEST), *arguments, "--version"], capture_output=True, check=True)
        return
    if script == "tests/benchmarks/run.sh" and arguments:
        command = f"{ROOT / script} {arguments.pop(0)} --help"
        usage = subprocess.run(command.split(), capture_output=True, text=True, check=True)
    words = [argument for argument in arguments if not argument.isdecimal()]  # any number does
    for option, argument in itertools.pairwise(["", *words]):
        known = rf"^ +{argument}\b" if argument.startswith("-") else rf"\b{argument}\b"
        known = {"--notify": "CHANNEL", "--filter": "FILTER", "--topic": "TOPIC"}.get(option, known)
        assert re.search(known, usage.stdout, re.MULTILINE), argument


def test_both_commands_are_there() -> None:
    commands = re.findall(r"^\$ (.*)$", READMES["README.md"], re.MULTILINE)

    assert {"deploy/local.sh --once", "tests/run.sh"} <= set(commands)


def test_the_outcomes_are_those_that_are_logged() -> None:
    [sentence] = re.findall(r"Its `outcome` is\s+([^.]*)\.", ALL)

    assert re.findall(r"`(\w+)`", sentence) == [*Result]


def test_the_options_of_the_tests_are_those_that_exist() -> None:
    text = READMES["tests/README.md"]
    conftest = (ROOT / "tests/conftest.py").read_text()

    ours = re.findall(r'addoption\("(--\w+)"', conftest)
    assert {f"`{option}`" for option in ours} <= set(re.findall(r"^\| (`\S+`)", text, re.MULTILINE))


SQL = re.findall(r"^```sql\n(.*?)^```$", ALL, re.DOTALL | re.MULTILINE)
# The day of the examples, and one that the sample data always has.
A_DAY = "2026-09-01"
MONTH_AGO = (datetime.now(UTC) - timedelta(days=30)).date().isoformat()
ASKED = sorted({line for line in COMMANDS if "-m registry" in line})


@pytest.mark.parametrize("sql", SQL)
def test_the_questions_in_sql_have_answers_in_the_sample_data(sql: str, system: Local) -> None:
    assert list(system.bigquery.query_and_wait(sql.replace(A_DAY, MONTH_AGO)))


@pytest.mark.parametrize("command", ASKED)
def test_the_questions_to_the_command_line_have_answers(command: str, system: Local) -> None:
    asked = command.partition(" | ")[0].replace(A_DAY, MONTH_AGO)
    words = shlex.split(asked.removeprefix(".venv/bin/python -m registry "))
    ended = CliRunner(env=system.exports).invoke(main, words)  # a process takes ten times as long

    assert ended.exit_code == 0, ended.output
    answer = json.loads(ended.stdout)
    assert (answer == []) == ("reconcile" in command)  # in the sample data nothing differs


def test_there_are_questions() -> None:
    assert (len(SQL) >= 6, len(ASKED) >= 6) == (True, True)


def test_the_views_have_the_columns_that_are_listed(system: Local) -> None:
    columns = {"table": [name for name, _, _ in table("Columns")]}
    for view, _, listed in table("The views"):
        those = re.match(r"those of (?:the |`)(\w+)`?", listed)
        more = re.findall(r"\w+", listed[those.end() :] if those else listed)
        columns[view] = [*(columns[those[1]] if those else []), *more]
        there = system.bigquery.get_table(f"ml_registry.{view}").schema
        assert [field.name for field in there] == columns[view], view
    assert len(columns) == 7


def test_the_readme_is_short() -> None:
    assert len(READMES["README.md"].splitlines()) <= 150
