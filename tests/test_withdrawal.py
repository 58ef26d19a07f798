"""What an undo of a withdrawal brings back, from what the registry says."""

from typing import TYPE_CHECKING, cast

from registry import withdrawal
from registry.event import StorageObject
from tests.test_promotion import NOON, artifact, stored, version

if TYPE_CHECKING:
    from registry.bucket import Bucket


def test_only_what_the_last_withdrawal_removed_is_brought_back() -> None:
    rows = [
        artifact(stored("m/v1/a"), "dev", removed_at=NOON.replace(hour=9)),
        artifact(stored("m/v1/b"), "dev", removed_at=NOON),
        artifact(stored("m/v1/c"), "dev", removed_at=NOON.replace(hour=11, minute=1)),
        artifact(stored("m/v1/d"), "dev"),
    ]

    class Listing:
        def objects(self, *_: str, **__: bool) -> list[StorageObject]:
            return [stored("m/v1/b", time_deleted=NOON)]

    found = withdrawal.kept(version(rows), lambda _: cast("Bucket", Listing()))

    assert [(one.name, one.noncurrent is None) for one in found] == [
        ("m/v1/b", False),
        ("m/v1/c", True),
    ]
