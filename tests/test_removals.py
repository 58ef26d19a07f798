"""What is deleted, overwritten, moved or restored with real clients ends right in the registry."""

import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import requests
from google.cloud import bigquery
from google.cloud.storage import Bucket

from tests.processes import wait_until
from tests.servers.local import Local

needs_gcloud = pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
needs_gsutil = pytest.mark.skipif(not shutil.which("gsutil"), reason="gsutil is not installed")

type Generations = dict[tuple[str, int], bool]
Ended = Callable[..., None]


@pytest.fixture
def prod(system: Local) -> Bucket:
    """The bucket of prod."""
    return system.storage.bucket("ml-models-prod")


def registered(system: Local, bucket: str, prefix: str) -> Generations:
    """Return which generations are registered, and whether each is still there."""
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("bucket", "STRING", bucket),
            bigquery.ScalarQueryParameter("prefix", "STRING", prefix),
        ]
    )
    query = "SELECT gcs_path, generation, removed_at IS NULL FROM ml_registry.registrations"
    query += " WHERE gcs_bucket = @bucket AND STARTS_WITH(gcs_path, @prefix)"
    rows = system.bigquery.query_and_wait(query, job_config=config)
    return {(name, generation): is_there for name, generation, is_there in rows}


@pytest.fixture
def ends_right(system: Local) -> Ended:
    """Wait until the registry knows of a bucket's objects what the bucket does, and no more."""

    def wait(bucket: Bucket, prefix: str, *, live: int, removed: int) -> None:
        def right() -> bool:
            objects = list(system.storage.list_blobs(bucket, prefix=prefix))
            known = registered(system, bucket.name, prefix)
            there = {each for each, is_there in known.items() if is_there}
            return (
                there == {(blob.name, blob.generation) for blob in objects}
                and len(there) == live
                and len(known) == live + removed
            )

        wait_until(right)

    return wait


def write(bucket: Bucket, name: str, content: bytes = b"a model") -> int:
    """Write an object; return its generation."""
    blob = bucket.blob(name)
    blob.upload_from_string(content)
    generation: int = blob.generation
    return generation


def versions(system: Local, model: str) -> list[dict[str, object]]:
    """Return what the command line says of a model that has something somewhere."""
    rows: list[dict[str, object]] = json.loads(
        system.run(system.python, "-m", "registry", "models")
    )
    return [row for row in rows if row["model_name"] == model]


@needs_gcloud
def test_a_deletion_with_gcloud_is_seen_within_two_seconds(system: Local, prod: Bucket) -> None:
    """On the page, and on the command line. It has three tries: other tests slow this machine."""
    path = "seen/v1/model.pkl"

    def on_the_page() -> bool:
        rows = requests.get(f"{system.inventory}?format=json", timeout=60).json()
        return any(row["model_name"] == "seen" for row in rows)

    for attempt in range(3):
        write(prod, path)
        wait_until(on_the_page)
        system.run("gcloud", "storage", "rm", f"gs://ml-models-prod/{path}")
        deleted = time.monotonic()
        wait_until(lambda: not on_the_page())
        if time.monotonic() - deleted < 2 or attempt == 2:
            break

    assert time.monotonic() - deleted < 2
    assert versions(system, "seen") == []


@needs_gcloud
def test_generations_are_overwritten_deleted_and_copied_back(
    system: Local, prod: Bucket, ends_right: Ended
) -> None:
    path = "generations/v1/model.pkl"
    url = f"gs://ml-models-prod/{path}"
    first = write(prod, path, b"1")
    second = write(prod, path, b"2")
    ends_right(prod, path, live=1, removed=1)

    prod.blob(path).delete()
    listed = system.run("gcloud", "storage", "ls", "-a", url)
    assert listed.split() == [f"{url}#{first}", f"{url}#{second}"]
    ends_right(prod, path, live=0, removed=2)

    system.run("gcloud", "storage", "cp", f"{url}#{first}", url)
    ends_right(prod, path, live=1, removed=2)
    assert prod.blob(path).download_as_bytes() == b"1"

    system.run("gcloud", "storage", "rm", f"{url}#{second}")  # which was removed already
    assert first in {blob.generation for blob in system.storage.list_blobs(prod, versions=True)}
    ends_right(prod, path, live=1, removed=2)

    live = prod.get_blob(path).generation
    system.run("gcloud", "storage", "rm", f"{url}#{live}")  # for good
    ends_right(prod, path, live=0, removed=3)
    system.run("gcloud", "storage", "restore", f"{url}#{live}")  # from soft delete
    ends_right(prod, path, live=1, removed=3)


@needs_gcloud
def test_a_model_that_is_moved_into_place_and_synced_is_identical(
    system: Local, prod: Bucket, ends_right: Ended
) -> None:
    """Some frameworks write parts to a folder of their own, and move them when all are there."""
    dev, staging = (system.storage.bucket(f"ml-models-{name}") for name in ("dev", "staging"))
    for part in ("part-0", "part-1"):
        write(dev, f"moved/v1/_temp/{part}", part.encode())
    system.run(
        "gcloud",
        "storage",
        "mv",
        "gs://ml-models-dev/moved/v1/_temp/*",
        "gs://ml-models-dev/moved/v1/",
    )
    ends_right(dev, "moved/", live=2, removed=2)

    write(staging, "moved/v1/part-0", b"older bytes")
    write(prod, "moved/v1/left-over")
    for source, target in (("dev", "staging"), ("staging", "prod")):
        addresses = [f"gs://ml-models-{name}/moved" for name in (source, target)]
        system.run(
            *("gcloud", "storage", "rsync", "--recursive"),
            *("--delete-unmatched-destination-objects", "--checksums-only", *addresses),
        )
    ends_right(staging, "moved/", live=2, removed=1)
    ends_right(prod, "moved/", live=2, removed=1)

    rows = {row["environment"]: row for row in versions(system, "moved")}
    assert (rows["staging"]["staging_vs_dev"], rows["prod"]["prod_vs_staging"]) == (
        "identical",
        "identical",
    )


