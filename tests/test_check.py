"""`check`: whether an upload is registered, and if not, why not and what to do."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.cloud import bigquery

from registry.bucket import Bucket
from registry.check import CheckRow, Status, check, check_folder
from registry.cli import main
from registry.event import StorageObject
from registry.rows import Generation
from tests import PROJECT
from tests.conftest import insert, written
from tests.servers.storage import StorageServer, storage_server

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAME = "churn/v8/m.pkl"
RECONCILE = "run model-registry reconcile dev --prefix churn/"


def stored(generation: int = 2, **facts: Any) -> StorageObject:  # noqa: ANN401 - any facts
    """Make an object of the bucket."""
    given: dict[str, Any] = {
        "bucket": "ml-models-dev",
        "name": NAME,
        "generation": generation,
        "size": 10,
        "time_created": NOON,
        "crc32c": "AAAAAA==",
        "md5_hash": None,
        "metadata": {},
    }
    return StorageObject(**{**given, **facts})


def known(generation: int | None = 2, **columns: Any) -> Generation:  # noqa: ANN401 - any columns
    """Make a row of the registry."""
    empty: dict[str, Any] = dict.fromkeys(Generation.__dataclass_fields__)
    given: dict[str, Any] = {
        "environment": "dev",
        "gcs_path": NAME,
        "file_size_bytes": 10,
        "crc32c": "AAAAAA==",
        "generation": generation,
        "upload_timestamp": NOON,
        "registered_at": NOON + timedelta(seconds=2),
    }
    return Generation(**{**empty, **given, **columns})


@pytest.mark.parametrize(
    ("live", "rows", "status", "reason"),
    [
        (
            stored(),
            [known(uploader="ada")],
            Status.REGISTERED,
            (
                "churn v8 m.pkl in dev, uploaded 2026-03-01 12:00:00 UTC by ada,"
                " registered 2026-03-01 12:00:02 UTC, generation 2"
            ),
        ),
        (
            stored(),
            [],
            Status.ON_ITS_WAY,
            "its event is on the way, usually for seconds: ask again",
        ),
        (
            stored(time_created=NOON - timedelta(hours=1)),
            [],
            Status.UNREGISTERED,
            f"its event was lost, or came before the function: {RECONCILE}",
        ),
        (
            stored(3),
            [known()],
            Status.ON_ITS_WAY,
            (
                "it was overwritten, the registry has 2; its event is on the way, usually for"
                " seconds:"
                " ask again"
            ),
        ),
        (
            stored(is_growing=True, crc32c=None),
            [],
            Status.GROWING,
            "somebody still appends to it: it is registered once it is finalized",
        ),
        (
            stored(crc32c="BBBBBB==", metadata={"uploader": "ada"}),
            [known()],
            Status.CHANGED,
            (
                "the bucket has something else: crc32c from AAAAAA== to BBBBBB==, metadata"
                " 'uploader'"
                f" from None to 'ada': {RECONCILE}"
            ),
        ),
        (
            stored(),
            [known(removed_at=NOON)],
            Status.CHANGED,
            f"the bucket has something else: reappeared: {RECONCILE}",
        ),
        (
            None,
            [known(removed_at=NOON)],
            Status.REMOVED,
            "it was removed at 2026-03-01 12:00:00 UTC: upload it again if it is needed",
        ),
        (
            None,
            [known()],
            Status.REMOVED,
            f"the registry has it, the bucket does not; if that stays so, {RECONCILE}",
        ),
        (
            None,
            [],
            Status.NOT_THERE,
            "neither the bucket nor the registry has it: check the name, or upload it",
        ),
    ],
)
def test_an_upload_has_a_status_and_a_reason(
    live: StorageObject | None, rows: list[Generation], status: Status, reason: str
) -> None:
    found = check("ml-models-dev", NAME, live, rows, NOON + timedelta(minutes=1), asked=True)

    assert (found.status, found.reason) == (status, reason)
    assert (found.in_bucket, found.model_version) == (live is not None, 8)
    assert found.generation == (rows[0].generation if rows else None)


@pytest.mark.parametrize(
    ("rows", "status"),
    [([known()], "registered"), ([], "not registered"), ([known(removed_at=NOON)], "removed")],
)
def test_without_the_bucket_the_registry_answers(rows: list[Generation], status: str) -> None:
    found = check("ml-models-dev", NAME, None, rows, NOON, asked=False)

    assert (found.status, found.in_bucket) == (status, None)


@pytest.mark.parametrize(
    ("bucket", "name", "reason"),
    [
        ("b-dev", "churn/8/m.pkl", r"the version '8' lacks its v: write 'churn/v8/m.pkl'"),
        ("b-test", NAME, "expected a bucket whose name ends in one of -dev, -staging, -prod"),
        ("b-dev", "churn/v8/", "a folder marker"),
    ],
)
def test_a_name_outside_the_layout_has_its_reason(bucket: str, name: str, reason: str) -> None:
    there = check(bucket, name, stored(size=0), [], NOON, asked=True)
    absent = check(bucket, name, None, [], NOON, asked=True)
    unasked = check(bucket, name, None, [], NOON, asked=False)

    assert {there.status, absent.status, unasked.status} == {Status.OUTSIDE_THE_LAYOUT}
    assert reason in unasked.reason
    assert there.reason == f"{unasked.reason}; the object is in the bucket"
    assert absent.reason == f"{unasked.reason}; there is no such object"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("churn/8/", "the version '8' lacks its v: write 'churn/v8/model.pkl'"),
        ("churn/", "there is no version: write a name such as 'churn/v1/model.pkl'"),
        ("team/churn/v8/", "is part 3: write a name such as 'team-churn/v8/model.pkl'"),
    ],
)
def test_of_a_folder_the_reason_is_that_of_its_files(name: str, reason: str) -> None:
    found = check("b-dev", name, None, [], NOON, asked=True)

    assert found.status == Status.OUTSIDE_THE_LAYOUT
    assert found.reason.startswith("no file directly in this folder is registered: expected <model")
    assert found.reason.endswith(reason)


def test_the_remedy_names_another_prefix_and_quotes_the_model() -> None:
    found = check(
        "acme-dev", "a b/v1/m", stored(name="a b/v1/m"), [], datetime.now(UTC), asked=True
    )

    assert found.reason.endswith(
        "run model-registry reconcile dev --prefix 'a b/' --bucket-prefix acme"
    )


def test_each_file_of_a_folder_is_checked() -> None:
    def of(name: str, **columns: Any) -> Generation:  # noqa: ANN401 - any columns
        return known(gcs_path=f"churn/v8/{name}", **columns)

    live = [stored(name=f"churn/v8/{name}") for name in ("a", "b")]
    marker = stored(name="churn/v8/", size=0)

    def found(listed: list[StorageObject] | None) -> list[tuple[str, str]]:
        rows = check_folder(
            "ml-models-dev", listed, [of("a"), of("c"), of("d", removed_at=NOON)], NOON
        )
        return [(row.gcs_path[-1], row.status) for row in rows]

    assert found([marker, *live]) == [("a", "registered"), ("b", "on its way"), ("c", "removed")]
    assert found(None) == [("a", "registered"), ("c", "registered")]


@pytest.fixture(scope="module")
def server() -> Iterator[StorageServer]:
    """Cloud Storage, without buckets."""
    with storage_server() as running:
        yield running


@pytest.fixture
def storage(server: StorageServer, monkeypatch: pytest.MonkeyPatch) -> StorageServer:
    """The same, which answers."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    server.broken = None
    server.asked.clear()
    return server


