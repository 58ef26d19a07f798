"""Round dates for the axis of a picture."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

TICKS = 8  # at most
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
_STEPS = [
    *(timedelta(minutes=10), timedelta(minutes=30)),
    *(timedelta(hours=hours) for hours in (1, 3, 6, 12)),
    *(timedelta(days=days) for days in (1, 2, 7, 14)),
]
_MONTHS = [1, 3, 6, 12, 24, 60, 120, 600, 2400, 24_000]
_MONTH = timedelta(days=30.44)
_YEAR = 12 * _MONTH


def round_dates(begin: datetime, end: datetime) -> Iterator[tuple[datetime, str]]:
    """
    Yield the round dates between two times, an hour or more apart, and how they are written.

    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> [text for _, text in round_dates(noon, noon + timedelta(days=40))]
    ['2 Mar 2026', '9 Mar', '16 Mar', '23 Mar', '30 Mar', '6 Apr']
    """
    last: datetime | None = None
    for time, step in _steps(begin, end):
        yield time, _text(time, step, last)
        last = time


def _steps(begin: datetime, end: datetime) -> Iterator[tuple[datetime, timedelta]]:
    for step in _STEPS:
        if (end - begin) / step <= TICKS:
            first = -((_MONDAY - begin) // step)
            for number in range(first, (end - _MONDAY) // step + 1):
                yield _MONDAY + number * step, step
            return
    months = next(months for months in _MONTHS if (end - begin) / (months * _MONTH) <= TICKS)
    month = -(-(begin.year * 12 + begin.month) // months) * months
    while (time := datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)) <= end:
        yield time, months * _MONTH
        month += months


def _text(time: datetime, step: timedelta, last: datetime | None) -> str:
    """Write what is not the same as in the last one."""
    if step >= _YEAR:
        return f"{time:%Y}"
    if step >= _MONTH:
        return f"{time:%b %Y}"
    day = f"{time.day} {time:%b}"
    if step >= timedelta(days=1):
        return day if last and last.year == time.year else f"{day} {time.year}"
    return f"{time:%H:%M}" if last and last.date() == time.date() else f"{day} {time:%H:%M}"
