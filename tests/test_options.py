"""What the options forgive, and what they find by themselves, on the BigQuery emulator."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from google.api_core.exceptions import Forbidden
from google.cloud import bigquery

from registry.cli import main
from tests import PROJECT
from tests.conftest import insert, written

Run = Callable[..., Result]
URL = "gs://ml-models-dev/fraud/v1/m.pkl"


@pytest.fixture(scope="module")
def registered(client: bigquery.Client, dataset: str) -> str:
    """A model, and a file whose name ends like a generation; returns the table's name."""
    insert(client, dataset, [written(f"fraud/v1/{name}", "dev", 0) for name in ("m.pkl", "n#1")])
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
