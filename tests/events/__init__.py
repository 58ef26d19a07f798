"""
Events as Cloud Storage sends them.

Each JSON file is a case: what is delivered, and what has to come out. The functions make others.
"""

from datetime import UTC, datetime
from typing import Any

from cloudevents.http import CloudEvent
from google.cloud import bigquery
from hypothesis import strategies as st

from registry.artifact import ArtifactPath
from registry.environment import Environment
from registry.event import FINALIZED, StorageObject
from registry.registration import Registration

MISSING = object()
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HEADERS = {
    "ce-id": "1215011316659232",
    "ce-specversion": "1.0",
    "ce-type": FINALIZED,
    "ce-source": "//storage.googleapis.com/projects/_/buckets/ml-models-dev",
    "content-type": "application/json",
}
LOG_KEYS = [
    *("severity", "message", "outcome", "environment", "event_id", "gcs_bucket", "gcs_path"),
    *("generation", "model_name", "model_version", "duration_ms"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def finalized(data: object, event_type: str = FINALIZED) -> CloudEvent:
    """Make an event as the framework passes it to the function."""
    attributes = {"type": event_type, "source": "//storage.googleapis.com/projects/_/buckets/b"}
    return CloudEvent(attributes, data)


def body(**changes: object) -> dict[str, Any]:
    """Make the body of an event; a value of MISSING leaves a field out."""
    fields: dict[str, Any] = {
        "bucket": "ml-models-dev",
        "name": "titanic-survival/v1/model.pkl",
        "generation": "1587627537231057",
        "size": "352",
        "timeCreated": "2020-04-23T07:38:57.230Z",
        "crc32c": "rTVTeQ==",
        "md5Hash": "kF8MuJ5+CTJxvyhHS1xzRg==",
        "metadata": {"uploader": "ada", "git_sha": "8d1f2ab"},
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not MISSING}


def registration(at: datetime = NOW, **changes: object) -> Registration:
    """Make the registration of an event's body with these changes."""
    stored = StorageObject.from_event(finalized(body(**changes)))
    return Registration(
        artifact=ArtifactPath.parse(stored.name),
        environment=Environment.of_bucket(stored.bucket),
        stored=stored,
        registered_at=at,
    )


def select(client: bigquery.Client, table: str, path: str, *, without: str) -> list[dict[str, Any]]:
    """Read the rows of one object, without some columns."""
    parameter = bigquery.ScalarQueryParameter("path", "STRING", path)
    rows = client.query_and_wait(
        f"SELECT * EXCEPT ({without}) FROM ml_registry.{table} WHERE gcs_path = @path"  # noqa: S608
        " ORDER BY generation, gcs_bucket",
        job_config=bigquery.QueryJobConfig(query_parameters=[parameter]),
    )
    return [
        {
            name: value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in rows
    ]
