"""What a Cloud Storage event says of an object."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from cloudevents.http import CloudEvent

from registry.errors import InvalidEvent, OtherEventType

FINALIZED = "google.cloud.storage.object.v1.finalized"

_INT64_MAX = 2**63 - 1
_NAME_MAX_BYTES = 1024
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageObject:
    """
    One generation of an object, as its finalized event describes it.

    `size` is in bytes, `time_created` is in UTC, `crc32c` and `md5_hash` are in base64 as Cloud
    Storage gives them; a composite object has no `md5_hash`. `metadata` is the custom metadata,
    empty when none was set.
    """

    bucket: str
    name: str
    generation: int
    size: int
    time_created: datetime
    crc32c: str | None
    md5_hash: str | None
    metadata: Mapping[str, Any]

    @classmethod
    def from_event(cls, event: CloudEvent) -> Self:
        """
        Read a finalized event.

        The name is taken from the body: the attribute `subject` travels in a header, where
        anything but ASCII arrives garbled.

        Raises:
            OtherEventType: It is not a finalized event.
            InvalidEvent: A required fact is missing or unreadable.
        """
        if event["type"] != FINALIZED:
            raise OtherEventType(
                f"expected an event of type {FINALIZED}, found {event['type']!r}: deploy the"
                f" function with --trigger-event-filters=type={FINALIZED} and"
                " --trigger-event-filters=bucket=<bucket>"
            )
        data = event.data
        if not isinstance(data, Mapping):
            raise InvalidEvent(f"data: expected a JSON object, found {_shorten(data)}")
        return cls(
            bucket=_text(data, "bucket"),
            name=_text(data, "name", max_bytes=_NAME_MAX_BYTES),
            generation=_int64(data, "generation"),
            size=_int64(data, "size"),
            time_created=_time(data, "timeCreated"),
            crc32c=_optional_text(data, "crc32c"),
            md5_hash=_optional_text(data, "md5Hash"),
            metadata=_metadata(data),
        )


def _text(data: Mapping[str, Any], key: str, *, max_bytes: int | None = None) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidEvent(f"{key}: expected text, found {_shorten(value)}")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent(f"{key}: expected Unicode text, found {_shorten(value)}") from error
    if max_bytes is not None and len(encoded) > max_bytes:
        raise InvalidEvent(
            f"{key}: expected at most {max_bytes} bytes, found {len(encoded)}: {_shorten(value)}"
        )
    return value


def _optional_text(data: Mapping[str, Any], key: str) -> str | None:
    return None if data.get(key) is None else _text(data, key)


def _int64(data: Mapping[str, Any], key: str) -> int:
    """Cloud Storage writes an int64 as a string of digits; some of its samples, as a number."""
    value = data.get(key)
    digits = str(value) if type(value) is int else value
    if isinstance(digits, str) and re.fullmatch(r"[0-9]{1,19}", digits):
        number = int(digits)
        if number <= _INT64_MAX:
            return number
    raise InvalidEvent(
        f"{key}: expected a whole number from 0 to {_INT64_MAX}, found {_shorten(value)}"
    )


def _time(data: Mapping[str, Any], key: str) -> datetime:
    value = data.get(key)
    try:
        time = datetime.fromisoformat(_text(data, key))
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidEvent(
        f"{key}: expected an RFC 3339 time such as '2026-03-01T12:00:00.123Z',"
        f" found {_shorten(value)}"
    )


def _metadata(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    Cloud Storage sends text only; plain numbers and such are let through, being harmless.

    What BigQuery could not store in a JSON column is refused here, as a row that BigQuery
    refuses would come back for a day.
    """
    value = data.get("metadata")
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(map(_is_scalar, value.values())):
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except ValueError:  # NaN is not JSON, and a lone surrogate is not Unicode text
            pass
        else:
            return value
    raise InvalidEvent(f"metadata: expected an object of text values, found {_shorten(value)}")


def _is_scalar(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) <= _INT64_MAX
    return value is None or isinstance(value, str | float)


def _shorten(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
