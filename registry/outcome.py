"""What an event led to."""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """What an event can lead to."""

    REGISTERED = "registered"
    REMOVED = "removed"
    SKIPPED = "skipped"
    INVALID = "invalid"
    FAILED = "failed"


class Severity(StrEnum):
    """How Cloud Logging ranks a line."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    What an event led to, and whatever could be read from the event.

    `error` is set only if the event has to be delivered again.
    """

    result: Result
    severity: Severity
    message: str
    event_id: str | None = None
    environment: str | None = None
    gcs_bucket: str | None = None
    gcs_path: str | None = None
    generation: int | None = None
    model_name: str | None = None
    model_version: int | None = None
    error: Exception | None = None
