"""The use case: a model version gets into the next environment."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from shlex import quote

from registry.environment import Environment
from registry.errors import Refused
from registry.event import StorageObject
from registry.inventory import Filter, Inventory
from registry.rows import Comparison, ModelVersion, ModelVersionFiles
from registry.version_files import (
    Connect,
    address,
    each,
    find,
    folder_of,
    folders,
    listed_in,
    named,
    wait_until,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What a promotion copies.

    `files` are all files of the version, with their checksums; `copies` are those which the target
    does not have. `targets` says for each source bucket which bucket they go to.
    """

    model: str
    version: int
    source: Environment
    target: Environment
    files: Sequence[StorageObject]
    copies: Sequence[StorageObject]
    targets: dict[str, str]
    anyway: str | None = None

    def metadata(self, stored: StorageObject, account: str | None) -> dict[str, str]:
        """Return what is added to the custom metadata of a copy."""
        added = {"promoted_from": address(stored)}
        if account:
            added["promoted_by"] = account
        if self.anyway:
            added["promoted_anyway"] = self.anyway
        return added


def target_bucket(bucket: str, target: Environment) -> str:
    """
    Return the bucket of the same name in another environment.

    >>> target_bucket("acme-ml-models-dev", Environment.STAGING)
    'acme-ml-models-staging'
    """
    return f"{bucket.rpartition('-')[0]}-{target}"


def prepare(  # noqa: PLR0913 - what it works with, and what is asked
    inventory: Inventory,
    connect: Connect,
    *,
    model: str,
    version: int,
    source: Environment,
    target: Environment,
    anyway: bool = False,
) -> Plan:
    """
    Read the registry and the buckets, and plan the copies. It changes nothing.

    Raises:
        Refused: The facts do not allow it.
        QueryFailed, ListingFailed: BigQuery or Cloud Storage does not answer.
    """
    found = find(inventory, model, version, source)
    known = inventory.compared_files(model, version, version, Filter(environments=[target]))
    listed = [stored for place in folders(found) for stored in listed_in(connect, *place)]
    # In the target it may be in v03/ too.
    places = {(target_bucket(bucket, target), folder) for bucket, folder in folders(found)}
    places |= {(one.gcs_bucket, folder_of(one.gcs_path)) for one in known}
    there = [stored for place in sorted(places) for stored in listed_in(connect, *place)]
    no_matter = {(one.gcs_bucket, one.gcs_path) for one in known if not one.counts}
    return plan(found, listed, there, target, no_matter, anyway=anyway)


def plan(  # noqa: PLR0913 - what it works with, and what is asked
    found: ModelVersionFiles,
    listed: Sequence[StorageObject],
    there: Sequence[StorageObject],
    target: Environment,
    no_matter: Collection[tuple[str, str]] = (),
    *,
    anyway: bool = False,
) -> Plan:
    """
    Plan the copies from what the registry says, and what the buckets of both environments list.

    `no_matter` are the files of the target that make no difference, such as .DS_Store.

    Raises:
        Refused: The facts do not allow it.
    """
    name, source = f"{found.model_name} v{found.model_version}", Environment(found.environment)
    if found.removed_at is not None:
        raise Refused(f"expected {name} in {source}, found that it was removed from there")
    unlike = found.comparison not in {None, Comparison.IDENTICAL}
    if found.comparison == Comparison.INCOMPLETE:
        raise Refused(
            f"expected all of {name} in {source}, found an {found.verdict}: run model-registry"
            f" promote {quote(found.model_name)} v{found.model_version} --to {source}"
        )
    if unlike and not anyway:
        raise Refused(
            f"expected {name} in {source} to be the same as in {found.before}, found that it"
            f" {found.verdict}: promote that one first, or add --anyway"
        )
    known = {
        (one.gcs_bucket, one.gcs_path): one.generation
        for one in found.artifacts
        if one.removed_at is None
    }
    stored = {(one.bucket, one.name): one.generation for one in listed}
    if unlisted := sorted(key for key in known | stored if known.get(key) != stored.get(key)):
        raise Refused(
            f"expected the registry to know what is in {source}, found that it does not for"
            f" {named(f'gs://{bucket}/{path}' for bucket, path in unlisted)}: the events may be on"
            " their way, so run it again; if that does not help, run model-registry reconcile"
            f" {source} --prefix {quote(f'{found.model_name}/')}"
        )
    if lacking := [one for one in listed if one.crc32c is None]:
        raise Refused(
            f"expected checksums, found none of {named(map(address, lacking))}: wait until they"
            " are complete, or get the permission storage.objects.get"
        )
    targets = {one.bucket: target_bucket(one.bucket, target) for one in listed}
    present = {(one.bucket, one.name) for one in there}
    planned = Plan(
        model=found.model_name,
        version=found.model_version,
        source=source,
        target=target,
        files=[one for one in listed if (targets[one.bucket], one.name) not in no_matter],
        copies=[one for one in listed if (targets[one.bucket], one.name) not in present],
        targets=targets,
        anyway=found.verdict if unlike else None,
    )
    _check_target(planned, [one for one in there if (one.bucket, one.name) not in no_matter])
    return planned


