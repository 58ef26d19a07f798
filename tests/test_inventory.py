"""Typed reads of the views, on both engines."""

import json
import time
from datetime import UTC, datetime

import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError
from google.cloud import bigquery

from registry import inventory as module
from registry.clients import connect
from registry.errors import InvalidArtifactPath, QueryFailed
from registry.inventory import EVERYTHING, Filter, Inventory
from registry.rows import Comparison, to_json
from registry.settings import Settings
from tests import PROJECT
from tests.conftest import insert, written
from tests.servers import bigquery as server
from tests.servers.emulator import make_registry


def at(minute: int) -> datetime:
    return datetime(2026, 3, 1, 12, minute, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(either_client: bigquery.Client) -> bigquery.Client:
    """Each test runs on both engines."""
    return either_client


@pytest.fixture(scope="module")
def inventory(client: bigquery.Client, dataset: str) -> Inventory:
    """Two models: alpha is promoted and overwritten, beta is in dev alone and has more files."""
    insert(
        client,
        dataset,
        [
            written("alpha/v1/m", "dev", 0),
            written("alpha/v1/m", "staging", 1),
            written("alpha/v1/m", "prod", 2),
            written("alpha/v1/m", "prod", 9, crc32c="BBBBBB=="),
            written("alpha/v2/m", "dev", 3),
            *(
                written(f"beta/v{version}/{file}", "dev", 4, metadata='{"minute": 4}')
                for version in (1, 2, 3)
                for file in "ba"
            ),
        ],
    )
    return Inventory(client, f"{dataset}.models")


def test_latest_models_come_by_name_in_the_order_of_promotion(inventory: Inventory) -> None:
    rows = inventory.latest_models()

    assert [(row.model_name, row.environment, row.model_version) for row in rows] == [
        ("alpha", "dev", 2),
        ("alpha", "staging", 1),
        ("alpha", "prod", 1),
        ("beta", "dev", 3),
    ]
    assert [row.comparison for row in rows] == [
        None,
        Comparison.IDENTICAL,
        Comparison.DIFFERENT,
        None,
    ]
    assert rows[2].last_upload_timestamp == at(9)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(environments=["prod"]), [("alpha", "prod")]),
        (Filter(since=at(4)), [("alpha", "prod"), ("beta", "dev")]),
        (Filter(limit=1), [("alpha", "dev")]),
        (Filter(environments=["dev", "prod"], since=at(4), limit=1), [("alpha", "prod")]),
    ],
)
def test_a_filter_selects_rows(
    inventory: Inventory, wanted: Filter, expected: list[tuple[str, str]]
) -> None:
    rows = inventory.latest_models(wanted)

    assert [(row.model_name, row.environment) for row in rows] == expected


def test_model_versions_come_the_highest_first(inventory: Inventory) -> None:
    rows = inventory.model_versions("alpha")

    assert [(row.model_version, row.environment) for row in rows] == [
        (2, "dev"),
        (1, "dev"),
        (1, "staging"),
        (1, "prod"),
    ]
    assert inventory.model_versions("gamma") == []


def test_a_version_comes_with_its_files_by_path(inventory: Inventory) -> None:
    [first, *_] = inventory.model_version_files("beta")

    assert [artifact.file_name for artifact in first.artifacts] == ["a", "b"]
    assert [artifact.metadata for artifact in first.artifacts] == [{"minute": 4}] * 2
    assert first.artifacts[0].upload_timestamp == at(4)


def test_no_more_versions_and_files_come_than_were_asked_for(inventory: Inventory) -> None:
    rows = inventory.model_version_files("beta", newest=2, versions=1, files=1)

    assert [(row.model_version, row.files, len(row.artifacts)) for row in rows] == [(2, 2, 1)]


def test_a_history_has_the_files_of_the_highest_versions_and_what_happened(
    inventory: Inventory,
) -> None:
    rows = inventory.model_history("alpha", None, newest=0, versions=1, drawn=0, files=9)
    many = inventory.model_history("beta", None, newest=1, versions=1, drawn=1, files=9)

    assert [(row.model_version, row.environment) for row in rows] == [
        (2, "dev"),
        (1, "dev"),
        (1, "staging"),
        (1, "prod"),
    ]
    assert [change.change for change in rows[3].changes] == ["overwritten", "arrived"]
    assert [(row.model_version, len(row.artifacts)) for row in many] == [(3, 2), (1, 1)]
    assert inventory.model_history("gamma", None, newest=9, versions=1, drawn=1, files=1) == []


