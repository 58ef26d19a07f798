"""Bucket against registry: the comparison, which is pure, and how the registry catches up."""

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
from hypothesis import given
from hypothesis import strategies as st

from registry import cli
from registry.cli import main
from registry.errors import OutOfOrder, QueryFailed
from registry.event import StorageObject
from registry.inventory import Inventory
from registry.reconciliation import Listed, Registered, compare
from tests.conftest import PROJECT, ROOT, insert, written
from tests.storage_server import StorageServer, storage_server
from tests.test_cli import Terminal

Run = Callable[..., Result]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(generation: int) -> datetime:
    """Tell the time of a generation, to the millisecond, as Cloud Storage does."""
    return NOON + timedelta(milliseconds=generation)


def listed(name: str, generation: int = 1, *, live: bool = True) -> Listed:
    stored = StorageObject(
        bucket="b-dev",
        name=name,
        generation=generation,
        size=1,
        time_created=at(generation),
        crc32c="AAAAAA==",
        md5_hash=None,
        metadata={},
    )
    return Listed(stored=stored, live=live)


def registered(name: str, generation: int | None = 1, **facts: object) -> Registered:
    facts = {"upload_timestamp": at(generation or 1), "registered_at": NOON} | facts
    return Registered(name=name, generation=generation, **facts)  # type: ignore[arg-type]


def found(there: list[Listed], known: list[Registered]) -> list[tuple[str, str, int | None]]:
    return [
        (finding.difference.value, finding.name, finding.generation)
        for finding in compare(there, known)
    ]


A, B, C = "m/v1/a", "m/v1/b", "m/v1/c"


@pytest.mark.parametrize(
    ("there", "known", "expected"),
    [
        ([], [], []),
        ([listed(A)], [registered(A)], []),
        ([listed(A)], [], [("unregistered", A, 1)]),
        ([], [registered(A)], [("vanished", A, 1)]),
        (
            [listed(A), listed(C)],
            [registered(B)],
            [("unregistered", A, 1), ("vanished", B, 1), ("unregistered", C, 1)],
        ),
        # Overwritten, and the event of the second write was lost: the first has not vanished.
        ([listed(A, 2)], [registered(A, 1)], [("unregistered", A, 2)]),
        # Both are registered, one is there.
        ([listed(A, 2)], [registered(A, 1), registered(A, 2)], []),
        # Delivered twice.
        ([listed(A)], [registered(A), registered(A)], []),
        # The newest is the one that has vanished, whatever order the rows are in.
        ([], [registered(A, 2), registered(A, 1)], [("vanished", A, 2)]),
        ([], [registered(A, vanished=True)], []),
        # It vanished, came back, and vanished again.
        ([], [registered(A, 1, vanished=True), registered(A, 2)], [("vanished", A, 2)]),
        # What is kept of an object that was deleted is not the object.
        ([listed(A, live=False)], [registered(A)], [("vanished", A, 1)]),
        ([listed(A, 1, live=False), listed(A, 2)], [registered(A, 2)], [("unregistered", A, 1)]),
        # Registered only now, and gone all the same.
        ([listed(A, 5, live=False)], [], [("unregistered", A, 5), ("vanished", A, 5)]),
        (
            [listed(A, 2, live=False)],
            [registered(A, 1)],
            [("unregistered", A, 2), ("vanished", A, 2)],
        ),
        ([listed("a", live=False)], [], [("outside the layout", "a", 1)]),
        # A row from before the generations is recognized by the time of its upload.
        ([listed(A, 7)], [registered(A, None, upload_timestamp=at(7))], []),
        ([listed(A, 7)], [registered(A, None, upload_timestamp=at(6))], [("unregistered", A, 7)]),
        ([listed(A, 7)], [registered(A, None, upload_timestamp=None)], [("unregistered", A, 7)]),
        ([], [registered(A, None, upload_timestamp=None)], [("vanished", A, None)]),
    ],
)
def test_what_differs_is_found(
    there: list[Listed], known: list[Registered], expected: list[tuple[str, str, int | None]]
) -> None:
    assert found(there, known) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m/1.0/a", "outside the layout"),
        ("a", "outside the layout"),
        ("m/v9223372036854775808/a", "outside the layout"),
        ("m/v01/a", "unregistered"),
        ("m/v1/", None),  # a folder marker
        ("gcloud/tmp/parallel_composite_uploads/x", None),  # an upload that goes on
    ],
)
def test_what_is_no_artifact_is_told_with_the_reason(name: str, expected: str | None) -> None:
    findings = list(compare([listed(name)], []))

    assert [finding.difference.value for finding in findings] == ([expected] if expected else [])
    for finding in findings:
        assert (finding.reason is None) == (expected == "unregistered")
        assert finding.reason is None or finding.reason.startswith("expected <model>/v<N>/<file>")


def test_names_that_do_not_come_in_order_end_it() -> None:
    with pytest.raises(OutOfOrder, match="'m/v1/a' after 'm/v1/b'"):
        list(compare([listed(B), listed(A)], []))


SIDES = st.dictionaries(st.sampled_from([f"m/v1/{n}" for n in "abcdé😀\uffff"]), st.integers(1, 3))


