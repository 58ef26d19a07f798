"""The recorded fact that a generation of an artifact is no longer live in its bucket."""

import hashlib
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """
    A generation that stopped being live at `removed_at`, or is live again if that is None.

    `recorded_by` is the event, `deleted` or `archived`, or `reconciliation`. `generation` is None
    if its registration has none: then `upload_timestamp` stands for it. Times have a zone.
    """

    bucket: str
    name: str
    generation: int | None
    upload_timestamp: datetime | None
    removed_at: datetime | None
    recorded_at: datetime
    recorded_by: str

    @property
    def insert_id(self) -> str:
        """What BigQuery recognizes a repeat by: the same for each delivery of the same event."""
        identity = f"{self.bucket}/{self.name}#{self.generation or self.upload_timestamp}"
        change = f"removed {self.removed_at}" if self.removed_at else f"live {self.recorded_at}"
        return hashlib.sha256(f"{identity} {change} {self.recorded_by}".encode()).hexdigest()

    def row(self) -> dict[str, str | None]:
        """Return column and value, as `tabledata.insertAll` takes them."""
        return {
            "gcs_bucket": self.bucket,
            "gcs_path": self.name,
            "generation": None if self.generation is None else str(self.generation),
            "upload_timestamp": _text(self.upload_timestamp),
            "removed_at": _text(self.removed_at),
            "recorded_at": self.recorded_at.isoformat(),
            "recorded_by": self.recorded_by,
        }


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