def test_promotions_are_those_that_reached_the_environment_since(inventory: Inventory) -> None:
    def found(model: str | None, wanted: Filter) -> list[tuple[str, int]]:
        rows = inventory.promotions(model, wanted)
        return [(row.model_name, row.model_version) for row in rows]

    beta = [("beta", 3), ("beta", 2), ("beta", 1)]
    assert found(None, Filter()) == [("alpha", 2), ("alpha", 1), *beta]
    assert found("alpha", Filter()) == [("alpha", 2), ("alpha", 1)]
    assert found(None, Filter(environments=["prod"])) == [("alpha", 1)]
    assert found(None, Filter(environments=["prod"], since=at(9))) == [("alpha", 1)]
    assert found(None, Filter(environments=["prod"], since=at(10))) == []
    assert found("alpha", Filter(environments=["staging", "dev"], since=at(2))) == [("alpha", 2)]


def test_what_was_true_at_a_time_is_known_later(inventory: Inventory) -> None:
    then = Filter(environments=["prod"], as_of=at(8))

    [latest] = inventory.latest_models(then)
    [promoted] = inventory.promotions("alpha", then)
    [version] = inventory.model_version_files("alpha", then)

    assert (latest.comparison, latest.overwrites) == (Comparison.IDENTICAL, 0)
    assert (promoted.prod_vs_staging, promoted.prod_last_upload_timestamp) == ("identical", at(2))
    assert [file.crc32c for file in version.artifacts] == ["AAAAAA=="]
    assert inventory.model_versions("alpha", then)[0].last_upload_timestamp == at(2)
    assert len(inventory.generations("ml-models-prod", "alpha/v1/m", then)) == 1
    assert inventory.latest_models(Filter(environments=["prod"], as_of=at(1))) == []


def test_changes_come_the_newest_first(inventory: Inventory) -> None:
    def found(model: str | None, wanted: Filter = EVERYTHING) -> list[tuple[str, int, str, str]]:
        rows = inventory.changes(model, wanted)
        return [(row.model_name, row.model_version, row.environment, row.change) for row in rows]

    overwritten, arrived = ("alpha", 1, "prod", "overwritten"), ("alpha", 1, "prod", "arrived")
    in_staging = ("alpha", 1, "staging", "arrived")
    in_dev = [("alpha", 2, "dev", "arrived"), ("alpha", 1, "dev", "arrived")]
    beta = [("beta", number, "dev", "arrived") for number in (3, 2, 1)]
    assert found("alpha") == [overwritten, in_dev[0], arrived, in_staging, in_dev[1]]
    assert found(None, Filter(since=at(3))) == [overwritten, *beta, in_dev[0]]
    assert found(None, Filter(environments=["prod"])) == [overwritten, arrived]
    assert found("alpha", Filter(as_of=at(2), limit=1)) == [arrived]
    assert found("gamma") == []


def test_every_generation_of_an_artifact_comes_the_newest_first(inventory: Inventory) -> None:
    rows = inventory.generations("ml-models-prod", "alpha/v1/m")

    assert [(row.generation, row.crc32c) for row in rows] == [
        (1009, "BBBBBB=="),
        (1002, "AAAAAA=="),
    ]


def test_a_name_of_another_kind_is_refused(inventory: Inventory) -> None:
    with pytest.raises(InvalidArtifactPath, match="expected <model>/v<N>/<file>"):
        inventory.generations("ml-models-prod", "alpha/1.0/m")


def test_arguments_are_never_read_as_sql(inventory: Inventory) -> None:
    name = "alpha' OR TRUE -- "

    assert inventory.model_versions(name) == []
    assert inventory.promotions(name) == []
    assert inventory.generations(name, f"{name}/v1/{name}") == []


def test_as_json_rows_are_typed(inventory: Inventory) -> None:
    [first, *_] = json.loads(to_json(inventory.model_version_files("beta", Filter(limit=1))))

    assert first["model_version"] == 3
    assert first["first_upload_timestamp"] == "2026-03-01T12:04:00+00:00"
    assert first["uploaders"] == ["ada"]
    assert first["staging_vs_dev"] is None
    assert first["artifacts"][0]["metadata"] == {"minute": 4}


def asked_of(url: str, monkeypatch: pytest.MonkeyPatch, table: str = "d.models") -> Inventory:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
    environ = {"GCP_PROJECT_ID": PROJECT, "BIGQUERY_EMULATOR_HOST": url}
    return Inventory(connect(Settings.from_environ(environ)), table)