@needs_gcloud
def test_what_verify_removes_is_no_alert_for_ever(
    system: Local, prod: Bucket, ends_right: Ended
) -> None:
    """As deploy/verify.sh does it: uploaded to prod alone, and deleted with all its versions."""
    path = "registry-check/v0/1764000000-7"
    write(prod, path)
    ends_right(prod, path, live=1, removed=0)

    system.run("gcloud", "storage", "rm", f"gs://ml-models-prod/{path}", "--all-versions")

    ends_right(prod, path, live=0, removed=1)
    assert versions(system, "registry-check") == []
    wait_until(lambda: "registry-check" not in requests.get(system.inventory, timeout=60).text)


@needs_gsutil
def test_gsutil_deletes(system: Local, prod: Bucket, ends_right: Ended) -> None:
    write(prod, "gsutil-rm/v1/model.pkl")
    write(prod, "gsutil-rm/v2/model.pkl")

    system.run("gsutil", "rm", "gs://ml-models-prod/gsutil-rm/v1/**")

    ends_right(prod, "gsutil-rm/", live=1, removed=1)


def test_the_python_client_deletes_moves_and_restores(prod: Bucket, ends_right: Ended) -> None:
    path = "python-rm/v1/model.pkl"
    generation = write(prod, path)
    prod.blob(path, generation=generation).delete()
    ends_right(prod, path, live=0, removed=1)

    prod.restore_blob(path, generation=generation)
    ends_right(prod, path, live=1, removed=1)

    prod.move_blob(prod.blob(path), "python-rm/v2/model.pkl")
    ends_right(prod, "python-rm/", live=1, removed=2)

    write(prod, path)
    with prod.client.batch():
        prod.delete_blobs([path, "python-rm/v2/model.pkl"])
    ends_right(prod, "python-rm/", live=0, removed=4)


def test_a_bucket_that_is_not_versioned_ends_right_too(system: Local, ends_right: Ended) -> None:
    dev = system.storage.bucket("ml-models-dev")
    dev.versioning_enabled = False
    dev.patch()
    try:
        for name in ("overwritten", "overwritten", "deleted"):
            write(dev, f"unversioned/v1/{name}")
        dev.blob("unversioned/v1/deleted").delete()
    finally:
        dev.versioning_enabled = True
        dev.patch()

    ends_right(dev, "unversioned/", live=1, removed=2)
    assert len(list(system.storage.list_blobs(dev, prefix="unversioned/", versions=True))) == 1


def test_what_a_lifecycle_rule_deletes_is_removed(
    system: Local, prod: Bucket, ends_right: Ended
) -> None:
    """
    First the live object, later the generation that was kept.

    The local Cloud Storage has no such rules, so the events are posted as Cloud Storage sends them.
    """
    created, deleted = (
        datetime(2026, month, 1, tzinfo=UTC).isoformat().replace("+00:00", "Z") for month in (1, 4)
    )
    body = {
        "bucket": prod.name,
        "name": "lifecycle/v1/model.pkl",
        "generation": "1767225600000000",
        "metageneration": "1",
        "size": "7",
        "crc32c": "AAAAAA==",
        "timeCreated": created,
    }
    for number, (kind, now, more) in enumerate(
        [
            ("finalized", created, {}),
            ("archived", deleted, {"timeDeleted": deleted}),
            ("deleted", "2026-05-01T00:00:00Z", {"timeDeleted": deleted}),
        ]
    ):
        headers = {
            "ce-specversion": "1.0",
            "ce-id": f"lifecycle-{number}",
            "ce-type": f"google.cloud.storage.object.v1.{kind}",
            "ce-source": "//storage.googleapis.com/projects/_/buckets/ml-models-prod",
            "ce-time": now,
        }
        assert requests.post(system.function, json=body | more, headers=headers, timeout=60).ok

    ends_right(prod, "lifecycle/", live=0, removed=1)
    [[removed_at]] = system.bigquery.query_and_wait(
        "SELECT removed_at FROM ml_registry.registrations WHERE model_name = 'lifecycle'"
    )
    assert removed_at == datetime.fromisoformat(deleted)


def test_the_sample_data_has_a_version_that_was_taken_out_of_prod(system: Local) -> None:
    rows = json.loads(system.run(system.python, "-m", "registry", "show", "sentiment"))

    found = {(row["model_version"], row["environment"]): row["removed_at"] for row in rows}
    assert found[1, "prod"] is found[2, "staging"] is None
    assert found[2, "prod"]
    assert [row["model_version"] for row in versions(system, "sentiment")] == [2, 2, 1]


def test_after_all_of_it_a_reconciliation_finds_nothing(system: Local) -> None:
    """What the events said is what the buckets list."""
    found = system.run(
        system.python,
        "-m",
        "registry",
        "reconcile",
        "dev",
        "staging",
        "prod",
        "--dry-run",
        "--format=json",
    )

    assert json.loads(found) == []
