"""The use case: the registry catches up with a bucket."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from registry.bucket import Bucket
from registry.environment import Environment
from registry.event import StorageObject
from registry.finding import CHECKSUM_MISSING, Difference, Finding, compare
from registry.inventory import Inventory
from registry.registration import Registration
from registry.removal import Removal
from registry.rows import UnlikeStaging
from registry.table import RegistryTable

BATCH = 100  # insertAll takes 10 MB; one object's metadata can be 30 kB of JSON in JSON
_EVER = datetime.fromtimestamp(0, UTC)


def reconcile(  # noqa: PLR0913 - what it works with, and what is asked
    bucket: Bucket,
    inventory: Inventory,
    table: RegistryTable | None,
    *,
    clock: Callable[[], datetime],
    prefix: str = "",
    since: datetime = _EVER,
    all_generations: bool = False,
    on_object: Callable[[], None] = lambda: None,
) -> Iterator[Finding]:
    """
    Find the differences between a bucket and the registry, and correct the registry.

    What is unregistered is registered as its event would have done, with the same insert id. What
    has changed is registered once more. What was removed, or is there again, is recorded as a
    removal. A finding is yielded when that is written. Without a `table` nothing is written.
    Findings of uploads before `since` are left out.

    A list has no checksum of an object under a customer-managed key, so the object is asked for it,
    if the registry does not know it either.

    The registry is asked first: so what it knows and the list lacks is really gone. An upload in
    between may be registered twice, which the view drops. `on_object` is called for each object
    that is listed.

    Raises:
        UnknownEnvironment: The bucket's name does not end in an environment.
        ListingFailed, QueryFailed, AppendFailed, OutOfOrder: It did not get to the end. It can be
            repeated at any time.
    """
    environment = Environment.of_bucket(bucket.name)
    started = clock()
    registered = inventory.registered(bucket.name, prefix)
    first = list(itertools.islice(registered, 1))  # sends the query

    def listed() -> Iterator[StorageObject]:
        for stored in bucket.objects(prefix, all_generations=all_generations):
            on_object()
            yield stored

    compared = compare(listed(), itertools.chain(first, registered))
    recent = (one for one in compared if one.time is None or one.time >= since)
    findings = (one for finding in recent if (one := _with_checksum(finding, bucket)))
    for batch in itertools.batched(findings, BATCH):
        if table is not None:
            _correct(batch, bucket.name, environment, table, started=started, now=clock())
        yield from batch


def unlike_staging(bucket: str, inventory: Inventory) -> Sequence[UnlikeStaging]:
    """
    Return what is in prod without being what staging has, if the bucket is prod's.

    Staging may still differ from dev: that is where versions are tried.

    Raises:
        QueryFailed: BigQuery does not answer.
    """
    if Environment.of_bucket(bucket) != Environment.PROD:
        return []
    return inventory.unlike_staging()


def _with_checksum(finding: Finding, bucket: Bucket) -> Finding | None:
    """Return the finding with what the object says; None if the registry has the same already."""
    if finding.stored is None or finding.stored.crc32c is not None or finding.artifact is None:
        return finding
    asked = bucket.describe(finding.stored)
    if asked.crc32c is None and finding.reason == CHECKSUM_MISSING:
        return None
    return replace(finding, stored=asked)


def _correct(  # noqa: PLR0913 - what is written, where, and when
    findings: Sequence[Finding],
    bucket: str,
    environment: Environment,
    table: RegistryTable,
    *,
    started: datetime,
    now: datetime,
) -> None:
    table.append(
        *(
            Registration(
                artifact=finding.artifact,
                environment=environment,
                stored=finding.stored,
                registered_at=now,
                corrects=finding.difference == Difference.CHANGED,
            )
            for finding in findings
            if finding.artifact is not None
            and finding.stored is not None
            and finding.difference != Difference.REAPPEARED
        )
    )
    table.append_removals(
        *(
            Removal(
                bucket=bucket,
                name=finding.name,
                generation=finding.generation,
                upload_timestamp=finding.time,
                removed_at=None if is_back else finding.removed_at or now,
                # Taking back must not undo a removal that came after the object was seen.
                recorded_at=started if is_back else now,
                recorded_by="reconciliation",
            )
            for finding in findings
            if (is_back := finding.difference == Difference.REAPPEARED)
            or finding.difference == Difference.REMOVED
        )
    )
