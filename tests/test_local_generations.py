"""What the local Cloud Storage keeps, deletes and reports, as Cloud Storage does."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed
from google.cloud.storage import Blob

from tests.servers.local_storage import Cloud, served


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One Cloud Storage, whose bucket for staging keeps no noncurrent generations."""
    with served(tmp_path_factory.mktemp("storage") / "log") as cloud:
        cloud.staging.versioning_enabled = False
        cloud.staging.patch()
        yield cloud


def generations(blob: Blob) -> dict[int, bytes]:
    """Return the generations of an object that its bucket keeps, and their contents."""
    listed = blob.bucket.client.list_blobs(blob.bucket, prefix=blob.name, versions=True)
    return {each.generation: each.download_as_bytes() for each in listed}


def written(cloud: Cloud, name: str, *contents: bytes) -> list[int]:
    """Write an object several times; return its generations."""
    found = []
    for content in contents:
        blob = cloud.dev.blob(name)
        blob.upload_from_string(content)
        found.append(blob.generation)
    return found


def test_the_buckets_are_versioned_as_setup_makes_them(cloud: Cloud) -> None:
    cloud.dev.reload()

    assert cloud.dev.versioning_enabled


def test_a_deleted_object_is_archived_and_kept(cloud: Cloud) -> None:
    [generation] = written(cloud, "kept/v1/model", b"1")

    cloud.dev.blob("kept/v1/model").delete()

    assert not cloud.dev.blob("kept/v1/model").exists()
    assert generations(cloud.dev.blob("kept/v1/model")) == {generation: b"1"}
    kept = cloud.dev.get_blob("kept/v1/model", generation=generation)
    events = {headers["ce-type"]: (headers, body) for headers, body in cloud.events(generation)}
    assert len(events) == 2
    headers, body = events["google.cloud.storage.object.v1.archived"]
    assert headers["ce-time"] == body["timeDeleted"] > body["timeCreated"]
    assert datetime.fromisoformat(body["timeDeleted"]) == kept.time_deleted
    _, arrival = events["google.cloud.storage.object.v1.finalized"]
    assert {**arrival, "timeDeleted": body["timeDeleted"]} == body


def test_an_overwritten_generation_is_archived_when_the_new_one_begins(cloud: Cloud) -> None:
    old, new = written(cloud, "over/v1/model", b"1", b"2")

    assert generations(cloud.dev.blob("over/v1/model")) == {old: b"1", new: b"2"}
    assert cloud.dev.blob("over/v1/model").download_as_bytes() == b"2"
    [archived] = [body for _, body in cloud.events(old) if "timeDeleted" in body]
    assert (
        datetime.fromisoformat(archived["timeDeleted"])
        == cloud.dev.get_blob("over/v1/model").time_created
    )
    assert cloud.kinds(new) == {"finalized"}


def test_a_generation_that_is_named_is_deleted_for_good(cloud: Cloud) -> None:
    """A live one too; and soft delete still has it."""
    name = "good/v1/model"
    old, new = written(cloud, name, b"1", b"2")

    for generation in (old, new):
        cloud.dev.blob(name, generation=generation).delete()
        with pytest.raises(NotFound, match="No such object"):
            cloud.dev.blob(name, generation=generation).delete()

    assert generations(cloud.dev.blob(name)) == {}
    assert cloud.kinds(old) == {"finalized", "archived", "deleted"}
    assert cloud.kinds(new) == {"finalized", "deleted"}
    times = {headers["ce-type"]: headers["ce-time"] for headers, _ in cloud.events(old)}
    [archived, *_, deleted] = [
        body["timeDeleted"] for _, body in cloud.events(old) if "timeDeleted" in body
    ]
    assert archived == deleted < times["google.cloud.storage.object.v1.deleted"]
    soft = cloud.client.list_blobs(cloud.dev, prefix=name, soft_deleted=True)
    assert [blob.generation for blob in soft] == [old, new]


def test_a_bucket_without_versioning_deletes(cloud: Cloud) -> None:
    blob = cloud.staging.blob("unversioned/v1/model")
    blob.upload_from_string(b"1")
    old = blob.generation
    blob.upload_from_string(b"2")
    new = blob.generation
    cloud.staging.blob(blob.name).delete()

    assert generations(blob) == {}
    assert [cloud.kinds(each) for each in (old, new)] == [{"finalized", "deleted"}] * 2


