"""The use case: a model version is taken out of an environment, or brought back."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from registry.environment import Environment
from registry.errors import Refused
from registry.event import StorageObject
from registry.inventory import Inventory
from registry.rows import Artifact, ModelVersionFiles
from registry.version_files import Connect, find, folders, listed_in, named, wait_until

type Content = tuple[str, str, int | None, str | None]  # bucket, name, size, crc32c

_ONE_WITHDRAWAL = timedelta(hours=1)  # as in the view model_versions


def live(
    found: ModelVersionFiles,
    connect: Connect,
    *,
    for_good: bool = False,
) -> list[StorageObject]:
    """
    Return the live objects of a version, all of which may be removed.

    There are none if the registry has not yet seen that they were removed.

    Raises:
        Refused: The registry, too, says that there are none; or a bucket would lose them for good,
            which was not allowed.
        StorageFailed, ListingFailed: Cloud Storage does not answer.
    """
    listed = [one for place in folders(found) for one in listed_in(connect, *place)]
    name = f"{found.model_name} v{found.model_version}"
    if not listed and not registered(found):
        raise Refused(f"expected {name} in {found.environment}, found none of its files there")
    for bucket in {one.bucket: None for one in listed}:
        if not for_good and not connect(bucket).keeps_removed:
            raise Refused(
                f"expected gs://{bucket} to keep what is removed, found neither versioning nor soft"
                " delete: turn one on, or add --for-good to lose the files"
            )
    return listed


def registered(found: ModelVersionFiles) -> set[tuple[str, str]]:
    """Return the files of a version that are live as far as the registry knows."""
    return {(one.gcs_bucket, one.gcs_path) for one in found.artifacts if one.removed_at is None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A generation that was removed: as it is listed, or None if only soft delete can have it."""

    bucket: str
    name: str
    generation: int
    crc32c: str | None
    noncurrent: StorageObject | None


def kept(found: ModelVersionFiles, connect: Connect, inventory: Inventory) -> list[Kept]:
    """
    Return what the last withdrawal removed.

    Raises:
        Refused: Nothing was removed, or other files came since, with which it would be mixed.
        QueryFailed, ListingFailed: BigQuery or Cloud Storage does not answer.
    """
    removed = withdrawn(found, _first_uploads(found, inventory))
    listed = {
        (one.bucket, one.name, one.generation): one
        for bucket, folder in folders(found)
        for one in connect(bucket).objects(folder, all_generations=True, for_copies=True)
    }
    return [
        Kept(
            bucket=one.gcs_bucket,
            name=one.gcs_path,
            generation=generation,
            crc32c=one.crc32c,
            noncurrent=listed.get((one.gcs_bucket, one.gcs_path, generation)),
        )
        for one in removed
        if (generation := one.generation) is not None
    ]


def withdrawn(found: ModelVersionFiles, uploads: Mapping[Content, datetime]) -> list[Artifact]:
    """
    Return the files that the last withdrawal removed, by path: all were there at the same time.

    `uploads` says since when a name had its bytes, if they were there before.

    Raises:
        Refused: Nothing was removed, or other files came since.
    """

    def since(one: Artifact) -> datetime:
        key = (one.gcs_bucket, one.gcs_path, one.file_size_bytes, one.crc32c)
        return uploads.get(key) or one.upload_timestamp or one.registered_at

    name = f"{found.model_name} v{found.model_version}"
    removed = [
        (one.removed_at, one)
        for one in found.artifacts
        if one.removed_at is not None and one.generation is not None
    ]
    if not removed:
        raise Refused(
            f"expected {name} to be withdrawn from {found.environment}, found that none of its"
            " files was removed"
        )
    ended = max(at for at, _ in removed)
    last = [(at, one) for at, one in removed if at >= ended - _ONE_WITHDRAWAL]
    newest = max(since(one) for _, one in last)
    last = [(at, one) for at, one in last if at >= newest]
    began = min(at for at, _ in last)
    if others := [
        f"gs://{one.gcs_bucket}/{one.gcs_path}"
        for one in found.artifacts
        if one.removed_at is None and since(one) > began
    ]:
        raise Refused(
            f"expected {name} in {found.environment} as the withdrawal left it, found that"
            f" {named(others)} came since: it would be a mixture; model-registry history lists the"
            " generations of a file, which you can copy by hand"
        )
    return sorted((one for _, one in last), key=lambda one: (one.gcs_bucket, one.gcs_path))


def _first_uploads(found: ModelVersionFiles, inventory: Inventory) -> dict[Content, datetime]:
    """Ask since when each name had each content: what was brought back is not new."""
    first: dict[Content, datetime] = {}
    if any(one.overwrites for one in found.artifacts):
        for bucket, folder in folders(found):
            for one in inventory.registered(bucket, folder):
                key = (bucket, one.name, one.size, one.crc32c)
                uploaded = one.upload_timestamp or one.registered_at
                first[key] = min(first.get(key, uploaded), uploaded)
    return first


def bring_back(one: Kept, connect: Connect) -> None:
    """
    Make a generation live again, unless its name is taken by the same bytes.

    Raises:
        Refused: Its name is taken by other bytes, or it is gone for good.
        StorageFailed: Cloud Storage did not do it.
    """
    bucket = connect(one.bucket)
    if one.noncurrent is None:
        bucket.restore(one.name, one.generation, one.crc32c)
    else:
        bucket.copy(one.noncurrent, {})


def wait_until_seen(  # noqa: PLR0913 - what it works with, and what is asked
    found: ModelVersionFiles,
    names: Iterable[tuple[str, str]],
    inventory: Inventory,
    seconds: float,
    *,
    there: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """
    Ask the registry until these files, by bucket and name, are live in it, or no longer.

    Raises:
        Refused: They are not within that time.
        QueryFailed: BigQuery does not answer.
    """
    wanted = set(names)
    environment = Environment(found.environment)

    def missing() -> str | None:
        now = find(inventory, found.model_name, found.model_version, environment)
        seen = registered(now)
        wrong = sorted(wanted - seen if there else wanted & seen)
        what = "not yet" if there else "still"
        return f"{what} {named(f'gs://{b}/{n}' for b, n in wrong)}" if wrong else None

    wait_until(
        missing, seconds, sleep, f"{found.model_name} v{found.model_version} in {found.environment}"
    )
