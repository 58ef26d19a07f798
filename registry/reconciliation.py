"""
The bucket against the registry: what differs, and why; and how the registry catches up.

The comparison is pure, two streams in and findings out. Memory does not grow with either.
"""

import functools
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING

from registry.artifact import ArtifactPath
from registry.errors import FolderMarker, InvalidArtifactPath, OutOfOrder, UploadPart
from registry.event import StorageObject
from registry.registration import Registration
from registry.settings import Environment

if TYPE_CHECKING:
    from registry.bucket import Bucket
    from registry.inventory import Inventory
    from registry.table import RegistryTable

BATCH = 100  # insertAll takes 10 MB, and the metadata of an object can be 30 kB of JSON in JSON
_EVER = datetime.fromtimestamp(0, UTC)


class Difference(StrEnum):
    """In which way bucket and registry differ."""

    UNREGISTERED = "unregistered"
    VANISHED = "vanished"
    OUTSIDE_THE_LAYOUT = "outside the layout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A generation of an object in the bucket; `live` unless it was overwritten or deleted."""

    stored: StorageObject
    live: bool = True

    @property
    def name(self) -> str:
        """The object's name."""
        return self.stored.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """
    A generation in the registry.

    `generation` is None in rows from before that column: the time of the upload stands for it.
    `vanished` where it was found to have vanished before.
    """

    name: str
    generation: int | None
    upload_timestamp: datetime | None
    registered_at: datetime
    vanished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One difference.

    `stored` is the object in the bucket, None where it has vanished; `artifact` what its name says,
    None outside the layout, and then `reason` says why.
    """

    difference: Difference
    name: str
    generation: int | None
    time: datetime | None
    stored: StorageObject | None = None
    artifact: ArtifactPath | None = None
    reason: str | None = None

    def __str__(self) -> str:
        """Say what differs, and why where there is more to say."""
        return f"{self.difference}: {self.reason or self.name}"


def compare(listed: Iterable[Listed], registered: Iterable[Registered]) -> Iterator[Finding]:
    """
    Find the differences of a bucket and the registry's rows of it, by name.

    Both come in the order of their names, by code points, as Cloud Storage lists them and BigQuery
    sorts them; so no more than the generations of one name are held at any time.

    Raises:
        OutOfOrder: They do not; nothing can be said then.
    """
    previous = ""
    both: Iterator[Listed | Registered] = heapq.merge(listed, registered, key=attrgetter("name"))
    for name, group in itertools.groupby(both, key=attrgetter("name")):
        if name < previous:
            raise OutOfOrder(f"expected names in order, found {name!r} after {previous!r}")
        previous = name
        of_name = list(group)
        yield from _of_one_name(
            [one for one in of_name if isinstance(one, Listed)],
            [one for one in of_name if isinstance(one, Registered)],
        )


def reconcile(  # noqa: PLR0913 - what it works with, and what is asked
    bucket: "Bucket",
    inventory: "Inventory",
    table: "RegistryTable | None",
    *,
    clock: Callable[[], datetime],
    prefix: str = "",
    since: datetime = _EVER,
    all_generations: bool = False,
    on_object: Callable[[], None] = lambda: None,
) -> Iterator[Finding]:
    """
    Find the differences of a bucket and the registry, and settle them.

    What is unregistered is registered as its event would have been, with the same insert id, and
    what has vanished is recorded beside. Each finding comes when that is done. With no `table`
    nothing is written. Findings of uploads before `since` are left aside.

    The registry is asked first: what it knows then and the list lacks later is really gone, and an
    upload in between may be registered twice, which the view drops. `on_object` is called for each
    object that is listed.

    Raises:
        UnknownEnvironment: The bucket's name does not end in one.
        ListingFailed, QueryFailed, AppendFailed, OutOfOrder: It could not be done; it can be done
            again at any time.
    """
    environment = Environment.of_bucket(bucket.name)
    registered = inventory.registered(bucket.name, prefix)
    first = list(itertools.islice(registered, 1))  # now it has been asked

    def listed() -> Iterator[Listed]:
        for one in bucket.objects(prefix, all_generations=all_generations):
            on_object()
            yield one

    compared = compare(listed(), itertools.chain(first, registered))
    findings = (one for one in compared if one.time is None or one.time >= since)
    for batch in itertools.batched(findings, BATCH):
        if table is not None:
            _settle(batch, bucket.name, environment, table, clock())
        yield from batch


def _settle(
    findings: Sequence[Finding],
    bucket: str,
    environment: Environment,
    table: "RegistryTable",
    now: datetime,
) -> None:
    registrations = [
        Registration(
            artifact=finding.artifact,
            environment=environment,
            stored=finding.stored,
            registered_at=now,
        )
        for finding in findings
        if finding.artifact is not None and finding.stored is not None
    ]
    vanished = [one for one in findings if one.difference == Difference.VANISHED]
    if registrations:
        table.append(*registrations)
    if vanished:
        table.append_vanished(bucket, vanished, now)


def _of_one_name(there: Sequence[Listed], known: Sequence[Registered]) -> Iterator[Finding]:
    generations = {row.generation for row in known}
    times = {_to_the_millisecond(row.upload_timestamp) for row in known if row.generation is None}
    unregistered = [
        finding
        for listed in there
        if listed.stored.generation not in generations
        and _to_the_millisecond(listed.stored.time_created) not in times
        for finding in _unregistered(listed.stored)
    ]
    yield from unregistered
    to_be_known = [
        Registered(
            name=finding.name,
            generation=finding.generation,
            upload_timestamp=finding.time,
            registered_at=_EVER,
        )
        for finding in unregistered
        if finding.difference == Difference.UNREGISTERED
    ]
    ever = [*known, *to_be_known]
    if ever and not any(listed.live for listed in there):
        newest = max(ever, key=_age)
        if not newest.vanished:
            yield Finding(
                difference=Difference.VANISHED,
                name=newest.name,
                generation=newest.generation,
                time=newest.upload_timestamp,
            )


def _unregistered(stored: StorageObject) -> Iterator[Finding]:
    finding = functools.partial(
        Finding,
        name=stored.name,
        generation=stored.generation,
        time=stored.time_created,
        stored=stored,
    )
    try:
        artifact = ArtifactPath.parse(stored.name)
    except (FolderMarker, UploadPart):
        return  # as it should be, and nobody need look at it
    except InvalidArtifactPath as error:
        yield finding(difference=Difference.OUTSIDE_THE_LAYOUT, reason=str(error))
    else:
        yield finding(difference=Difference.UNREGISTERED, artifact=artifact)


def _age(row: Registered) -> tuple[datetime, int]:
    """Order generations as the view artifacts does."""
    return row.upload_timestamp or row.registered_at, row.generation or 0


def _to_the_millisecond(time: datetime | None) -> datetime | None:
    """Cut a time to what an event tells of it."""
    return None if time is None else time.replace(microsecond=time.microsecond // 1000 * 1000)