@pytest.fixture(scope="module")
def registered(server: StorageServer, client: bigquery.Client, dataset: str) -> str:
    """A model in a bucket and in a table; returns the table's name."""
    noon = {"timeCreated": "2026-03-01T12:00:00Z"}
    for name, number in itertools.product("ab", range(5)):
        server.put("ml-models-dev", f"churn/v8/{name}{number}", 1000, **noon)
    server.put("ml-models-dev", "churn/8/m.pkl", 1000, **noon)
    for name in ("churn/v9/a", "churn/v9/run#12", "churn/v10/a"):
        server.put("ml-models-prod", name, 1000, **noon)
    names = [f"churn/v8/{name}{number}" for name, number in itertools.product("ab", range(5))]
    insert(client, dataset, [written(name, "dev", 0) for name in names[:-1]])
    return f"{dataset}.models"


@pytest.fixture
def run(
    storage: StorageServer, registered: str, bigquery_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run the command; returns the result."""
    assert storage
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    monkeypatch.setenv("REGISTRY_TABLE", registered)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    return lambda *words: CliRunner().invoke(main, ["check", *words])


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (["gs://ml-models-dev/churn/v8/a0"], 0, "registered"),
        (["gs://ml-models-dev/churn/v8/a0#1000"], 0, "registered"),
        (["churn/v8/a0"], 0, "registered"),
        (["churn/v8/b4"], 1, "not registered"),
        (["churn/v8/a"], 1, "not there"),
        (["churn/v9/a", "-e", "prod"], 1, "not registered"),
        (["churn/8/m.pkl"], 1, "outside the layout"),
        (["churn/8/"], 1, "outside the layout"),
        (["churn/8"], 1, "outside the layout"),
        (["churn/v9/run#12", "-e", "prod"], 1, "not registered"),  # its name, no generation
        (["churn/v9/run#13", "-e", "prod"], 1, "not there"),
        (["churn/v10", "-e", "prod"], 1, "not registered"),
        (["churn/v8/a0", "--bucket-prefix", "acme"], 1, "not there"),
    ],
)
def test_the_exit_code_is_the_answer(
    run: Callable[..., Result], words: list[str], code: int, status: str
) -> None:
    result = run(*words)

    [row] = json.loads(result.stdout)
    assert (result.exit_code, row["status"], result.stderr) == (code, status, "")
    assert set(row) == set(CheckRow.__dataclass_fields__)


def test_of_a_folder_only_what_is_not_registered_is_a_line(run: Callable[..., Result]) -> None:
    table = run("gs://ml-models-dev/churn/v8/", "--format", "table")
    rows = run("gs://ml-models-dev/churn/v8/", "--format", "csv").stdout.splitlines()
    several, one = run("churn/v8/a", "--format", "json"), run("churn/v8/a0", "--format", "table")
    empty = run("churn/v7/")

    assert table.exit_code == 1
    assert table.stdout.startswith("not registered     gs://ml-models-dev/churn/v8/b4: its event")
    assert table.stderr == "9 of 10 files are registered\n"
    assert len(rows) == 1 + 10
    assert several.exit_code == 1
    assert one.stdout.startswith(
        "registered         gs://ml-models-dev/churn/v8/a0: churn v8 a0 in"
    )
    assert (empty.exit_code, empty.stdout) == (1, "[]\n")
    assert empty.stderr == "Error: expected files in gs://ml-models-dev/churn/v7/, found none\n"


def test_without_the_bucket_the_registry_answers_and_that_is_said(
    run: Callable[..., Result], storage: StorageServer
) -> None:
    storage.broken = 0
    known_there, unknown = run("churn/v8/a0"), run("churn/v8/b4")

    assert [known_there.exit_code, unknown.exit_code] == [2, 1]
    assert json.loads(known_there.stdout)[0]["in_bucket"] is None
    [line] = known_there.stderr.splitlines()
    assert line.startswith("The bucket could not be asked: expected the list of gs://ml-models-dev")
    assert "you need storage.objects.list" in line


def test_who_waits_for_the_bucket_reads_that_we_go_on_trying(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def objects(*_: object) -> Iterator[StorageObject]:
        time.sleep(0.5)
        yield stored()

    monkeypatch.setattr(Bucket, "objects", objects)
    monkeypatch.setattr("registry.output.PATIENCE_SECONDS", 0.1)

    assert "Cloud Storage has not answered yet: still trying\n" in run("churn/v8/a0").stderr


@pytest.mark.parametrize("url", ["gs://", "gs://b", "gs://b/"])
def test_an_address_without_a_name_is_refused(run: Callable[..., Result], url: str) -> None:
    result = run(url)

    assert result.exit_code == 2
    assert "expected gs://<bucket>/<path>" in result.stderr
