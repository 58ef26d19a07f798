"""The layout of the picture, without a picture."""

from datetime import UTC, datetime, timedelta

import pytest

from registry.rows import ModelVersion
from registry.timeline import LEFT, RIGHT, WIDTH, Timeline

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def version(
    number: int, environment: str, days: float, comparison: str | None = None
) -> ModelVersion:
    time = BEGIN + timedelta(days=days)
    return ModelVersion(
        model_name="m",
        model_version=number,
        environment=environment,
        files=1,
        total_bytes=1,
        first_upload_timestamp=time,
        last_upload_timestamp=time,
        uploaders=[],
        overwrites=0,
        fingerprint=None,
        removed_at=None,
        uri="gs://b/m/v1/",
        different_files=[],
        missing_files=[],
        extra_files=[],
        staging_vs_dev=comparison if environment == "staging" else None,
        prod_vs_staging=comparison if environment == "prod" else None,
    )


def test_time_goes_from_left_to_right_and_environments_have_lanes() -> None:
    timeline = Timeline.of([version(1, "prod", 10), version(1, "dev", 0), version(1, "staging", 5)])

    assert [dot.version.environment for dot in timeline.dots] == ["dev", "staging", "prod"]
    assert [dot.x for dot in timeline.dots] == [LEFT, (LEFT + WIDTH - RIGHT) // 2, WIDTH - RIGHT]
    assert [
        (name, dot.y) for (name, _), dot in zip(timeline.lanes, timeline.dots, strict=True)
    ] == [*timeline.lanes]


def test_a_line_leads_to_the_next_environment_that_has_the_version() -> None:
    timeline = Timeline.of(
        [
            *(version(1, "dev", 0), version(1, "staging", 1), version(1, "prod", 2)),
            *(version(2, "dev", 3), version(2, "prod", 4)),
            version(3, "dev", 5),
        ]
    )

    assert [
        (start.version.model_version, start.version.environment, end.version.environment)
        for start, end in timeline.lines
    ] == [(1, "dev", "staging"), (1, "staging", "prod"), (2, "dev", "prod")]


def test_a_label_that_would_lie_on_another_is_left_out() -> None:
    timeline = Timeline.of(
        [
            version(1, "dev", 0),
            version(2, "dev", 0.1),
            version(3, "dev", 50),
            version(2, "prod", 0.1),
        ]
    )

    assert [dot.label for dot in timeline.dots] == ["v1", "", "v2", "v3"]


def test_one_version_alone_is_drawn_as_well() -> None:
    timeline = Timeline.of([version(1, "dev", 0)])

    assert [dot.x for dot in timeline.dots] == [LEFT]
    assert len(timeline.ticks) == 1


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (60, "2026-03-01"),
        (2, "2026-03-01 12:00"),
        (0.001, "2026-03-01 12:00:00"),
        (0, "2026-03-01 12:00:00"),
    ],
)
def test_times_are_as_fine_as_the_span_asks_for(days: float, expected: str) -> None:
    timeline = Timeline.of([version(1, "dev", 0), version(2, "dev", days)])

    assert timeline.ticks[0] == (expected, LEFT)
    assert timeline.ticks[-1][1] == (WIDTH - RIGHT if days else LEFT)
    assert len({text for text, _ in timeline.ticks}) == len(timeline.ticks)