def test_a_generation_is_read_and_copied_back(cloud: Cloud) -> None:
    name = "back/v1/model"
    old, between = written(cloud, name, b"1", b"2")
    cloud.dev.blob(name).delete()

    cloud.dev.blob(name).rewrite(cloud.dev.blob(name, generation=old))
    restored = cloud.dev.get_blob(name)

    assert generations(restored) == {old: b"1", between: b"2", restored.generation: b"1"}
    assert restored.time_deleted is None
    assert cloud.kinds(restored.generation) == {"finalized"}
    copied = cloud.dev.copy_blob(restored, cloud.dev, name, source_generation=between)
    assert copied.download_as_bytes() == b"2"
    composed = cloud.dev.blob("back/v1/composed")
    composed.compose([cloud.dev.blob(name, generation=old), copied])
    assert composed.download_as_bytes() == b"12"
    with pytest.raises(NotFound, match=f"with generation {old - 1}"):
        cloud.dev.copy_blob(restored, cloud.dev, name, source_generation=old - 1)


def test_a_soft_deleted_object_is_restored_over_a_live_one(cloud: Cloud) -> None:
    name = "soft/v1/model"
    [old] = written(cloud, name, b"1")
    cloud.dev.blob(name, generation=old).delete()
    [live] = written(cloud, name, b"2")

    restored = cloud.dev.restore_blob(name, generation=old)

    assert generations(restored) == {live: b"2", restored.generation: b"1"}
    assert cloud.dev.get_blob(name).time_deleted is None
    assert cloud.kinds(live) == {"finalized", "archived"}
    assert cloud.kinds(restored.generation) == {"finalized"}


def test_a_bucket_that_keeps_nothing_soft_deletes_nothing(cloud: Cloud) -> None:
    name = "hard/v1/model"
    cloud.dev.soft_delete_policy.retention_duration_seconds = 0
    cloud.dev.patch()
    [generation] = written(cloud, name, b"1")
    cloud.dev.blob(name, generation=generation).delete()
    cloud.dev.soft_delete_policy.retention_duration_seconds = 604800
    cloud.dev.patch()

    assert not list(cloud.client.list_blobs(cloud.dev, prefix=name, soft_deleted=True))


def test_a_move_deletes_the_source_for_good(cloud: Cloud) -> None:
    [source] = written(cloud, "from/v1/model", b"1")
    [replaced] = written(cloud, "to/v1/model", b"2")

    moved = cloud.dev.move_blob(cloud.dev.blob("from/v1/model"), "to/v1/model")

    assert generations(cloud.dev.blob("from/v1/model")) == {}
    assert generations(moved) == {replaced: b"2", moved.generation: b"1"}
    assert cloud.kinds(source) == {"finalized", "deleted"}
    assert cloud.kinds(replaced) == {"finalized", "archived"}
    assert cloud.kinds(moved.generation) == {"finalized"}
    assert not list(cloud.client.list_blobs(cloud.dev, prefix="from/", soft_deleted=True))
    with pytest.raises(PreconditionFailed):
        cloud.dev.move_blob(moved, "from/v1/model", if_source_generation_match=1)


def test_a_batch_deletes_the_generations_that_it_names(cloud: Cloud) -> None:
    name = "batch/v1/model"
    old, new = written(cloud, name, b"1", b"2")

    with cloud.client.batch():
        cloud.dev.blob(name, generation=old).delete()
        cloud.dev.blob(name).delete()
    with pytest.raises(NotFound), cloud.client.batch():
        cloud.dev.blob(name, generation=old).delete()

    assert generations(cloud.dev.blob(name)) == {new: b"2"}
    assert cloud.kinds(old) == {"finalized", "archived", "deleted"}
    assert cloud.kinds(new) == {"finalized", "archived"}


def test_the_metadata_of_a_noncurrent_generation_changes(cloud: Cloud) -> None:
    name = "noncurrent/v1/model"
    old, _ = written(cloud, name, b"1", b"2")

    changed = cloud.dev.blob(name, generation=old)
    changed.metadata = {"reason": "withdrawn"}
    changed.patch()

    assert cloud.dev.get_blob(name, generation=old).metadata == {"reason": "withdrawn"}
    assert cloud.dev.get_blob(name).metadata is None


def test_versions_are_listed_in_pages(cloud: Cloud) -> None:
    expected = written(cloud, "pages/v1/model", b"1", b"2", b"3")
    expected += written(cloud, "pages/v2/model", b"4")

    listed = cloud.client.list_blobs(cloud.dev, prefix="pages/", versions=True, page_size=2)

    assert [[blob.generation for blob in page] for page in listed.pages] == [
        expected[:2],
        expected[2:],
    ]


def test_a_bucket_that_keeps_a_generation_is_not_empty(cloud: Cloud) -> None:
    bucket = cloud.client.create_bucket("ml-models-other")
    bucket.versioning_enabled = True
    bucket.patch()
    kept = bucket.blob("model")
    kept.upload_from_string(b"1")
    bucket.blob("model").delete()

    with pytest.raises(Conflict):
        bucket.delete()
    kept.delete()
    bucket.delete()