@given(there=SIDES, known=SIDES)
def test_it_finds_what_sets_would_find(there: dict[str, int], known: dict[str, int]) -> None:
    in_bucket, in_registry = set(there.items()), set(known.items())

    assert sorted(
        found(
            [listed(name, generation) for name, generation in sorted(in_bucket)],
            [registered(name, generation) for name, generation in sorted(in_registry)],
        )
    ) == sorted(
        [("unregistered", name, generation) for name, generation in in_bucket - in_registry]
        + [("vanished", name, known[name]) for name in known.keys() - there.keys()]
    )


def test_no_more_than_one_name_is_held_at_a_time() -> None:
    """Both streams are read in step, so memory does not grow with them."""
    read = {"there": 0, "known": 0}

    def stream(side: str) -> Iterator[str]:
        for number in range(1000):
            read[side] += 1
            yield f"m/v1/{number:04}"

    findings = compare(
        (listed(name, 2) for name in stream("there")),
        (registered(name) for name in stream("known")),
    )
    for number, _ in enumerate(itertools.islice(findings, 500)):
        assert max(read.values()) <= number + 3


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
    """Run the command on buckets of the test's own; gives the result."""
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
        ("vanished", "m/v1/gone"),
        ("unregistered", "m/v1/lost"),
    ]

    dry, real, again = run("dev", "--dry-run"), run("dev"), run("dev", "--dry-run")

    assert [result.exit_code for result in (dry, real, again)] == [1, 0, 0]
    assert findings_of(dry) == findings_of(real) == lost
    assert findings_of(again) == lost[:1]
    assert "1 unregistered, 1 vanished, 1 outside the layout" in real.stderr
    inventory = Inventory(client, f"{dataset}.models")
    [row] = inventory.generations(bucket, "m/v1/lost")
    assert (row.generation, row.uploader, row.environment) == (7, "ada", "dev")
    [version] = [v for v in inventory.model_version_files("m") if v.environment == "dev"]
    assert {a.file_name: a.gone_since is not None for a in version.artifacts} == {
        "gone": True,
        "known": False,
        "lost": False,
    }


def test_what_is_asked_for_bounds_what_is_found(run: Run, storage: StorageServer) -> None:
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
    storage.put(bucket, "x/1.0/\x1b[2J", 1)
    storage.put(bucket, "x/v1/f", 1)

    outside, unregistered = run("dev", "--dry-run", "--format", "table").stdout.splitlines()

    assert unregistered == f"unregistered       gs://{bucket}/x/v1/f"
    assert outside.startswith(f"outside the layout gs://{bucket}/x/1.0/\\x1b[2J: expected")


def test_progress_is_lines_without_a_terminal_and_alive_on_one(
    run: Run, storage: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "LINE_EVERY", 2)
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    for letter in "abc":
        storage.put(bucket, f"x/v1/{letter}", 1)

    assert f"gs://{bucket}: 2 objects compared" in run("dev", "--dry-run").stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "objects compared\n" not in run("dev", "--dry-run").stderr


def test_what_cannot_be_told_has_exit_code_2_and_what_came_before_is_whole(
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
    expected = {"bucket": bucket, "unregistered": 1, "vanished": 0, "outside the layout": 12}

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
    assert [line["severity"] for line in lines] == ["INFO", "INFO", "ERROR"]
    assert lines[0]["examples"] == examples
    assert lines[0]["message"].startswith(f"reconciled bucket: {bucket}, unregistered: 1")


def test_what_has_vanished_is_recorded_also_when_nothing_else_differs(
    run: Run, client: bigquery.Client, dataset: str
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    insert(client, dataset, [written("z/v1/gone", "dev", 0, gcs_bucket=bucket)])

    assert findings_of(run("dev")) == [("vanished", "z/v1/gone")]
    assert findings_of(run("dev")) == []


def test_what_came_back_to_a_table_without_generations_is_there_again(
    run: Run, client: bigquery.Client, dataset: str
) -> None:
    bucket = f"{os.environ['BUCKET_PREFIX']}-dev"
    old = {"gcs_bucket": bucket, "generation": None}
    insert(client, dataset, [written("back/v1/f", "dev", 0, **old)])
    assert findings_of(run("dev")) == [("vanished", "back/v1/f")]
    insert(client, dataset, [written("back/v1/f", "dev", 1, **old)])

    sql = f"SELECT gone_since FROM {dataset}.artifacts WHERE gcs_path = 'back/v1/f'"  # noqa: S608
    assert [row.gone_since for row in client.query_and_wait(sql)] == [None]
    assert findings_of(run("dev")) == [("vanished", "back/v1/f")]
    assert findings_of(run("dev")) == []


def test_a_bucket_that_cannot_be_is_told_in_one_line(run: Run) -> None:
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
    monkeypatch.setattr("registry.cli.connect", lambda _: None)

    result = run("dev")

    assert result.exit_code == 2
    assert "set both for the local system, unset both for Google Cloud" in result.stderr


def test_a_history_that_takes_too_long_is_told_as_such(
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
