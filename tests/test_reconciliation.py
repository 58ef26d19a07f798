"""How the registry catches up with a bucket: the command line, and the function."""

import functools
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import functions_framework
import pytest
from click.testing import CliRunner, Result
from google.cloud import bigquery

from registry import output
from registry.bucket import Bucket
from registry.cli import main
from registry.errors import QueryFailed
from registry.finding import Difference
from registry.inventory import Inventory
from registry.reconciliation import reconcile
from registry.removal import Removal
from registry.settings import Settings
from registry.table import RegistryTable
from tests import PROJECT, ROOT
from tests.conftest import Terminal, insert, written
from tests.servers.storage import StorageServer, storage_server

Run = Callable[..., Result]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    """Cloud Storage, without buckets."""
    with storage_server() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def run(
    storage: StorageServer, bigquery_url: str, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run the command on buckets of the test's own; returns the result."""
    assert storage
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    monkeypatch.setenv("REGISTRY_TABLE", f"{dataset}.models")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    monkeypatch.setenv("BUCKET_PREFIX", f"b{next(_buckets)}")
    return lambda *words: CliRunner().invoke(main, ["reconcile", *words])


_buckets = itertools.count()


def findings_of(result: Result) -> list[tuple[str, str]]:
    return [(row["difference"], row["gcs_path"]) for row in json.loads(result.stdout)]


def test_the_registry_catches_up_and_then_nothing_differs(
    run: Run, storage: StorageServer, client: bigquery.Client, dataset: str
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    insert(
        client,
        dataset,
        [
            written("m/v1/known", "dev", 0, gcs_bucket=bucket, generation=1),
            written("m/v1/gone", "dev", 0, gcs_bucket=bucket, generation=1),
            written("m/v1/known", "staging", 0, gcs_bucket=bucket.replace("dev", "staging")),
        ],
    )
    storage.put(bucket, "m/v1/known", 1)
    storage.put(bucket, "m/v1/lost", 7, metadata={"uploader": "ada"})
    storage.put(bucket, "m/1.0/typo", 1)
    lost = [
        ("outside the layout", "m/1.0/typo"),
        ("removed", "m/v1/gone"),
        ("unregistered", "m/v1/lost"),
    ]

    dry, real, again = run("dev", "--dry-run"), run("dev"), run("dev", "--dry-run")

    assert [result.exit_code for result in (dry, real, again)] == [1, 0, 0]
    assert findings_of(dry) == findings_of(real) == lost
    assert findings_of(again) == lost[:1]
    assert "1 unregistered, 0 changed, 1 removed, 0 reappeared, 1 outside the layout" in real.stderr
    inventory = Inventory(client, f"{dataset}.models")
    [row] = inventory.generations(bucket, "m/v1/lost")
    assert (row.generation, row.uploader, row.environment) == (7, "ada", "dev")
    [version] = [v for v in inventory.model_version_files("m") if v.environment == "dev"]
    assert {a.file_name: a.removed_at is not None for a in version.artifacts} == {
        "gone": True,
        "known": False,
        "lost": False,
    }


def test_a_removal_while_a_reconciliation_runs_is_not_taken_back(
    storage: StorageServer, client: bigquery.Client, dataset: str
) -> None:
    """It saw the object live, and writes so minutes after the object was deleted."""
    bucket, name = f"b{next(_buckets)}-dev", "seen/v1/f"
    storage.put(bucket, name, 1, timeCreated="2026-03-01T12:00:00Z")
    insert(client, dataset, [written(name, "dev", 0, gcs_bucket=bucket, generation=1)])
    table = f"{dataset}.models"
    settings = Settings(project=PROJECT, table=table, emulated=True)
    hours = itertools.count(5)
    times = [NOON + timedelta(hours=hour) for hour in range(9)]
    removal = functools.partial(
        Removal, bucket=bucket, name=name, generation=1, upload_timestamp=NOON, recorded_by="event"
    )
    registry = RegistryTable(client, table)
    registry.append_removals(removal(removed_at=times[1], recorded_at=times[1]))

    found = [
        finding.difference
        for finding in reconcile(
            Bucket.connect(settings, bucket),
            Inventory(client, table),
            registry,
            clock=lambda: times[next(hours)],
        )
    ]
    [back] = Inventory(client, table).generations(bucket, name)
    removed_at = times[5] + timedelta(minutes=1)
    registry.append_removals(removal(removed_at=removed_at, recorded_at=removed_at))
    [gone] = Inventory(client, table).generations(bucket, name)

    assert found == [Difference.REAPPEARED]
    assert (back.removed_at, gone.removed_at) == (None, removed_at)


def test_options_limit_what_is_found(run: Run, storage: StorageServer) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-prod"
    storage.put(bucket, "a/v1/f", 1, timeCreated="2026-03-01T12:00:00Z")
    storage.put(bucket, "b/v1/f", 1, timeCreated="2026-04-01T12:00:00Z")
    storage.put(bucket, "b/v1/f", 0, timeDeleted="2026-04-01T12:00:00Z")

    def found_with(*words: str) -> list[str]:
        result = run("prod", "staging", "--dry-run", "--format", "csv", *words)
        return [line.split(",")[2] for line in result.stdout.splitlines()[1:]]

    assert found_with() == ["a/v1/f", "b/v1/f"]
    assert found_with("--prefix", "b/") == ["b/v1/f"]
    assert found_with("--since", "2026-03-15") == ["b/v1/f"]
    assert found_with("--all-generations") == ["a/v1/f", "b/v1/f", "b/v1/f"]


def test_findings_are_lines_on_a_terminal(run: Run, storage: StorageServer) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    storage.put(bucket, "x/1/\x1b[2J", 1)
    storage.put(bucket, "x/v1/f", 1)

    outside, unregistered = run("dev", "--dry-run", "--format", "table").stdout.splitlines()

    assert unregistered == f"unregistered       gs://{bucket}/x/v1/f"
    assert outside.startswith(f"outside the layout gs://{bucket}/x/1/\\x1b[2J: expected")
    assert outside.endswith(r"the version '1' lacks its v: write 'x/v1/\x1b[2J'")


def test_progress_is_lines_without_a_terminal_and_alive_on_one(
    run: Run, storage: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "LINE_EVERY", 2)
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    for letter in "abc":
        storage.put(bucket, f"x/v1/{letter}", 1)

    assert f"gs://{bucket}: 2 objects compared" in run("dev", "--dry-run").stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "objects compared\n" not in run("dev", "--dry-run").stderr


def test_a_failure_in_the_middle_exits_2_and_keeps_the_output_complete(
    run: Run, storage: StorageServer
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    for number in range(5):
        storage.put(bucket, f"x/1.0/{number}", 1)
    storage.broken = 1

    result = run("dev")

    assert result.exit_code == 2
    assert "storage.objects.list" in result.stderr
    assert json.loads(result.stdout) == []
    assert run("dev", "--table", "nowhere.models").exit_code == 2


@pytest.mark.usefixtures("run")
def test_the_function_catches_up_and_says_so(
    storage: StorageServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    monkeypatch.setenv("BUCKET", bucket)
    storage.put(bucket, "y/v1/f", 1)
    for number in range(12):
        storage.put(bucket, f"y/1.0/{number:02}", 1)
    app = functions_framework.create_app("reconcile", str(ROOT / "main.py"))  # type: ignore[no-untyped-call]
    http = app.test_client()
    expected = {"bucket": bucket, "unregistered": 1, "changed": 0, "removed": 0, "reappeared": 0}
    expected["outside the layout"] = 12

    first, second = http.post("/"), http.post("/")
    storage.broken = 0
    failed = http.post("/")

    examples = first.json["examples"]
    assert (first.status_code, first.json) == (200, expected | {"examples": examples})
    assert second.json == expected | {"unregistered": 0, "examples": examples[:10]}
    # It names the first of each kind, with what is wrong with them.
    assert examples[0].startswith("outside the layout: expected <model>/v<N>/<file>, found 'y/1.0/")
    assert examples[10:] == ["unregistered: y/v1/f"]
    assert failed.status_code == 503
    assert "storage.objects.list" in failed.json["error"]
    assert http.get("/").status_code == 405
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["severity"] for line in lines] == ["WARNING", "INFO", "ERROR"]
    assert [line.get("outcome") for line in lines] == ["lost", "reconciled", None]
    assert lines[0]["examples"] == examples
    assert lines[0]["message"].startswith(f"reconciled bucket: {bucket}, unregistered: 1")
    assert lines[0]["message"].endswith(". Events were lost, of y/v1/f")


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("asked", ["well", "badly"])
def test_the_function_of_prod_warns_of_what_is_there_and_not_the_same_in_staging(
    asked: str,
    storage: StorageServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What it has corrected before an error is still said: the next run does not find it."""
    bucket = f"{os.environ['BUCKET_PREFIX']}-prod"
    monkeypatch.setenv("BUCKET", bucket)
    storage.put(bucket, f"only-in-prod-{asked}/v1/f", 1)
    if asked == "badly":
        monkeypatch.setattr("registry.queries.UNLIKE_STAGING", "SELECT oops")
    app = functions_framework.create_app("reconcile", str(ROOT / "main.py"))  # type: ignore[no-untyped-call]

    answered = app.test_client().post("/")

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    if asked == "well":
        assert answered.status_code == 200
        assert [line["outcome"] for line in lines] == ["lost", "unlike_staging"]
        assert f"only-in-prod-{asked}/v1" in lines[1]["examples"]["skipped"]
    else:
        assert answered.status_code == 503
        assert [line["severity"] for line in lines] == ["ERROR", "WARNING"]
        assert lines[1]["message"].endswith(f"lost, of only-in-prod-{asked}/v1/f")


def test_a_removed_object_is_recorded_also_if_nothing_else_differs(
    run: Run, client: bigquery.Client, dataset: str
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    insert(client, dataset, [written("z/v1/gone", "dev", 0, gcs_bucket=bucket)])

    assert findings_of(run("dev")) == [("removed", "z/v1/gone")]
    assert findings_of(run("dev")) == []


def test_what_came_back_to_a_table_without_generations_is_there_again(
    run: Run, client: bigquery.Client, dataset: str
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    old = {"gcs_bucket": bucket, "generation": None}
    insert(client, dataset, [written("back/v1/f", "dev", 0, **old)])
    assert findings_of(run("dev")) == [("removed", "back/v1/f")]
    insert(client, dataset, [written("back/v1/f", "dev", 1, **old)])

    sql = f"SELECT removed_at FROM {dataset}.artifacts WHERE gcs_path = 'back/v1/f'"  # noqa: S608
    assert [row.removed_at for row in client.query_and_wait(sql)] == [None]
    assert findings_of(run("dev")) == [("removed", "back/v1/f")]
    assert findings_of(run("dev")) == []


def test_lost_lineage_is_completed_and_compared(
    run: Run, storage: StorageServer, client: bigquery.Client, dataset: str
) -> None:
    """One row is older than the columns, one was written before streaming knew of them."""
    prefix, time = os.environ["BUCKET_PREFIX"], "2026-03-01T12:00:00.123Z"
    rows = [
        written("late/v1/f", name, 0, gcs_bucket=f"{prefix}-{name}", upload_timestamp=time)
        for name in ("dev", "staging")
    ]
    rows[0] |= {"generation": None, "crc32c": None}
    rows[1] |= {"crc32c": None}
    insert(client, dataset, rows)
    for row in rows:
        storage.put(str(row["gcs_bucket"]), "late/v1/f", 1000, timeCreated=time)
    inventory = Inventory(client, f"{dataset}.models")
    [before] = inventory.promotions("late")

    found, again = run("dev", "staging", "--format", "csv"), run("dev", "staging")

    [after] = inventory.promotions("late")
    assert [before.staging_vs_dev, after.staging_vs_dev] == ["unknown", "identical"]
    assert found.stdout.count("changed,") == 2
    assert (
        "its registration lacks the generation, its registration lacks the checksum" in found.stdout
    )
    assert findings_of(again) == []
    [registration] = inventory.generations(f"{prefix}-dev", "late/v1/f")
    assert (registration.generation, registration.crc32c) == (1000, "AAAAAA==")
    assert registration.registered_at.isoformat() == "2026-03-01T12:00:00.123000+00:00"


def test_what_was_set_or_finalized_later_is_registered_once_more(
    run: Run, storage: StorageServer, client: bigquery.Client, dataset: str
) -> None:
    """Metadata has no event of its own; an object that grows keeps its generation."""
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    insert(
        client,
        dataset,
        [
            written("later/v1/set", "dev", 0, gcs_bucket=bucket, uploader=None),
            written("later/v1/grown", "dev", 0, gcs_bucket=bucket, file_size_bytes=5, crc32c=None),
        ],
    )
    time = "2026-03-01T12:00:00Z"
    storage.put(bucket, "later/v1/set", 1000, timeCreated=time, metadata={"uploader": "ada"})
    growing = storage.put(bucket, "later/v1/grown", 1000, timeCreated=time, crc32c=None, size="6")
    storage.put(bucket, "later/v1/new", 1000, crc32c=None)
    inventory = Inventory(client, f"{dataset}.models")

    while_it_grows = findings_of(run("dev"))
    growing |= {"crc32c": "BBBBBB==", "size": "7000000000"}
    then, again = findings_of(run("dev")), findings_of(run("dev"))

    assert while_it_grows == [("changed", "later/v1/set")]
    assert then == [("changed", "later/v1/grown")]
    assert again == []
    [row] = inventory.generations(bucket, "later/v1/set")
    assert (row.uploader, row.metadata) == ("ada", {"uploader": "ada"})
    [row] = inventory.generations(bucket, "later/v1/grown")
    assert (row.file_size_bytes, row.crc32c) == (7_000_000_000, "BBBBBB==")
    assert row.registered_at.isoformat() == "2026-03-01T12:00:00+00:00"


def test_a_checksum_under_a_customer_managed_key_is_asked_for_once(
    run: Run, storage: StorageServer, client: bigquery.Client, dataset: str
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    insert(client, dataset, [written("key/v1/known", "dev", 0, gcs_bucket=bucket)])
    for name in ("known", "new", "secret"):
        path = f"key/v1/{name}"
        storage.put(bucket, path, 1000, timeCreated="2026-03-01T12:00:00Z", crc32c=None)
        storage.objects[bucket][-1]["kmsKeyName"] = "k"
        storage.unlisted[path] = {"crc32c": None if name == "secret" else "BBBBBB=="}

    first, second = findings_of(run("dev")), findings_of(run("dev"))

    assert first == [("unregistered", "key/v1/new"), ("unregistered", "key/v1/secret")]
    assert second == []
    assert storage.described == ["key/v1/new", "key/v1/secret", "key/v1/secret"]
    [row] = Inventory(client, f"{dataset}.models").generations(bucket, "key/v1/new")
    assert row.crc32c == "BBBBBB=="


def test_what_a_list_lacked_once_is_there_again(
    run: Run, storage: StorageServer, client: bigquery.Client, dataset: str
) -> None:
    """As when a folder is renamed and renamed back: the generation stays the same."""
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    insert(client, dataset, [written("folder/v1/f", "dev", 0, gcs_bucket=bucket)])
    listed = {"timeCreated": "2026-03-01T12:00:00Z", "metadata": {"uploader": "ada"}}
    found = []

    for there in (False, True, True, False, True):
        storage.objects[bucket] = []
        if there:
            storage.put(bucket, "folder/v1/f", 1000, **listed)
        found.append([kind for kind, _ in findings_of(run("dev"))])

    assert found == [["removed"], ["changed", "reappeared"], [], ["removed"], ["reappeared"]]
    [version] = Inventory(client, f"{dataset}.models").model_versions("folder")
    assert (version.files, version.removed_at) == (1, None)


def test_a_removal_that_the_bucket_remembers_is_at_its_own_time(
    run: Run, storage: StorageServer, client: bigquery.Client, dataset: str
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    storage.put(bucket, "kept/v1/f", 1, timeDeleted="2026-03-02T12:00:00Z")

    found = findings_of(run("dev", "--all-generations"))

    assert found == [("unregistered", "kept/v1/f"), ("removed", "kept/v1/f")]
    [version] = Inventory(client, f"{dataset}.models").model_versions("kept")
    assert version.removed_at == datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_an_impossible_bucket_name_is_one_line(run: Run) -> None:
    result = run("dev", "--bucket-prefix=")

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: expected a bucket's name, found '-dev'")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("missing", ["STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"])
def test_one_real_and_one_emulated_are_never_compared(
    run: Run, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the one would be taken for gone from the other."""
    monkeypatch.delenv(missing)
    monkeypatch.setattr("registry.commands.reconcile.connect", lambda _: None)

    result = run("dev")

    assert result.exit_code == 2
    assert "set both for the local system, unset both for Google Cloud" in result.stderr


def test_a_history_that_takes_too_long_is_an_error(
    client: bigquery.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def too_late(*_: object, wait_timeout: float, **__: object) -> None:
        waited.append(wait_timeout)
        raise TimeoutError

    monkeypatch.setattr(client, "query_and_wait", too_late)
    with pytest.raises(QueryFailed, match="within 900 s, found no answer: ask for less"):
        list(Inventory(client, "d.t").registered("b-dev"))

    assert waited == [900]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(("form", "progress"), [("table", 1), ("csv", 0)])
def test_on_a_terminal_a_finding_is_a_line_of_its_own(
    form: str, progress: int, storage: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put(f"{os.environ['BUCKET_PREFIX']}-dev", "t/1.0/f", 1)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")

    main(["reconcile", "dev", "--format", form], standalone_mode=False)

    shown = terminal.getvalue()
    assert min(shown.count("objects compared"), 1) == progress
    on_the_line = shown.partition("outside the layout")[0].rpartition("\x1b[2K")[2]
    assert "objects compared" not in on_the_line
