"""SQL, the command line and the page give the same answers, on the local system's sample data."""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests
from click.testing import CliRunner

from registry.cli import main
from tests.servers.local import Local

type Row = Mapping[str, Any]

THEN = (datetime.now(UTC) - timedelta(days=30)).isoformat()
# Other tests upload to the same system: they use other models.
SAMPLE = ["fraud-detection", "churn", "recommender", "image-tagger", "sentiment", "spam-filter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    A question in three forms.

    The command line and the page may return more rows: `fits` says which count. `of_cli` and
    `of_page` make SQL's columns of a row that has others. `{then}` is a time, a month ago.
    """

    sql: str
    words: str
    path: str
    fits: Callable[[Row], bool] = lambda _: True
    of_cli: Callable[[Row], Row] = dict
    of_page: Callable[[Row], Row] = dict


def in_prod(row: Row) -> bool:
    return bool(row["environment"] == "prod")


def of_files(row: Row) -> Row:
    """Return the files of a version, as the view artifacts has them."""
    files = row["artifacts"]
    return {name: [file[name] for file in files] for name in ("gcs_path", "crc32c")}


def reached(row: Row) -> Row:
    """Return a row of model_versions, as promotions says it of prod."""
    return {
        "model_version": row["model_version"],
        "prod_upload_timestamp": row["first_upload_timestamp"],
        "prod_last_upload_timestamp": row["last_upload_timestamp"],
        "prod_removed_at": row["removed_at"],
        "prod_vs_staging": row["prod_vs_staging"],
    }


OF_PROD = (
    "SELECT model_version, prod_upload_timestamp, prod_last_upload_timestamp, prod_removed_at,"
    " prod_vs_staging FROM ml_registry.promotions WHERE model_name = '%s'"
    " AND prod_upload_timestamp IS NOT NULL"
)
QUESTIONS = {
    "what is where": Question(
        sql="SELECT * FROM ml_registry.latest_models", words="models", path="?format=json"
    ),
    "what is in prod": Question(
        sql="SELECT * FROM ml_registry.latest_models WHERE environment = 'prod'",
        words="models --environment prod",
        path="?format=json",
        fits=in_prod,
    ),
    "is prod what was tested in staging": Question(
        sql="SELECT model_name, model_version, prod_vs_staging FROM ml_registry.latest_models"
        " WHERE prod_vs_staging = 'different'",
        words="models --environment prod",
        path="?format=json",
        fits=lambda row: bool(row["prod_vs_staging"] == "different"),
    ),
    "what never was in staging": Question(
        sql="SELECT model_name, model_version FROM ml_registry.latest_models"
        " WHERE prod_vs_staging = 'skipped'",
        words="models",
        path="?format=json",
        fits=lambda row: bool(row["prod_vs_staging"] == "skipped"),
    ),
    "which versions of prod differ, the highest or not": Question(
        sql="SELECT model_name, differing_versions FROM ml_registry.latest_models"
        " WHERE environment = 'prod' AND ARRAY_LENGTH(differing_versions) > 0",
        words="models --environment prod",
        path="?format=json",
        fits=lambda row: in_prod(row) and bool(row["differing_versions"]),
    ),
    "how far is prod behind dev": Question(
        sql="SELECT model_name, versions_behind_dev FROM ml_registry.latest_models"
        " WHERE environment = 'prod' AND versions_behind_dev > 0",
        words="models --environment prod",
        path="?format=json",
        fits=lambda row: in_prod(row) and row["versions_behind_dev"] > 0,
    ),
    "how much is stored in each environment": Question(
        sql="SELECT model_name, environment, versions, versions_total_bytes"
        " FROM ml_registry.latest_models",
        words="models",
        path="?format=json",
    ),
    "which versions are there": Question(
        sql="SELECT * FROM ml_registry.model_versions WHERE model_name = 'fraud-detection'",
        words="show fraud-detection",
        path="models/fraud-detection?format=json",
    ),
    "which files are in a version": Question(
        sql="SELECT ARRAY_AGG(gcs_path ORDER BY gcs_path) AS gcs_path,"
        " ARRAY_AGG(crc32c ORDER BY gcs_path) AS crc32c"
        " FROM ml_registry.artifacts WHERE model_name = 'image-tagger'"
        " AND model_version = 2 AND environment = 'staging' GROUP BY model_version",
        words="show image-tagger --files --environment staging",
        path="models/image-tagger?format=json",
        fits=lambda row: (row["model_version"], row["environment"]) == (2, "staging"),
        of_cli=of_files,
        of_page=of_files,
    ),
    "which commit did it come from": Question(
        sql="SELECT JSON_VALUE(metadata, '$.git_commit') AS commit FROM ml_registry.artifacts"
        " WHERE model_name = 'recommender' AND model_version = 3 AND environment = 'prod'",
        words="show recommender --files --environment prod",
        path="models/recommender?format=json",
        fits=lambda row: in_prod(row) and row["model_version"] == 3,
        of_cli=lambda row: {"commit": row["artifacts"][0]["metadata"]["git_commit"]},
        of_page=lambda row: {"commit": row["artifacts"][0]["metadata"]["git_commit"]},
    ),
    "how often was a file overwritten": Question(
        sql="SELECT COUNT(*) AS times FROM ml_registry.registrations"
        " WHERE gcs_path = 'recommender/v2/model.pkl' AND environment = 'dev'",
        words="show recommender --files --environment dev",
        path="models/recommender?format=json",
        fits=lambda row: (row["model_version"], row["environment"]) == (2, "dev"),
        of_cli=lambda row: {"times": row["overwrites"] + 1},
        of_page=lambda row: {"times": row["artifacts"][0]["overwrites"] + 1},
    ),
    "when did each version reach prod": Question(
        sql=OF_PROD % "fraud-detection",
        words="promotions fraud-detection --environment prod",
        path="models/fraud-detection?format=json",
        fits=lambda row: row.get("environment", "prod") == "prod",
        of_page=reached,
    ),
    "which versions were removed from prod": Question(
        sql=OF_PROD % "churn",
        words="promotions churn --environment prod",
        path="models/churn?format=json",
        fits=lambda row: row.get("environment", "prod") == "prod",
        of_page=reached,
    ),
    "what happened": Question(
        sql="SELECT * FROM ml_registry.changes", words="changes", path="changes?format=json"
    ),
    "what happened to a model": Question(
        sql="SELECT * FROM ml_registry.changes WHERE model_name = 'fraud-detection'",
        words="changes fraud-detection",
        path="changes?format=json&model=fraud-detection",
    ),
    "what reached prod lately": Question(
        sql="SELECT * FROM ml_registry.changes WHERE environment = 'prod' AND ended_at >= '{then}'",
        words="changes --environment prod --since {then}",
        path="changes?format=json&environment=prod&since={then}",
    ),
    "who overwrote something": Question(
        sql="SELECT changed_at, model_name, model_version, uploaders FROM ml_registry.changes"
        " WHERE change = 'overwritten'",
        words="changes",
        path="changes?format=json",
        fits=lambda row: bool(row["change"] == "overwritten"),
    ),
    "what was where a month ago": Question(
        sql="SELECT * FROM ml_registry.latest_models_at(TIMESTAMP '{then}')",
        words="models --at {then}",
        path="?format=json&at={then}",
    ),
    "which versions were there a month ago": Question(
        sql="SELECT * FROM ml_registry.model_versions_at(TIMESTAMP '{then}')"
        " WHERE model_name = 'fraud-detection'",
        words="show fraud-detection --at {then}",
        path="models/fraud-detection?format=json&at={then}",
    ),
    "what had happened a month ago": Question(
        sql="SELECT * FROM ml_registry.changes_at(TIMESTAMP '{then}')",
        words="changes --at {then}",
        path="changes?format=json&at={then}",
    ),
}


def plain(rows: list[Row]) -> list[Row]:
    """Return rows of the sample's models as JSON has them, in an order of their own."""
    kept = [row for row in rows if row.get("model_name", SAMPLE[0]) in SAMPLE]
    values = json.loads(json.dumps([dict(row) for row in kept], default=datetime.isoformat))
    return sorted(values, key=json.dumps)


@pytest.fixture(scope="module")
def by_sql(system: Local) -> Callable[[str], list[Row]]:
    """Ask in SQL."""
    client = system.bigquery
    return lambda sql: list(map(dict, client.query_and_wait(sql.replace("{then}", THEN))))


@pytest.fixture(scope="module")
def by_command_line(system: Local) -> Callable[[str], list[Row]]:
    """Ask the command line; the same question once."""

    @functools.cache
    def ask(words: str) -> list[Row]:
        options = [*words.replace("{then}", THEN).split(), "--format", "json"]
        result = CliRunner(env=system.exports).invoke(main, options)
        assert result.exit_code == 0, result.output
        rows: list[Row] = json.loads(result.stdout)
        return rows

    return ask


@pytest.fixture(scope="module")
def by_page(system: Local) -> Callable[[str], list[Row]]:
    """Ask the page; the same question once."""

    @functools.cache
    def ask(path: str) -> list[Row]:
        answer = requests.get(
            f"{system.inventory}{path.replace('{then}', quote(THEN))}", timeout=60
        )
        assert answer.status_code == 200, answer.text
        rows: list[Row] = answer.json()
        return rows

    return ask


@pytest.mark.parametrize("name", QUESTIONS)
def test_all_three_say_the_same(
    name: str,
    by_sql: Callable[[str], list[Row]],
    by_command_line: Callable[[str], list[Row]],
    by_page: Callable[[str], list[Row]],
) -> None:
    question = QUESTIONS[name]
    answer = by_sql(question.sql)
    columns = set(answer[0])

    def as_in_sql(rows: list[Row], to_columns: Callable[[Row], Row]) -> list[Row]:
        fitting = [to_columns(row) for row in rows if question.fits(row)]
        return plain([{key: row[key] for key in row if key in columns} for row in fitting])

    assert plain(answer) != []
    assert as_in_sql(by_command_line(question.words), question.of_cli) == plain(answer)
    assert as_in_sql(by_page(question.path), question.of_page) == plain(answer)
