"""
A bucket against the registry: what differs, and why.

The comparison is pure: two streams in, findings out. Its memory does not grow with either.
"""

import functools
import heapq
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter

from registry.artifact import ArtifactPath
from registry.errors import FolderMarker, InvalidArtifactPath, OutOfOrder, UploadPart, shorten
from registry.event import StorageObject
from registry.rows import Registered, Row

_EXAMPLES = 10
_EVER = datetime.fromtimestamp(0, UTC)
CHECKSUM_MISSING = "its registration lacks the checksum"


class Difference(StrEnum):
    """How the bucket and the registry differ."""

    UNREGISTERED = "unregistered"
    CHANGED = "changed"
    REMOVED = "removed"
    REAPPEARED = "reappeared"
    OUTSIDE_THE_LAYOUT = "outside the layout"


_LOST = {Difference.UNREGISTERED, Difference.REMOVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One difference.

    `stored` is the object in the bucket, None if it was removed, at `removed_at` if that is known.
    `artifact` is what its name says, None outside the layout. `reason` says what is wrong with the
    name, or what has changed.
    """

    difference: Difference
    name: str
    generation: int | None
    time: datetime | None
    stored: StorageObject | None = None
    artifact: ArtifactPath | None = None
    reason: str | None = None
    removed_at: datetime | None = None

    def __str__(self) -> str:
        """Return what differs, and the reason if there is one."""
        if self.difference == Difference.OUTSIDE_THE_LAYOUT:
            return f"{self.difference}: {self.reason}"  # which quotes the name
        return ": ".join(filter(None, [self.difference, self.name, self.reason]))


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow(Row):
    """A finding of a reconciliation, as it is printed."""

    difference: str
    gcs_bucket: str
    gcs_path: str
    generation: int | None
    file_size_bytes: int | None
    upload_timestamp: datetime | None
    reason: str | None

    @classmethod
    def of(cls, bucket: str, finding: Finding) -> "FindingRow":
        """Flatten a finding."""
        return cls(
            difference=finding.difference.value,
            gcs_bucket=bucket,
            gcs_path=finding.name,
            generation=finding.generation,
            file_size_bytes=finding.stored.size if finding.stored else None,
            upload_timestamp=finding.time,
            reason=finding.reason,
        )


@dataclass(kw_only=True)
class Summary:
    """How many findings of each kind there were, and the first of them."""

    counts: Counter[Difference] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    lost_examples: list[str] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        self.counts[finding.difference] += 1
        if self.counts[finding.difference] <= _EXAMPLES:
            self.examples.append(str(finding))
        if finding.difference in _LOST and len(self.lost_examples) < _EXAMPLES:
            self.lost_examples.append(finding.name)

    @property
    def lost(self) -> int:
        """How many findings mean that an event was lost."""
        return sum(self.counts[kind] for kind in _LOST)

    @property
    def differences(self) -> int:
        """How many findings a reconciliation corrects."""
        return self.counts.total() - self.counts[Difference.OUTSIDE_THE_LAYOUT]

    def by_kind(self) -> dict[str, int]:
        """Return the number of findings of each kind, also if it is zero."""
        return {kind.value: self.counts[kind] for kind in Difference}


def compare(listed: Iterable[StorageObject], registered: Iterable[Registered]) -> Iterator[Finding]:
    """
    Compare what is in a bucket with what the registry knows of it, name by name.

    Both come in the order of their names, by code points, as Cloud Storage lists them and BigQuery
    sorts them. So only the generations of one name are in memory at a time.

    Raises:
        OutOfOrder: They do not; then a finding could be wrong.
    """
    previous = ""
    both: Iterator[StorageObject | Registered] = heapq.merge(
        listed, registered, key=attrgetter("name")
    )
    for name, group in itertools.groupby(both, key=attrgetter("name")):
        if name < previous:
            raise OutOfOrder(f"expected names in order, found {name!r} after {previous!r}")
        previous = name
        of_name = list(group)
        yield from _of_one_name(
            [one for one in of_name if isinstance(one, StorageObject)],
            [one for one in of_name if isinstance(one, Registered)],
        )


def _of_one_name(there: Sequence[StorageObject], known: Sequence[Registered]) -> Iterator[Finding]:
    generations = {row.generation: row for row in known}
    times = {_to_the_millisecond(r.upload_timestamp): r for r in known if r.generation is None}
    arrived: list[Finding] = []
    for stored in there:
        if stored.is_growing:
            continue  # its event comes when it is whole
        row = generations.get(stored.generation)
        row = row or times.get(_to_the_millisecond(stored.time_created))
        if row is None:
            arrived += _arrived(stored, Difference.UNREGISTERED)
            continue
        if changes := ", ".join(_changes(row, stored)):
            arrived += _arrived(stored, Difference.CHANGED, changes)
        if row.removed and stored.time_deleted is None:
            arrived += _arrived(stored, Difference.REAPPEARED)
    yield from arrived
    to_be_known = [
        Registered(
            name=finding.name,
            generation=finding.generation,
            upload_timestamp=finding.time,
            registered_at=_EVER,
        )
        for finding in arrived
        if finding.difference == Difference.UNREGISTERED
    ]
    ever = [*known, *to_be_known]
    if ever and all(stored.time_deleted for stored in there):
        newest = max(ever, key=_age)
        if not newest.removed:
            deleted = [one.time_deleted for one in there if one.generation == newest.generation]
            yield Finding(
                difference=Difference.REMOVED,
                name=newest.name,
                generation=newest.generation,
                time=newest.upload_timestamp,
                removed_at=next(iter(deleted), None),
            )


def _changes(row: Registered, stored: StorageObject) -> Iterator[str]:
    """Say what the bucket has otherwise: what, from, to."""
    if row.generation is None:
        yield "its registration lacks the generation"
    if row.crc32c is None:
        yield CHECKSUM_MISSING
    elif stored.crc32c not in {row.crc32c, None}:
        yield f"crc32c from {row.crc32c} to {stored.crc32c}"
    if row.size != stored.size:
        yield f"size from {row.size} to {stored.size}"
    known = json.loads(row.metadata or "null") or {}  # NULL is JSON's null
    differ = [
        key for key in {*known, *stored.metadata} if known.get(key) != stored.metadata.get(key)
    ]
    for key in sorted(differ)[:_EXAMPLES]:
        change = f"from {shorten(known.get(key))} to {shorten(stored.metadata.get(key))}"
        yield f"metadata {shorten(key)} {change}"


def _arrived(
    stored: StorageObject, difference: Difference, reason: str | None = None
) -> Iterator[Finding]:
    finding = functools.partial(
        Finding,
        name=stored.name,
        generation=stored.generation,
        time=stored.time_created,
        stored=stored,
    )
    try:
        artifact = ArtifactPath.parse(stored.name, size=stored.size)
    except (FolderMarker, UploadPart):
        return  # nobody needs to look at it
    except InvalidArtifactPath as error:
        yield finding(difference=Difference.OUTSIDE_THE_LAYOUT, reason=str(error))
    else:
        yield finding(difference=difference, artifact=artifact, reason=reason)


def _age(row: Registered) -> tuple[datetime, int]:
    """Order generations as the view artifacts does."""
    return row.upload_timestamp or row.registered_at, row.generation or 0


def _to_the_millisecond(time: datetime | None) -> datetime | None:
    """Cut a time to the precision of an event."""
    return None if time is None else time.replace(microsecond=time.microsecond // 1000 * 1000)