def _check_target(planned: Plan, there: Sequence[StorageObject]) -> None:
    """
    Check that the target will have the files of the source, and no others.

    Raises:
        Refused: It has others already.
    """
    wanted = {
        (planned.targets[one.bucket], one.name): (one.size, one.crc32c) for one in planned.files
    }
    contents = {(_file_name(name), *content) for (_, name), content in wanted.items()}
    others, more = [], []
    for one in there:
        content = (one.size, one.crc32c)
        if wanted.get((one.bucket, one.name), content) != content:
            others.append(f"gs://{one.bucket}/{one.name}")
        elif (_file_name(one.name), *content) not in contents:
            more.append(f"gs://{one.bucket}/{one.name}")
    remedy = "withdraw it first, or give this model a new version"
    if others:
        raise Refused(
            f"expected the same bytes in {planned.target} or none, found others at"
            f" {named(others)}: nothing is overwritten; {remedy}"
        )
    if more:
        raise Refused(
            f"expected only the files of {planned.source} in {planned.target}, found {named(more)}"
            f" too: {remedy}"
        )


def _file_name(name: str) -> str:
    return name.removeprefix(folder_of(name))


def promote(planned: Plan, connect: Connect, on_object: Callable[[], None] = lambda: None) -> None:
    """
    Make the copies, some at a time, and compare the checksums of all files.

    It can be stopped at any time, and run again.

    Raises:
        Refused: Something has changed meanwhile.
        StorageFailed, ListingFailed: Cloud Storage did not do it.
    """
    buckets = {name: connect(target) for name, target in planned.targets.items()}

    def copy(stored: StorageObject) -> None:
        bucket = buckets[stored.bucket]
        bucket.copy(stored, planned.metadata(stored, bucket.account))

    each(copy, planned.copies, on_object)
    places = {(planned.targets[one.bucket], folder_of(one.name)): None for one in planned.files}
    there = {
        (one.bucket, one.name): (one.size, one.crc32c)
        for place in places
        for one in listed_in(connect, *place)
    }
    if unlike := [
        f"gs://{planned.targets[one.bucket]}/{one.name}"
        for one in planned.files
        if there.get((planned.targets[one.bucket], one.name)) != (one.size, one.crc32c)
    ]:
        raise Refused(
            f"expected the checksums of {planned.source}, found others or none at {named(unlike)}:"
            " somebody else changed them; run it again"
        )


def wait_until_identical(
    planned: Plan,
    inventory: Inventory,
    seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """
    Ask the registry until it says that the target is the same as the source.

    If the source is not the environment before, their fingerprints are compared.

    Raises:
        Refused: It does not within that time, or says that they differ.
        QueryFailed: BigQuery does not answer.
    """
    wanted = Filter(environments=[planned.source, planned.target])

    def missing() -> str | None:
        found = {
            row.environment: row
            for row in inventory.model_versions(planned.model, wanted)
            if row.model_version == planned.version
        }
        return unlike(found.get(planned.source), found.get(planned.target))

    wait_until(missing, seconds, sleep, f"{planned.model} v{planned.version} in {planned.target}")


def unlike(source: ModelVersion | None, target: ModelVersion | None) -> str | None:
    """Return what the target lacks to be the same as the source; None if it is."""
    if target is None or source is None or target.removed_at is not None:
        return "none of its files"
    if target.before == source.environment:
        same = target.comparison == Comparison.IDENTICAL
    else:
        same = target.fingerprint is not None and target.fingerprint == source.fingerprint
    if same:
        return None
    kinds = {
        "missing": target.missing_files,
        "different": target.different_files,
        "not in the source": target.extra_files,
    }
    files = "; ".join(f"{kind}: {named(names)}" for kind, names in kinds.items() if names)
    return ", ".join(filter(None, [target.verdict or "other files", files]))
