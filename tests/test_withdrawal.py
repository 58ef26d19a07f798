"""What a withdrawal removes, and what its undoing brings back."""

from datetime import datetime
from typing import TYPE_CHECKING, cast

import pytest

from registry import withdrawal
from registry.errors import Refused
from registry.event import StorageObject
from registry.rows import Artifact, Registered
from tests.servers.local_storage import Cloud
from tests.test_promotion import (
    NOON,
    artifact,
    cloud,
    connect_to,
    model,
    no_requests_for_traces,
    stored,
    version,
)

if TYPE_CHECKING:
    from registry.bucket import Bucket
    from registry.inventory import Inventory

__all__ = ["cloud", "model", "no_requests_for_traces"]  # the fixtures


class Listing:
    """A bucket which lists m/v1/b only."""

    def objects(self, *_: str, **__: bool) -> list[StorageObject]:
        return [stored("m/v1/b", time_deleted=NOON)]


class Registry:
    """An inventory of earlier generations."""

    def __init__(self, *earlier: Registered) -> None:
        self._earlier = earlier

    def registered(self, bucket: str, folder: str) -> tuple[Registered, ...]:
        assert (bucket, folder) == ("b-dev", "m/v1/")
        return self._earlier


def at(hour: int, minute: int = 0) -> datetime:
    return NOON.replace(hour=hour, minute=minute)


def file(
    name: str, uploaded: datetime, removed: datetime | None = None, *, overwrites: int = 0
) -> Artifact:
    one = stored(f"m/v1/{name}", time_created=uploaded)
    return artifact(one, "dev", removed_at=removed, overwrites=overwrites)


def undone(*rows: Artifact, earlier: tuple[Registered, ...] = ()) -> list[tuple[str, bool]]:
    """Return the names that would be brought back, and whether the bucket lists them."""
    found = withdrawal.kept(
        version(rows),
        lambda _: cast("Bucket", Listing()),
        cast("Inventory", Registry(*earlier)),
    )
    return [(one.name.removeprefix("m/v1/"), one.noncurrent is not None) for one in found]


def test_only_what_the_last_withdrawal_removed_is_brought_back() -> None:
    assert undone(
        file("a", at(1), at(9)),
        file("b", at(1), at(12)),
        file("c", at(1), at(11, 1)),
        file("d", at(1)),
    ) == [("b", True), ("c", False)]


def test_what_was_never_there_at_the_same_time_is_not_brought_back_together() -> None:
    """Both files were withdrawn, another `a` came, and was withdrawn as well."""
    assert undone(file("a", at(11, 55), at(12), overwrites=1), file("b", at(1), at(11, 50))) == [
        ("a", False)
    ]


@pytest.mark.parametrize("name", ["a", "c"])
def test_what_would_be_mixed_with_what_came_since_is_refused(name: str) -> None:
    with pytest.raises(
        Refused, match=rf"found that gs://b-dev/m/v1/{name} came since: it would be"
    ):
        undone(file(name, at(13), overwrites=1), file("b", at(1), at(12)))


def test_an_undo_that_broke_off_is_completed_also_after_another_withdrawal() -> None:
    """What was brought back is a new generation of bytes that were there before."""
    first = Registered(
        name="m/v1/a",
        generation=1,
        upload_timestamp=at(1),
        registered_at=at(1),
        size=10,
        crc32c="AAAAAA==",
    )
    again = Registered(
        name="m/v1/a",
        generation=2,
        upload_timestamp=None,
        registered_at=at(11, 55),
        size=10,
        crc32c="AAAAAA==",
    )
    half = (file("a", at(11, 55), overwrites=1), file("b", at(1), at(11, 50)))
    withdrawn = (file("a", at(11, 55), at(12), overwrites=1), file("b", at(1), at(11, 50)))

    assert undone(*half, earlier=(again, first)) == [("b", True)]
    assert undone(*withdrawn, earlier=(first, again)) == [("a", False), ("b", True)]


def test_what_the_registry_has_not_seen_yet_is_waited_for_and_not_an_error() -> None:
    class Empty:
        def objects(self, *_: str, **__: bool) -> list[StorageObject]:
            return []

    def connect(_: str) -> "Bucket":
        return cast("Bucket", Empty())

    assert withdrawal.live(version([file("a", at(1))]), connect) == []
    with pytest.raises(Refused, match="expected m v1 in dev, found none of its files there"):
        withdrawal.live(version([file("a", at(1), at(2))]), connect)


def test_what_is_overwritten_is_not_removed_and_what_is_gone_needs_no_removal(
    cloud: Cloud, model: str
) -> None:
    bucket = connect_to(cloud.url)("ml-models-dev")
    one, other, *_ = bucket.objects(f"{model}/")
    cloud.dev.blob(one.name).upload_from_string(b"newer")

    with pytest.raises(Refused, match=r"/part-0#\d+, found that it was overwritten meanwhile"):
        bucket.remove(one)
    for _ in range(2):
        bucket.remove(other)

    assert cloud.dev.blob(one.name).exists()
    kept = [blob.name for blob in cloud.client.list_blobs(cloud.dev, prefix=model, versions=True)]
    assert other.name in kept
    assert not cloud.dev.blob(other.name).exists()


def test_over_a_live_name_nothing_is_restored(cloud: Cloud, model: str) -> None:
    blob = cloud.dev.blob(f"{model}/v1/part-0")
    blob.reload()
    cloud.dev.blob(blob.name, generation=blob.generation).delete()
    cloud.dev.blob(blob.name).upload_from_string(b"newer")

    bucket = connect_to(cloud.url)("ml-models-dev")
    with pytest.raises(Refused, match="found one with other bytes"):
        bucket.restore(blob.name, blob.generation, blob.crc32c)
    bucket.restore(blob.name, blob.generation, cloud.dev.get_blob(blob.name).crc32c)

    assert cloud.dev.blob(blob.name).download_as_bytes() == b"newer"
