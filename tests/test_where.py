"""Models and versions by their custom metadata, on both engines."""

import json

import pytest
from google.cloud import bigquery

from registry.condition import Condition
from registry.inventory import Filter, Inventory
from tests.conftest import insert, written

HOSTILE = "a.'\"`\\$[0]\u00e9 --"


@pytest.fixture(scope="module")
def client(either_client: bigquery.Client) -> bigquery.Client:
    """Each test runs on both engines."""
    return either_client


def put(client: bigquery.Client, dataset: str) -> None:
    """Add models with metadata."""

    def model(path: str, environment: str, minute: int, **metadata: object) -> dict[str, object]:
        return written(path, environment, minute, metadata=json.dumps(metadata))

    insert(
        client,
        dataset,
        [
            model("boost/v1/m", "dev", 0, framework="xgboost", accuracy="0.91"),
            model("boost/v1/m", "prod", 1, framework="xgboost", accuracy="0.91"),
            model("boost/v2/m", "dev", 2, framework="xgboost", accuracy="0.9"),
            model("boost/v3/m", "dev", 3, framework="sklearn", accuracy="1e0"),
            model("split/v1/a", "dev", 0, framework="xgboost"),
            model("split/v1/b", "dev", 0, accuracy=0.95, **{HOSTILE: "x"}),
            model("text/v1/m", "dev", 0, accuracy="high", run="12345678901234567890"),
            written("bare/v1/m", "dev", 0),
            written("bare/v2/m", "dev", 1, metadata='"framework"'),
            model("gone/v1/m", "dev", 1, framework="xgboost"),
        ],
    )
    removal = {
        "gcs_bucket": "ml-models-dev",
        "gcs_path": "gone/v1/m",
        "generation": 1001,
        "removed_at": "2026-03-02T12:00:00Z",
        "recorded_at": "2026-03-02T12:00:00Z",
        "recorded_by": "deleted",
    }
    assert not client.insert_rows_json(f"{dataset}.removals", [removal])


@pytest.fixture(scope="module")
def inventory(client: bigquery.Client, dataset: str) -> Inventory:
    """Models with metadata."""
    put(client, dataset)
    return Inventory(client, f"{dataset}.models")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["framework=xgboost"], ["boost/v1 prod", "split/v1 dev"]),
        (["framework=XGBoost"], []),
        (["framework!=xgboost"], ["boost/v3 dev"]),  # not where there is no such key
        (["accuracy>=0.91"], ["boost/v3 dev", "boost/v1 prod", "split/v1 dev"]),
        (["accuracy<0.950"], ["boost/v1 prod"]),
        (["accuracy<=0.950"], ["boost/v1 prod", "split/v1 dev"]),
        (["accuracy>0.95"], ["boost/v3 dev"]),
        (["accuracy=0.9500"], ["split/v1 dev"]),
        (["accuracy=1"], ["boost/v3 dev"]),
        (["accuracy!=1"], ["boost/v1 prod", "split/v1 dev", "text/v1 dev"]),
        (["accuracy=high"], ["text/v1 dev"]),
        (["accuracy<=2"], ["boost/v3 dev", "boost/v1 prod", "split/v1 dev"]),  # text has no order
        (["run=12345678901234567890"], ["text/v1 dev"]),
        (["run=12345678901234567891"], []),  # binary floating point would not see the difference
        (["framework=xgboost", "accuracy>=0.95"], ["split/v1 dev"]),  # on two files
        (["framework=xgboost", "accuracy>0.95"], []),
        (["framework=xgboost", "framework=xgboost"], ["boost/v1 prod", "split/v1 dev"]),
        ([f"{json.dumps(HOSTILE)}=x"], ["split/v1 dev"]),
        (["' OR TRUE --=x"], []),
    ],
)
def test_models_are_found_by_the_metadata_of_their_latest_version(
    inventory: Inventory, where: list[str], expected: list[str]
) -> None:
    wanted = Filter(where=[Condition.parse(text) for text in where])

    rows = inventory.latest_models(wanted)

    found = [f"{row.model_name}/v{row.model_version} {row.environment}" for row in rows]
    assert found == expected


def test_versions_are_found_with_and_without_their_files(inventory: Inventory) -> None:
    wanted = Filter(where=[Condition.parse("framework=xgboost")])

    rows = inventory.model_versions("boost", wanted)
    contents = inventory.model_version_files("boost", wanted)

    expected = [(2, "dev"), (1, "dev"), (1, "prod")]
    assert [(row.model_version, row.environment) for row in rows] == expected
    assert [(row.model_version, row.environment) for row in contents] == expected
    assert inventory.model_versions("gone", wanted) == []
