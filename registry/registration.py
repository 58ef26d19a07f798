"""The recorded fact that one generation of an artifact arrived."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from registry.artifact import ArtifactPath
from registry.environment import Environment
from registry.event import StorageObject

# The columns that an older table may lack.
LINEAGE = frozenset({"generation", "crc32c", "md5_hash", "metadata"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """
    One generation of an artifact, and when it was registered.

    `registered_at` is the function's clock, with a time zone; the rest comes from the event.
    `corrects` if an earlier registration of the same generation lacks something, or says something
    else.
    """

    artifact: ArtifactPath
    environment: Environment
    stored: StorageObject
    registered_at: datetime
    corrects: bool = False

    @property
    def insert_id(self) -> str:
        """
        What BigQuery recognizes a repeat by: the same for each delivery of the same write.

        The event's own id would not work: Cloud Storage may publish one write twice. It is hashed
        because an insert id holds 128 bytes, and a name up to 1,024.
        """
        stored = self.stored
        identity = f"{stored.bucket}/{stored.name}#{stored.generation}"
        if self.corrects:  # no repeat of what it corrects, nor of another correction
            identity += f" {stored.size} {stored.crc32c} {json.dumps(dict(stored.metadata))}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def row(self) -> dict[str, str | None]:
        """Return column and value, as `tabledata.insertAll` takes them: INT64 and JSON as text."""
        stored = self.stored
        uploader = stored.metadata.get("uploader") or None
        return {
            "model_name": self.artifact.model_name,
            "model_version": str(self.artifact.model_version),
            "environment": self.environment.value,
            "gcs_bucket": stored.bucket,
            "gcs_path": stored.name,
            "file_size_bytes": str(stored.size),
            "upload_timestamp": stored.time_created.isoformat(),
            "uploader": uploader if isinstance(uploader, str) else None,
            "registered_at": self.registered_at.isoformat(),
            "generation": str(stored.generation),
            "crc32c": stored.crc32c,
            "md5_hash": stored.md5_hash,
            "metadata": json.dumps(dict(stored.metadata)) if stored.metadata else None,
        }

    def __str__(self) -> str:
        """Return what arrived where: `fraud-detection v3 model.pkl in dev`."""
        return f"{self.artifact} in {self.environment}"
