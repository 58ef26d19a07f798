"""What the options forgive, and what they find by themselves, on the BigQuery emulator."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from google.api_core.exceptions import Forbidden
from google.cloud import bigquery

from registry import completion
from registry.cli import main
from tests import PROJECT, ROOT
from tests.conftest import insert, written
from tests.servers import bigquery as server

Run = Callable[..., Result]
URL = "gs://ml-models-dev/fraud/v1/m.pkl"


@pytest.fixture(scope="module")
def registered(client: bigquery.Client, dataset: str) -> str:
    """A model, and a file whose name ends like a generation; returns the table's name."""
    paths = ["fraud/v1/m.pkl", "fraud/v1/n#1", "other/v1/m", "other/v2/m"]
    insert(client, dataset, [written(path, "dev", minute) for minute, path in enumerate(paths)])
    return f"{dataset}.models"


@pytest.fixture
def run(registered: str, bigquery_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; its result has the exit code and what it printed."""
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    monkeypatch.setenv("REGISTRY_TABLE", registered)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    return lambda *words: CliRunner().invoke(main, words)


@pytest.mark.parametrize(
    "model", ["fraud/", "fraud/v1", "gs://ml-models-dev/fraud", "gs://ml-models-dev/fraud/v1/"]
)
def test_a_model_may_be_written_as_part_of_a_path(run: Run, model: str) -> None:
    result = run("show", model)

    assert [row["model_name"] for row in json.loads(result.stdout)] == ["fraud"]


@pytest.mark.parametrize(
    "command",
    [
        ["show", "fraud/v1/"],
        ["show", "gs://ml-models-dev/fraud/v1/m.pkl#7", "v1"],
        ["uri", "fraud/v1", "-e", "dev"],
    ],
)
def test_the_version_may_be_part_of_the_path(run: Run, command: list[str]) -> None:
    assert "fraud/v1" in run(*command).stdout


@pytest.mark.parametrize("command", ["promotions", "changes"])
def test_with_a_path_the_answer_is_about_its_version(run: Run, command: str) -> None:
    def versions(*words: str) -> list[int]:
        return [row["model_version"] for row in json.loads(run(command, *words).stdout)]

    assert versions("other") == versions("other/") == [2, 1]
    assert versions("other/v1") == versions("gs://b/other/v01/m", "--limit", "1") == [1]
    assert versions("other/v3") == []


def test_a_path_has_the_version_that_a_command_needs(run: Run) -> None:
    result = run("promote", "fraud/v1", "--to", "staging")

    assert result.stderr.startswith("Error: expected STORAGE_EMULATOR_HOST and ")


@pytest.mark.parametrize(
    "command",
    [
        ["show", "fraud/v1", "v2"],
        ["uri", "gs://ml-models-dev/fraud/v1/", "2", "-e", "dev"],
        ["get", "fraud/v1", "v2", "-e", "dev", "folder"],
        ["promote", "fraud/v1", "v2", "--to", "staging"],
        ["withdraw", "fraud/v1/m.pkl", "v2", "--from", "dev"],
    ],
)
def test_another_version_than_the_paths_is_an_error(run: Run, command: list[str]) -> None:
    result = run(*command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "expected v1, which is in the path of MODEL, found v2: type one of them" in result.stderr


@pytest.mark.parametrize(
    "version", ["v", "", "3a", "-1", "v\u0663", "3\n", "9" * 19, "v" + "9" * 5000]
)
def test_what_is_no_version_is_an_error_of_one_line(run: Run, version: str) -> None:
    result = run("show", "fraud", "--", version)

    assert result.exit_code == 2
    error = result.stderr.splitlines()[-1]
    assert "expected a version such as v3, found '" in error
    assert len(error) < 300


@pytest.mark.parametrize("version", ["1", "v1", "v01", "0" * 5000 + "1"])
def test_a_version_may_be_written_in_several_ways(run: Run, version: str) -> None:
    assert run("uri", "fraud", version, "-e", "dev").stdout == "gs://ml-models-dev/fraud/v1/\n"


def test_a_command_that_needs_a_version_says_that_it_is_missing(run: Run) -> None:
    result = run("promote", "fraud", "--to", "staging")

    assert result.exit_code == 2
    assert "Missing argument 'VERSION'" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "compare fraud v1 v2 -e dev -e prod",
        "check fraud/v1/m.pkl -e dev --env prod",
        "promote fraud v1 --to staging --to prod",
        "promote fraud v1 --to prod --from dev --from staging",
        "withdraw fraud v1 --from staging --from prod",
        "uri fraud -e dev -e dev",
    ],
)
def test_two_environments_where_one_is_asked_for_are_an_error(run: Run, command: str) -> None:
    result = run(*command.split())

    assert (result.exit_code, result.stdout) == (2, "")
    assert "expected one environment, found 2" in result.stderr


@pytest.mark.parametrize("model", ["", "/", "gs://ml-models-dev", "gs://ml-models-dev/"])
def test_a_path_without_a_model_is_an_error(run: Run, model: str) -> None:
    result = run("show", model)

    assert result.exit_code == 2
    assert "expected a model's name, found " in result.stderr


@pytest.mark.parametrize(
    ("url", "file"), [(f"{URL}#1234567", "m.pkl"), (URL.replace("m.pkl", "n#1"), "n#1")]
)
def test_a_generation_after_an_objects_name_is_left_out(run: Run, url: str, file: str) -> None:
    result = run("history", url)

    assert [row["gcs_path"] for row in json.loads(result.stdout)] == [f"fraud/v1/{file}"]


def test_a_table_that_does_not_exist_is_an_error(run: Run, registered: str) -> None:
    missing = f"{registered}_missing"

    result = run("models", "--table", missing)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: expected the table {PROJECT}.{missing}, found none: see --table\n"
    )


def test_who_may_only_read_the_views_gets_an_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Forbidden("tables.get")  # type: ignore[no-untyped-call] # google has no types for it

    monkeypatch.setattr(bigquery.Client, "get_table", refuse)

    assert run("models").exit_code == 0


def test_without_the_option_it_is_gclouds_project(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GCP_PROJECT_ID")
    monkeypatch.setenv("CLOUDSDK_CORE_PROJECT", PROJECT)

    assert run("models").exit_code == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("show ", ["fraud", "other"]),
        ("show fr", ["fraud"]),
        ("show x", []),
        ("compare fr", ["fraud"]),
        ("show --table nowhere.models ", []),
        ("show --project NOT_ONE ", []),
    ],
)
@pytest.mark.usefixtures("run")
def test_the_shell_completes_the_names_of_models(
    monkeypatch: pytest.MonkeyPatch, words: str, expected: list[str]
) -> None:
    monkeypatch.setattr(completion, "ANSWER_SECONDS", 10)

    assert completed(words) == expected


def completed(words: str) -> list[str]:
    *before, incomplete = words.split(" ")
    shell = ShellComplete(main, {}, "model-registry", "_MODEL_REGISTRY_COMPLETE")
    return [item.value for item in shell.get_completions([*before], incomplete)]


@pytest.mark.usefixtures("run")
def test_the_shell_does_not_wait_for_a_bigquery_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server.bigquery_server([server.silent]) as silent:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", silent.url)
        started = time.monotonic()

        assert completed("show ") == []

        assert time.monotonic() - started < 1.5  # with a second's delay of this machine


def test_the_program_completes_for_bash_and_is_silent_without_a_registry(tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "COMP_WORDS": "model-registry show ",
        "COMP_CWORD": "2",
        "_MODEL_REGISTRY_COMPLETE": "bash_complete",
    }
    code = "import sys; from registry.__main__ import run; run('model-registry')"

    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "", "")
