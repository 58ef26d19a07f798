"""Whether an upload is registered, and if not, why not and what to do."""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from registry.artifact import ArtifactPath
from registry.environment import Environment
from registry.errors import FolderMarker, InvalidArtifactPath, NotForTheRegistry
from registry.event import StorageObject
from registry.finding import Difference, compare
from registry.rows import Generation, Registered, Row
from registry.settings import DEFAULT_BUCKET_PREFIX

_EVENTS_TAKE = timedelta(minutes=5)  # usually seconds; a function that starts needs some more


class Status(StrEnum):
    """What is the matter with an upload."""

    REGISTERED = "registered"
    ON_ITS_WAY = "on its way"
    GROWING = "growing"
    UNREGISTERED = "not registered"
    CHANGED = "changed"
    REMOVED = "removed"
    NOT_THERE = "not there"
    OUTSIDE_THE_LAYOUT = "outside the layout"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow(Row):
    """
    What is known of an object's name.

    `generation` and the times are the registry's, of the newest registration. `live_generation` is
    the bucket's. `in_bucket` is None if the bucket could not be asked.
    """

    status: str
    gcs_bucket: str
    gcs_path: str
    reason: str
    model_name: str | None = None
    model_version: int | None = None
    environment: str | None = None
    generation: int | None = None
    upload_timestamp: datetime | None = None
    registered_at: datetime | None = None
    in_bucket: bool | None = None
    live_generation: int | None = None


def check_folder(
    bucket: str,
    listed: Iterable[StorageObject] | None,
    known: Iterable[Generation],
    now: datetime,
) -> list[CheckRow]:
    """Check each file of a version's folder, by name; `known` has the newest generation of each."""
    live = {one.name: one for one in listed or () if one.size or not one.name.endswith("/")}
    registered = {one.gcs_path: one for one in known}
    return [
        check(
            bucket,
            name,
            live.get(name),
            [registered[name]] if name in registered else [],
            now,
            asked=listed is not None,
        )
        for name in sorted({*live, *registered})
        if name in live or not registered[name].removed_at
    ]


def check(  # noqa: PLR0913 - what is known, from where
    bucket: str,
    name: str,
    live: StorageObject | None,
    known: Sequence[Generation],
    now: datetime,
    *,
    asked: bool,
) -> CheckRow:
    """
    Say what is the matter with one object's name.

    `live` is the object in the bucket, None if there is none, or if the bucket could not be asked.
    `known` are the generations that the registry has, the newest first.
    """
    newest = next(iter(known), None)
    in_bucket = live is not None if asked else None
    live_generation = live.generation if live else None
    try:
        artifact = ArtifactPath.parse(name, size=live.size if live else 0)
        environment = Environment.of_bucket(bucket)
    except NotForTheRegistry as error:
        return CheckRow(
            status=Status.OUTSIDE_THE_LAYOUT,
            gcs_bucket=bucket,
            gcs_path=name,
            reason=_outside(error, name, in_bucket=in_bucket),
            in_bucket=in_bucket,
            live_generation=live_generation,
        )
    reconcile = _reconcile(bucket, artifact, environment)
    if live is None:
        status, reason = _without_object(newest, reconcile, asked=asked)
    else:
        status, reason = _with_object(live, known, now, reconcile)
    if newest and status == Status.REGISTERED:
        reason = _described(newest, artifact)
    return CheckRow(
        status=status,
        gcs_bucket=bucket,
        gcs_path=name,
        reason=reason,
        model_name=artifact.model_name,
        model_version=artifact.model_version,
        environment=environment,
        generation=newest.generation if newest else None,
        upload_timestamp=newest.upload_timestamp if newest else None,
        registered_at=newest.registered_at if newest else None,
        in_bucket=in_bucket,
        live_generation=live_generation,
    )


def _outside(error: NotForTheRegistry, name: str, *, in_bucket: bool | None) -> str:
    """Return why a name is outside the layout; of a folder, why the files in it are."""
    if isinstance(error, FolderMarker):
        try:
            ArtifactPath.parse(f"{name}model.pkl")
        except InvalidArtifactPath as of_file:
            return f"no file directly in this folder is registered: {of_file}"
    there = {None: "", True: "; the object is in the bucket", False: "; there is no such object"}
    return f"{error}{there[in_bucket]}"


def _without_object(
    newest: Generation | None, reconcile: str, *, asked: bool
) -> tuple[Status, str]:
    if newest is None and asked:
        reason = "neither the bucket nor the registry has it: check the name, or upload it"
        return Status.NOT_THERE, reason
    if newest is None:
        return Status.UNREGISTERED, "the registry does not have it"
    if newest.removed_at:
        removed = f"it was removed at {_time(newest.removed_at)}: upload it again if it is needed"
        return Status.REMOVED, removed
    if asked:
        reason = f"the registry has it, the bucket does not; if that stays so, run {reconcile}"
        return Status.REMOVED, reason
    return Status.REGISTERED, ""


def _with_object(
    live: StorageObject, known: Sequence[Generation], now: datetime, reconcile: str
) -> tuple[Status, str]:
    if live.is_growing:
        return Status.GROWING, "somebody still appends to it: it is registered once it is finalized"
    findings = list(compare([live], map(_row, known)))
    if not findings:
        return Status.REGISTERED, ""
    if findings[0].difference != Difference.UNREGISTERED:
        differs = "; ".join(filter(None, (one.reason or one.difference for one in findings)))
        return Status.CHANGED, f"the bucket has something else: {differs}: run {reconcile}"
    older = "" if not known else f"it was overwritten, the registry has {known[0].generation}; "
    if now - live.time_created < _EVENTS_TAKE:
        return Status.ON_ITS_WAY, f"{older}its event is on the way, usually for seconds: ask again"
    lost = f"its event was lost, or came before the function: run {reconcile}"
    return Status.UNREGISTERED, f"{older}{lost}"


def _reconcile(bucket: str, artifact: ArtifactPath, environment: Environment) -> str:
    """Return the command that makes the registry catch up with a version."""
    prefix = bucket.removesuffix(f"-{environment}")
    words = ["model-registry", "reconcile", environment, "--prefix", f"{artifact.model_name}/"]
    if prefix != DEFAULT_BUCKET_PREFIX:
        words += ["--bucket-prefix", prefix]
    return shlex.join(words)


def _described(newest: Generation, artifact: ArtifactPath) -> str:
    uploaded = _time(newest.upload_timestamp or newest.registered_at)
    who = f" by {newest.uploader}" if newest.uploader else ""
    return (
        f"{artifact} in {newest.environment}, uploaded {uploaded}{who},"
        f" registered {_time(newest.registered_at)}, generation {newest.generation}"
    )


def _row(known: Generation) -> Registered:
    return Registered(
        name=known.gcs_path,
        generation=known.generation,
        upload_timestamp=known.upload_timestamp,
        registered_at=known.registered_at,
        size=known.file_size_bytes,
        crc32c=known.crc32c,
        metadata=json.dumps(known.metadata),
        removed=known.removed_at is not None,
    )


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
