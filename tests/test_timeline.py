"""The layout of the picture, without a picture."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from registry.rows import Change, ModelHistory
from registry.ticks import round_dates
from registry.timeline import CHARACTER, MARKS, NOW, WIDTH, Period, Timeline, periods
from tests.page_states import make

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)

type Event = tuple[float, str] | tuple[float, str, int]


def day(number: float) -> datetime:
    return BEGIN + timedelta(days=number)


def version(
    number: int,
    environment: str,
    *events: Event,
    removed: float | None = None,
    comparison: str | None = None,
) -> ModelHistory:
    """Make a version to which something happened on some days: to one file, or to so many."""
    where = {"model_version": number, "environment": environment}
    changes = [
        make(
            Change,
            **where,
            changed_at=day(event[0]),
            change=event[1],
            files=event[2] if len(event) > 2 else 1,
            ended_at=day(event[0]),
        )
        for event in events
    ]
    return make(
        ModelHistory,
        **where,
        first_upload_timestamp=day(events[0][0]),
        last_upload_timestamp=day(events[-1][0]),
        removed_at=None if removed is None else day(removed),
        staging_vs_dev=comparison if environment == "staging" else None,
        prod_vs_staging=comparison if environment == "prod" else None,
        changes=changes[::-1],
    )


def arrived(number: int, environment: str, days: float) -> ModelHistory:
    return version(number, environment, (days, "arrived"))


def told(found: Sequence[Period]) -> list[tuple[str, float, float | None, int | None]]:
    """Return periods in days."""
    return [
        (
            period.name,
            (period.start - BEGIN) / timedelta(days=1),
            None if period.end is None else (period.end - BEGIN) / timedelta(days=1),
            period.replaced_by,
        )
        for period in found
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [arrived(1, "prod", 0), arrived(2, "prod", 5)],
            [("v1", 0, 5, 2), ("v2", 5, None, None)],
        ),
        # A lower version that comes later changes nothing.
        ([arrived(2, "prod", 0), arrived(1, "prod", 5)], [("v2", 0, None, None)]),
        # Both at once.
        ([arrived(2, "prod", 0), arrived(1, "prod", 0)], [("v2", 0, None, None)]),
        # It was taken out again: the one below is the highest once more.
        (
            [arrived(1, "prod", 0), version(2, "prod", (5, "arrived"), (7, "removed"), removed=7)],
            [("v1", 0, 5, 2), ("v2", 5, 7, None), ("v1", 7, None, None)],
        ),
        # Nothing was left for a while.
        (
            [version(1, "prod", (0, "arrived"), (2, "removed"), (3, "reappeared"))],
            [("v1", 0, 2, None), ("v1", 3, None, None)],
        ),
        # Only one of two files was removed, and what was written does not count.
        (
            [
                version(
                    1,
                    "prod",
                    *((0, "arrived"), (1, "completed"), (2, "removed"), (3, "overwritten")),
                    *((4, "rewritten"), (5, "removed")),
                    removed=5,
                )
            ],
            [("v1", 0, 5, None)],
        ),
        # The view knows better than its last hundred changes.
        ([version(1, "prod", (0, "removed"), (1, "overwritten"))], [("v1", 0, None, None)]),
        ([version(1, "prod", (0, "arrived"), (2, "removed", 9))], [("v1", 0, None, None)]),
    ],
)
def test_what_was_in_an_environment_on_a_date_can_be_read_off(
    rows: list[ModelHistory], expected: list[tuple[str, float, float | None, int | None]]
) -> None:
    assert told([*periods(rows)]) == expected


def test_a_version_that_came_back_while_the_last_files_went_is_there() -> None:
    row = version(1, "prod", (0, "arrived"), (2, "removed"), (3, "reappeared"))
    back, gone, first = row.changes
    row = replace(row, changes=[back, replace(gone, ended_at=day(4)), first])

    assert told([*periods([row])]) == [("v1", 0, None, None)]


def test_a_bar_is_as_long_as_its_period_and_the_last_one_ends_now() -> None:
    rows = [arrived(1, "dev", 0), arrived(2, "dev", 5), arrived(1, "prod", 8)]

    timeline = Timeline.of(rows, day(10))

    bars = [(bar.period.name, bar.x, bar.width) for bar in timeline.bars]
    assert bars == [("v2", NOW / 2, NOW / 2), ("v1", 0, NOW / 2), ("v1", NOW * 0.8, NOW * 0.2)]
    assert [lane.environment for lane in timeline.lanes] == ["dev", "prod"]
    assert timeline.bars[0].y < timeline.bars[2].y < timeline.height


def test_a_version_alone_takes_little_room() -> None:
    timeline = Timeline.of([arrived(1, "dev", 0)], day(0))

    assert timeline.height <= 100
    [bar] = timeline.bars
    assert (bar.label, bar.x, bar.width) == ("v1", NOW, 2)
    assert bar.label_x + 2 * CHARACTER < NOW  # next to the line of now, not through it


def test_labels_are_in_their_bar_or_above_it_and_never_on_one_another() -> None:
    rows = [arrived(number, "dev", number * 4) for number in range(60)]
    rows += [arrived(number, "dev", 260 + number / 10) for number in range(60, 100)]

    timeline = Timeline.of(rows, day(300))

    above = [bar for bar in timeline.bars if bar.label and bar.label_y < bar.y]
    inside = [bar for bar in timeline.bars if bar.label and bar.label_y > bar.y]
    spans = sorted((bar.label_x, bar.label_x + len(bar.label) * CHARACTER) for bar in above)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert [(bar.label, bar.anchor) for bar in inside] == [("v99", "end"), ("v59", "start")]
    assert 10 < len(above) < len(timeline.bars) - 20
    assert len(timeline.bars) == 100


def test_what_happened_is_marked_below_its_bar() -> None:
    timeline = Timeline.of(
        [
            version(3, "dev", (0, "arrived"), (1, "overwritten"), (2, "completed")),
            version(2, "dev", (3, "arrived")),
            version(3, "staging", (4, "arrived")),
            version(1, "prod", (5, "arrived"), (6, "removed"), (7, "reappeared")),
        ],
        day(10),
    )

    assert [(mark.kind, mark.row.environment) for mark in timeline.marks] == [
        ("overwritten", "dev"),
        ("arrived", "dev"),  # below a higher version, so it has no bar
        ("promoted", "staging"),
        ("skipped", "prod"),
        ("removed", "prod"),
        ("reappeared", "prod"),
    ]
    assert timeline.kinds == {mark.kind for mark in timeline.marks}
    for mark in timeline.marks:
        [lane] = [lane for lane in timeline.lanes if lane.environment == mark.row.environment]
        assert max(bar.y for bar in timeline.bars if bar.y < mark.y) < mark.y
        assert lane.y < mark.y


def test_very_many_versions_and_changes_have_a_limit() -> None:
    rows = [arrived(number, "dev", number) for number in range(150)]
    noisy = [(150.0, "arrived"), *((150 + at / 100, "overwritten") for at in range(300))]
    rows.append(version(150, "dev", *noisy))

    timeline = Timeline.of(rows, day(160))

    assert timeline.is_cut
    assert timeline.begin == day(51)
    assert len(timeline.bars) == 100
    assert len(timeline.marks) == MARKS


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [
        (1 / 24, "1 Mar 12:00", "13:00"),
        (0.4, "1 Mar 12:00", "21:00"),
        (2, "1 Mar 12:00", "12:00"),
        (5, "2 Mar 2026", "6 Mar"),
        (60, "9 Mar 2026", "20 Apr"),
        (100, "9 Mar 2026", "1 Jun"),
        (300, "Apr 2026", "Oct 2026"),
        (200, "Apr 2026", "Sep 2026"),
        (3000, "2028", "2034"),
        (100_000, "2050", "2250"),
    ],
)
def test_ticks_are_at_round_dates(days: float, first: str, last: str) -> None:
    found = [*round_dates(BEGIN, day(days))]

    assert (found[0][1], found[-1][1]) == (first, last)
    assert 2 <= len(found) <= 9
    assert all(BEGIN <= time <= day(days) for time, _ in found)
    timeline = Timeline.of([arrived(1, "dev", 0)], day(days))
    halves = [len(tick.text) * CHARACTER / 2 for tick in timeline.ticks]
    ends = [tick.text_x + half for tick, half in zip(timeline.ticks, halves, strict=True)]
    starts = [tick.text_x - half for tick, half in zip(timeline.ticks, halves, strict=True)]
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False))
    assert starts[0] >= 0
    assert ends[-1] <= WIDTH
