"""The recorded fact that a generation of an artifact is no longer live in its bucket."""

import hashlib
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """
    A generation that a reconciliation found missing, and when.

    `generation` is None if its registration has none: then `upload_timestamp` stands for it.
    """

    bucket: str
    name: str
    generation: int | None
    upload_timestamp: datetime | None
    found_at: datetime

    @property
    def insert_id(self) -> str:
        """What BigQuery recognizes a repeat by: the same each time the generation is missed."""
        identity = f"{self.bucket}/{self.name}#{self.generation or self.upload_timestamp}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def row(self) -> dict[str, str | None]:
        """Return column and value, as `tabledata.insertAll` takes them."""
        time = self.upload_timestamp
        return {
            "gcs_bucket": self.bucket,
            "gcs_path": self.name,
            "generation": None if self.generation is None else str(self.generation),
            "upload_timestamp": time.isoformat() if time else None,
            "found_at": self.found_at.isoformat(),
        }
