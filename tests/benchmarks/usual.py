"""What most people write: a client for each event, and one row."""

from datetime import UTC, datetime

import functions_framework
from cloudevents.http import CloudEvent
from google.cloud import bigquery


@functions_framework.cloud_event
def register_model(event: CloudEvent) -> None:
    """Insert a row for the uploaded file."""
    data = event.data
    model_name, version, _ = data["name"].split("/", 2)
    row = {
        "model_name": model_name,
        "model_version": int(version.removeprefix("v")),
        "environment": data["bucket"].rpartition("-")[2],
        "gcs_bucket": data["bucket"],
        "gcs_path": data["name"],
        "file_size_bytes": int(data["size"]),
        "upload_timestamp": data["timeCreated"],
        "uploader": data.get("metadata", {}).get("uploader"),
        "registered_at": datetime.now(UTC).isoformat(),
    }
    errors = bigquery.Client().insert_rows_json("ml_registry.models", [row])
    if errors:
        raise RuntimeError(errors)
