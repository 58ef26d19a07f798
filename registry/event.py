"""What a Cloud Storage event says about an object."""

import base64
import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from cloudevents.http import CloudEvent

from registry.artifact import INT64_MAX
from registry.errors import InvalidEvent, OtherEventType, shorten

FINALIZED = "google.cloud.storage.object.v1.finalized"
# When a generation is no longer live: the second if the bucket keeps it, otherwise the first. The
# first also comes when a generation that was kept is deleted.
DELETED = "google.cloud.storage.object.v1.deleted"
ARCHIVED = "google.cloud.storage.object.v1.archived"

_TYPES = (FINALIZED, DELETED, ARCHIVED)  # no set: in a structured event a type may be a list
_PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
# The types of a bucket's notifications, and of the same as events.
_NOTIFICATIONS = {
    "OBJECT_FINALIZE": FINALIZED,
    "OBJECT_DELETE": DELETED,
    "OBJECT_ARCHIVE": ARCHIVED,
    "OBJECT_METADATA_UPDATE": "google.cloud.storage.object.v1.metadataUpdated",
}

# Cloud Storage's own limits.
_BUCKET_MAX_BYTES = 222
_NAME_MAX_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageObject:
    """
    One generation of an object, as its event or a list of its bucket describes it.

    `size` is in bytes, times are in UTC, `crc32c` and `md5_hash` are in base64 as Cloud Storage
    sends them; a composite object has no `md5_hash`. `metadata` is the custom metadata, empty when
    none was set. `time_deleted` is when the generation stopped being live; None while it is live.
    `properties` are what a copy keeps besides, such as the content type, if they were asked for.
    `is_growing` while somebody still appends to it; then `size` and checksums will change.
    """

    bucket: str
    name: str
    generation: int
    size: int
    time_created: datetime
    crc32c: str | None
    md5_hash: str | None
    metadata: Mapping[str, Any]
    time_deleted: datetime | None = None
    is_growing: bool = False
    properties: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def from_event(cls, event: CloudEvent) -> Self:
        """
        Read the event of an object that arrived, or is no longer live.

        The name is taken from the body: the attribute `subject` is sent in a header, where anything
        but ASCII arrives garbled.

        Raises:
            OtherEventType: It is another event.
            InvalidEvent: A required fact is missing or unreadable.
        """
        if event["type"] not in _TYPES:
            raise OtherEventType(
                f"expected an event of type {FINALIZED}, {DELETED} or {ARCHIVED},"
                f" found {shorten(event['type'])}: deploy/<environment>.sh makes a trigger for each"
            )
        data = event.data
        if not isinstance(data, Mapping):
            raise InvalidEvent(f"data: expected a JSON object, found {shorten(data)}")
        removed = event["type"] != FINALIZED
        return cls(
            bucket=_text(data, "bucket", max_bytes=_BUCKET_MAX_BYTES),
            name=_text(data, "name", max_bytes=_NAME_MAX_BYTES),
            generation=_int64(data, "generation"),
            size=_int64(data, "size"),
            time_created=_time(data, "timeCreated"),
            crc32c=_optional_text(data, "crc32c"),
            md5_hash=_optional_text(data, "md5Hash"),
            metadata=custom_metadata(data.get("metadata")),
            time_deleted=_removal_time(event, data) if removed else None,
        )


def unwrap(event: CloudEvent) -> CloudEvent:
    """
    Return the event that a Pub/Sub message holds. A dead letter that is sent again arrives in one.

    Never raises. Any other event or message is returned as it is.
    https://docs.cloud.google.com/storage/docs/pubsub-notifications
    """
    if event["type"] != _PUBLISHED:
        return event
    message = _mapping(_mapping(event.data).get("message"))
    attributes = _mapping(message.get("attributes"))
    kind = _NOTIFICATIONS.get(str(attributes.get("eventType")))
    if kind is None:
        return event
    data = message.get("data")
    with contextlib.suppress(ValueError, RecursionError):  # then it is reported as it is
        data = json.loads(base64.b64decode(str(data)))
    # The message's own time is when it became a dead letter.
    time = attributes.get("eventTime", event.get("time"))
    return CloudEvent({**event.get_attributes(), "type": kind, "time": time}, data)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(data: Mapping[str, Any], key: str, *, max_bytes: int) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidEvent(f"{key}: expected text, found {shorten(value)}")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent(f"{key}: expected Unicode text, found {shorten(value)}") from error
    if len(encoded) > max_bytes:
        raise InvalidEvent(
            f"{key}: expected at most {max_bytes} bytes, found {len(encoded)}: {shorten(value)}"
        )
    return value


def _optional_text(data: Mapping[str, Any], key: str) -> str | None:
    """Read a fact that may be missing. If it is unusable, the upload is registered without it."""
    value = data.get(key)
    return value if isinstance(value, str) and value and _is_storable(value) else None


def _int64(data: Mapping[str, Any], key: str) -> int:
    """Read an int64: Cloud Storage writes it as digits in a string, some samples as a number."""
    value = data.get(key)
    digits = str(value) if type(value) is int else value
    if isinstance(digits, str) and re.fullmatch(r"[0-9]{1,19}", digits):
        number = int(digits)
        if number <= INT64_MAX:
            return number
    raise InvalidEvent(
        f"{key}: expected a whole number from 0 to {INT64_MAX}, found {shorten(value)}"
    )


def _time(data: Mapping[str, Any] | CloudEvent, key: str) -> datetime:
    value: Any = data.get(key)
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidEvent(
        f"{key}: expected a time with its zone, such as '2026-03-01T12:00:00.123Z',"
        f" found {shorten(value)}"
    )


def _removal_time(event: CloudEvent, data: Mapping[str, Any]) -> datetime:
    """Read when a generation stopped being live: at the event's own time if that is not said."""
    if data.get("timeDeleted") is None and event.get("time") is not None:
        return _time(event, "time")
    return _time(data, "timeDeleted")


def custom_metadata(value: object) -> Mapping[str, Any]:
    """
    Read the custom metadata. Cloud Storage sends text; plain numbers are harmless.

    If BigQuery could not store the metadata, the upload is registered without it: otherwise the
    event would fail and come back for a day.
    """
    if isinstance(value, Mapping) and all(map(_is_scalar, value.values())) and _is_storable(value):
        return value
    return {}


def _is_scalar(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) <= INT64_MAX
    return value is None or isinstance(value, str | float)


def _is_storable(value: object) -> bool:
    """Whether it is valid JSON. Python also accepts NaN and half of a surrogate pair."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True
