"""`uri`, and `show` with a version: which version is meant, and where it is."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.cloud import bigquery

from registry.cli import main
from registry.environment import Environment
from registry.errors import Refused
from registry.inventory import Inventory
from registry.resolution import resolve
from registry.rows import ModelVersion, ModelVersionFiles
from tests import PROJECT
from tests.conftest import Terminal, insert, written

Run = Callable[..., Result]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEV, STAGING, PROD = Environment


def row(
    version: int,
    environment: str,
    comparison: str | None = None,
    **facts: Any,  # noqa: ANN401 - any columns
) -> ModelVersion:
    """Make a version in an environment."""
    empty: dict[str, Any] = dict.fromkeys(ModelVersion.__dataclass_fields__)
    given: dict[str, Any] = {
        "model_name": "m",
        "model_version": version,
        "environment": environment,
        "prod_vs_staging": comparison,
        "missing_files": [],
    }
    return ModelVersion(**{**empty, **given, **facts})


def test_without_a_version_it_is_the_highest_that_is_there() -> None:
    rows = [
        row(9, "prod", removed_at=NOON),
        row(8, "prod", "different"),
        row(7, "prod", "identical"),
        row(10, "dev"),
    ]

    assert resolve(rows, "m", None, PROD) == rows[1]
    assert resolve(rows, "m", 7, PROD) == rows[2]
    assert resolve(rows, "m", None, DEV) == rows[3]


@pytest.mark.parametrize(
    ("rows", "version", "message"),
    [
        ([row(1, "dev"), row(1, "staging")], None, "in prod, found it in dev and staging only"),
        ([row(1, "prod", removed_at=NOON)], None, "a version of m in prod, found none anywhere"),
        ([row(1, "dev")], 1, "m v1 in prod, found it in dev only: it has to be promoted first"),
        (
            [row(1, "prod", removed_at=NOON)],
            1,
            r"m v1 in prod, found that it was removed on 2026-03-01 12:00 UTC",
        ),
        ([row(n, "prod") for n in range(1, 9)], 9, "v9 in prod, found v4, v5, v6, v7, v8"),
        ([row(1, "dev", removed_at=NOON)], 1, "m v1 in prod, found no version there"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    rows: list[ModelVersion], version: int | None, message: str
) -> None:
    with pytest.raises(Refused, match=f"expected .*{message}$"):
        resolve(rows, "m", version, PROD)


def test_a_version_that_lacks_files_is_refused_unless_it_is_asked_for() -> None:
    lacking = row(3, "prod", "incomplete", missing_files=["a", "b"])
    rows = [lacking, row(2, "prod", "identical"), row(1, "prod", "unknown")]
    message = (
        "expected all files of m v3 in prod, found that it lacks a, b, which staging has: promote"
        " the rest, or ask for v2, the highest that is complete, or add --incomplete"
    )

    for version in (3, None):
        with pytest.raises(Refused, match=f"^{message}$"):
            resolve(rows, "m", version, PROD)
    assert resolve(rows, "m", None, PROD, incomplete=True) == lacking
    many = row(3, "prod", "incomplete", missing_files=list("abcdefghij"))
    with pytest.raises(
        Refused, match=r"j and perhaps more, which .* the rest, or add --incomplete"
    ):
        resolve([many], "m", None, PROD)


@pytest.fixture(scope="module")
def registered(client: bigquery.Client, dataset: str) -> str:
    """Some models in a table; returns the table's name."""
    rows = [
        written("churn/v1/model.pkl", "prod", 1),
        written("churn/v2/model.pkl", "prod", 2),
        written("churn/v2/sub/b c", "prod", 2),
        written("churn/v3/model.pkl", "dev", 3),
        written("lacking/v1/a", "staging", 1),
        written("lacking/v1/b", "staging", 1),
        written("lacking/v1/b", "prod", 1),
        written("two/v1/a", "prod", 1),
        written("two/v01/b", "prod", 1),
        written("\x1b[2J/v1/a", "prod", 1),
    ]
    insert(client, dataset, rows)
    return f"{dataset}.models"


