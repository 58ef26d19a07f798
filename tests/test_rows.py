"""What a row says in words."""

from datetime import UTC, datetime

import pytest

from registry.rows import LatestModel

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("environment", "differing", "expected"),
    [
        ("prod", [], ""),
        ("prod", [9], ""),  # the latest has its own comparison
        ("prod", [9, 7], "not as in staging: v7"),
        ("staging", [5, 4, 3, 2, 1], "not as in dev: v5, v4, v3, v2, v1"),
        ("prod", [8, 7, 6, 5, 4, 3, 2], "not as in staging: v8, v7, v6, v5, v4 and 2 more"),
    ],
)
def test_the_other_versions_that_differ_are_named(
    environment: str, differing: list[int], expected: str
) -> None:
    latest = LatestModel(
        model_name="m",
        model_version=9,
        environment=environment,
        files=1,
        total_bytes=1,
        first_upload_timestamp=NOON,
        last_upload_timestamp=NOON,
        uploaders=[],
        overwrites=0,
        fingerprint=None,
        removed_at=None,
        uri="gs://b/m/v9/",
        staging_vs_dev=None,
        prod_vs_staging=None,
        different_files=[],
        missing_files=[],
        extra_files=[],
        versions_behind_dev=0,
        versions=9,
        versions_total_bytes=1,
        differing_versions=differing,
    )

    assert latest.others_differing == expected
