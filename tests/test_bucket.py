"""The list of a bucket, from a server that pages as Cloud Storage does."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from google.cloud.storage import Client

from registry.bucket import Bucket
from registry.errors import ListingFailed
from registry.event import StorageObject
from registry.settings import Settings
from tests import PROJECT
from tests.servers.storage import StorageServer, storage_server

SETTINGS = Settings(project=PROJECT, table="ml_registry.models", emulated=True)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    """Cloud Storage, without buckets."""
    with storage_server() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


def test_every_object_is_listed_in_the_order_of_names_over_all_pages(
    storage: StorageServer,
) -> None:
    names = [f"m/v1/{letter}" for letter in "gfedcba"]
    for name in names:
        storage.put("b-dev", name, 1)

    listed = Bucket.connect(SETTINGS, "b-dev").objects()

    assert [one.name for one in listed] == sorted(names)
    assert len(storage.asked) == 3
    assert "noAcl" in storage.asked[0]


def test_an_object_is_as_its_event_would_have_described_it(storage: StorageServer) -> None:
    storage.put("b-dev", "m/v1/a", 7, md5Hash="md5", metadata={"uploader": "ada"})
    storage.put("b-dev", "m/v1/b", 8)

    with_all, without = Bucket.connect(SETTINGS, "b-dev").objects()

    assert with_all == StorageObject(
        bucket="b-dev",
        name="m/v1/a",
        generation=7,
        size=10,
        time_created=datetime(2026, 3, 1, 12, 0, 0, 7000, tzinfo=UTC),
        crc32c="AAAAAA==",
        md5_hash="md5",
        metadata={"uploader": "ada"},
    )
    assert (without.md5_hash, without.metadata) == (None, {})


def test_what_a_list_lacks_is_asked_for_where_that_is_allowed(storage: StorageServer) -> None:
    key = {"crc32c": None, "kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}
    storage.put("b-dev", "m/v1/a b", 7, **key)
    storage.put("b-dev", "m/v1/b", 7, **key)
    storage.unlisted["m/v1/a b"] = {"crc32c": "BBBBBB==", "md5Hash": "md5"}
    bucket = Bucket.connect(SETTINGS, "b-dev")
    listed, other = bucket.objects()

    described = bucket.describe(listed)
    storage.objects["b-dev"].pop(0)
    gone = bucket.describe(listed)
    storage.may_describe = False
    refused = [bucket.describe(other) for _ in range(2)]

    assert not listed.is_growing
    assert described == replace(listed, crc32c="BBBBBB==", md5_hash="md5")
    assert (gone, refused) == (listed, [other] * 2)
    assert storage.described == ["m/v1/a b", "m/v1/a b", "m/v1/b"]  # once refused, no more


def test_without_an_answer_an_object_is_what_the_list_says(
    storage: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put("b-dev", "m/v1/a", 7)
    bucket = Bucket.connect(SETTINGS, "b-dev")
    [listed] = bucket.objects()
    monkeypatch.setattr(Client, "bucket", lambda *_: (_ for _ in ()).throw(OSError("no route")))

    assert bucket.describe(listed) == listed


@pytest.mark.parametrize(
    ("facts", "growing"),
    [
        ({}, False),
        ({"crc32c": None}, True),
        ({"crc32c": None, "timeFinalized": "2026-03-01T12:00:01Z"}, False),
        ({"crc32c": None, "kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}, False),
    ],
)
def test_an_object_without_a_checksum_is_growing_unless_it_is_final_or_encrypted(
    storage: StorageServer, facts: dict[str, object], *, growing: bool
) -> None:
    storage.put("b-dev", "m/v1/a", 7, **facts)

    [listed] = Bucket.connect(SETTINGS, "b-dev").objects()

    assert listed.is_growing == growing


def test_overwritten_generations_are_listed_when_asked_for(storage: StorageServer) -> None:
    storage.put("b-dev", "m/v1/a", 1, timeDeleted="2026-03-02T12:00:00Z")
    storage.put("b-dev", "m/v1/a", 2)
    bucket = Bucket.connect(SETTINGS, "b-dev")

    assert [stored.generation for stored in bucket.objects()] == [2]
    assert [
        (stored.generation, stored.time_deleted) for stored in bucket.objects(all_generations=True)
    ] == [(1, datetime(2026, 3, 2, 12, tzinfo=UTC)), (2, None)]


def test_only_names_of_a_prefix_are_listed(storage: StorageServer) -> None:
    storage.put("b-dev", "m/v1/a", 1)
    storage.put("b-dev", "n/v1/a", 1)

    assert [one.name for one in Bucket.connect(SETTINGS, "b-dev").objects("n/")] == ["n/v1/a"]


def test_a_list_that_breaks_off_is_an_error_after_the_objects_that_came(
    storage: StorageServer,
) -> None:
    for letter in "abcde":
        storage.put("b-dev", f"m/v1/{letter}", 1)
    storage.broken = 1
    listed = Bucket.connect(SETTINGS, "b-dev").objects()

    assert [next(listed).name for _ in range(3)] == ["m/v1/a", "m/v1/b", "m/v1/c"]
    with pytest.raises(ListingFailed, match=r"gs://b-dev, .*storage\.objects\.list"):
        next(listed)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (403, "you need storage.objects.list"),
        (404, r"check its name \(--bucket-prefix\)"),
        (400, "check that this machine reaches Cloud Storage"),
    ],
)
def test_a_refused_list_has_its_own_remedy(
    status: int, remedy: str, storage: StorageServer
) -> None:
    storage.broken, storage.refusal = 0, status

    with pytest.raises(ListingFailed, match=f"expected the list of gs://b-dev, .*: {remedy}"):
        next(Bucket.connect(SETTINGS, "b-dev").objects())