def test_without_views_the_setup_is_the_remedy(
    bigquery_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QueryFailed, match=r"run deploy/setup\.sh") as failure:
        asked_of(bigquery_url, monkeypatch, "nowhere.models").latest_models()

    assert "soufianesys.nowhere" in str(failure.value)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (server.error(403, "accessDenied"), "found Forbidden: .* roles/bigquery.dataViewer"),
        (server.error(400, "invalidQuery"), r"found BadRequest: .* run deploy/setup\.sh"),
        (server.bare_error(418), "found .*418.*: check that this machine reaches BigQuery"),
    ],
)
def test_a_refusal_comes_with_its_remedy(
    answer: server.Answer, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.bigquery_server([answer]) as bigquery_server:
        inventory = asked_of(bigquery_server.url, monkeypatch)

        with pytest.raises(QueryFailed, match=expected):
            inventory.latest_models()

    assert len(bigquery_server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (server.silent, "found .*Timeout"),
        (server.bare_error(503), "found ServiceUnavailable"),
        (server.cut_before_writing, "found ConnectionError"),
    ],
)
def test_a_bigquery_that_does_not_answer_is_reported_in_time(
    answer: server.Answer, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1)
    monkeypatch.setattr(module, "RETRY_SECONDS", 2)
    started = time.monotonic()
    with server.bigquery_server([answer] * 100) as bigquery_server:
        inventory = asked_of(bigquery_server.url, monkeypatch)

        with pytest.raises(QueryFailed, match=f"{expected}.*: check that this machine reaches"):
            inventory.latest_models()

    assert len(bigquery_server.requests) > 1
    assert time.monotonic() - started < 20


class Expired(Credentials):
    """Credentials whose session has ended."""

    def refresh(self, request: object) -> None:  # noqa: ARG002
        raise RefreshError("Reauthentication is needed.")  # type: ignore[no-untyped-call]


def test_expired_credentials_are_reported_with_the_login() -> None:
    expired = Expired()  # type: ignore[no-untyped-call] # google-auth types it in part
    client = bigquery.Client(
        PROJECT, expired, client_options={"api_endpoint": "http://127.0.0.1:1"}
    )

    with pytest.raises(QueryFailed, match=r"Reauth.*: run gcloud auth application-default login"):
        Inventory(client, "d.models").latest_models()


def test_views_that_lack_a_column_are_an_error_that_names_setup(client: bigquery.Client) -> None:
    client.create_dataset("old_views")
    client.query_and_wait(
        "CREATE TABLE FUNCTION old_views.latest_models_at(as_of TIMESTAMP) AS (SELECT 'm' AS"
        " model_name, 'dev' AS environment, CURRENT_TIMESTAMP() AS last_upload_timestamp)"
    )

    with pytest.raises(QueryFailed, match=r"'model_version'.*: run deploy/setup\.sh"):
        Inventory(client, "old_views.models").latest_models()


def test_a_web_page_instead_of_an_answer_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    page: server.Answer = lambda handler, _: handler.send(400, "<html>" * 10_000)  # noqa: E731
    with server.bigquery_server([page]) as bigquery_server:
        inventory = asked_of(bigquery_server.url, monkeypatch)

        with pytest.raises(QueryFailed) as failure:
            inventory.latest_models()

    assert len(str(failure.value)) < 1000


def test_what_is_in_prod_and_not_what_staging_has_is_counted_and_the_newest_named(
    client: bigquery.Client,
) -> None:
    """Also without staging; not what is gone from prod, has no checksum, or differs from dev."""
    make_registry(client, "unlike")
    noon = "2026-03-02T12:00:00Z"
    removed = {"removed_at": noon, "recorded_at": noon, "recorded_by": "deleted"}
    there = [
        written("same/v1/m", "staging", 1),
        written("same/v1/m", "prod", 2),
        written("changed/v2/m", "staging", 1),
        written("changed/v2/m", "prod", 2, crc32c="BBBBBB=="),
        written("unknown/v1/m", "staging", 1),
        written("unknown/v1/m", "prod", 2, crc32c=None),
        written("staging/v1/m", "dev", 1),
        written("staging/v1/m", "staging", 2, crc32c="BBBBBB=="),
        written("gone/v1/m", "prod", 2),
        *(written(f"alone/v{number}/m", "prod", number) for number in range(1, 13)),
    ]
    insert(client, "unlike", there)
    gone = {"gcs_bucket": "ml-models-prod", "gcs_path": "gone/v1/m", "generation": 1002}
    assert not client.insert_rows_json("unlike.removals", [gone | removed])

    found = Inventory(client, "unlike.models").unlike_staging()

    assert [(one.comparison, one.versions) for one in found] == [("different", 1), ("skipped", 12)]
    assert found[0].examples == ["changed/v2"]
    assert found[1].examples == [f"alone/v{number}" for number in range(12, 2, -1)]