@pytest.fixture
def run(registered: str, bigquery_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; its result has the exit code and what it printed."""
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    monkeypatch.setenv("REGISTRY_TABLE", registered)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    return lambda *words: CliRunner().invoke(main, words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["churn"], "gs://ml-models-prod/churn/v2/\n"),
        (["churn", "v01"], "gs://ml-models-prod/churn/v1/\n"),
        (["churn", "--at", "2026-03-01T12:01:30Z"], "gs://ml-models-prod/churn/v1/\n"),
        (
            ["churn", "2", "--files"],
            "gs://ml-models-prod/churn/v2/model.pkl\ngs://ml-models-prod/churn/v2/sub/b c\n",
        ),
        (["lacking", "--incomplete"], "gs://ml-models-prod/lacking/v1/\n"),
        (
            ["two", "--files"],
            "gs://ml-models-prod/two/v01/b\ngs://ml-models-prod/two/v1/a\n",
        ),
    ],
)
def test_the_address_is_printed_and_nothing_else(run: Run, words: list[str], expected: str) -> None:
    result = run("uri", *words, "-e", "prod")

    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["churm"], "expected registrations of churm, found none that fit: did you mean 'churn'?"),
        (["churn", "v3"], "expected churn v3 in prod, found it in dev only: it has to be promoted"),
        (["lacking"], "expected all files of lacking v1 in prod, found that it lacks a, which"),
        (
            ["two"],
            "expected two v1 in one folder, found it in gs://ml-models-prod/two/v01/ and gs://ml-mo",
        ),
    ],
)
def test_without_an_address_it_is_an_error_and_nothing_is_printed(
    run: Run, words: list[str], message: str
) -> None:
    result = run("uri", *words, "--environment", "prod")

    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"Error: {message}")


@pytest.mark.parametrize("left", [0, 1])
def test_a_version_whose_files_go_in_between_is_refused(
    left: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Inventory.model_version_files

    def later(*arguments: Any, **options: Any) -> list[ModelVersionFiles]:  # noqa: ANN401 - as it is called
        versions = ask(*arguments, **options)
        return [replace(one, artifacts=one.artifacts[:left]) for one in versions if left]

    monkeypatch.setattr(Inventory, "model_version_files", later)

    result = run("uri", "churn", "v2", "-e", "prod", "--files")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(f", found {left} a moment later: run it again\n")


def test_exactly_one_environment_is_asked_for(run: Run) -> None:
    several, none = run("uri", "churn", "-e", "dev", "-e", "prod"), run("uri", "churn")

    assert (several.exit_code, none.exit_code) == (2, 2)
    assert "expected one environment, found 2" in several.stderr
    assert "Missing option" in none.stderr


def test_an_address_moves_no_cursor_on_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = run("uri", "\x1b[2J", "-e", "prod").stdout
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    main(["uri", "\x1b[2J", "-e", "prod"], standalone_mode=False)

    assert raw == "gs://ml-models-prod/\x1b[2J/v1/\n"
    assert screen.getvalue() == "gs://ml-models-prod/\\x1b[2J/v1/\n"


def test_show_has_one_version_if_it_is_asked_for(run: Run) -> None:
    both = run("show", "churn", "v02", "--format", "json")
    files = run("show", "churn", "2", "--files", "--format", "csv", "--limit", "5")
    limited = run("show", "lacking", "v1", "--limit", "1")

    assert [(one["model_version"], one["files"]) for one in json.loads(both.stdout)] == [(2, 2)]
    assert [line.split(",")[4] for line in files.stdout.splitlines()[1:]] == [
        "churn/v2/model.pkl",
        "churn/v2/sub/b c",
    ]
    assert len(json.loads(limited.stdout)) == 1


@pytest.mark.parametrize("more", [[], ["--files"]])
def test_show_names_the_versions_that_are_there(run: Run, more: list[str]) -> None:
    absent, unknown = run("show", "churn", "v9", *more), run("show", "churm", "v9", *more)

    assert (absent.exit_code, unknown.exit_code) == (1, 1)
    assert absent.stdout == unknown.stdout == "[]\n"
    assert absent.stderr == "Error: expected churn v9, found v1, v2, v3\n"
    assert re.search("found none that fit: did you mean 'churn'", unknown.stderr)
