"""The picture of what was in each environment over time: where its bars, marks and labels are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import ClassVar

from registry.environment import Environment
from registry.rows import Change, ModelHistory
from registry.ticks import round_dates

# All in pixels. A lane is a line of labels, a bar, and a line of marks.
WIDTH = 1010
NOW = WIDTH - 10
TOP = 24
LANE = 54
BAR = 20
LABEL_HEIGHT = 16
MARK = LABEL_HEIGHT + BAR + 9
CHARACTER = 8

# Each is the rest of a path that begins in the middle of the mark.
SHAPES = {
    "promoted": "m-5 4h10l-5 -9z",
    "skipped": "m-5 4h10l-5 -9z",
    "arrived": "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "overwritten": "m0 -5l5 5l-5 5l-5 -5z",
    "removed": "m-4 -4l8 8m0 -8l-8 8",
    "reappeared": "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
}

DRAWN = 100  # versions
MARKS = 200  # the newest
SHORTEST = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """
    A time when a version was the highest one in an environment.

    `end` is None if it still is. `replaced_by` is None if it was removed instead.
    """

    row: ModelHistory
    start: datetime
    end: datetime | None = None
    replaced_by: int | None = None

    @property
    def name(self) -> str:
        """What people call the version."""
        return f"v{self.row.model_version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A period in the picture. Its label is empty if there is no room for one."""

    period: Period
    x: float
    y: float
    width: float
    label: str = ""
    label_x: float = 0
    label_y: float = 0
    anchor: str = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """
    Something that happened, below the bars.

    `kind` is promoted, skipped, arrived, overwritten, removed or reappeared.
    """

    kind: str
    row: ModelHistory
    at: datetime
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """An environment, from its top."""

    environment: Environment
    y: int
    periods: Sequence[Period]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A round date. The text is moved a little at the edges."""

    text: str
    x: float
    text_x: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What is drawn. `begin` is when the picture begins, `is_cut` if there is more before it."""

    begin: datetime
    is_cut: bool
    height: int
    lanes: Sequence[Lane]
    bars: Sequence[Bar]
    marks: Sequence[Mark]
    ticks: Sequence[Tick]
    width: int = WIDTH
    now_x: int = NOW
    shapes: ClassVar[Mapping[str, str]] = SHAPES

    @property
    def kinds(self) -> set[str]:
        """Which kinds of marks there are, for the legend."""
        return {mark.kind for mark in self.marks}

    @property
    def comparisons(self) -> set[str | None]:
        """Which kinds of bars there are, for the legend."""
        return {bar.period.row.comparison for bar in self.bars}

    @classmethod
    def of(cls, rows: Sequence[ModelHistory], now: datetime) -> "Timeline":
        """Lay out the highest versions of a model, until `now`."""
        numbers = sorted({row.model_version for row in rows}, reverse=True)
        drawn = [row for row in rows if row.model_version in numbers[:DRAWN]]
        is_cut = bool(numbers[DRAWN:])
        begin = min(now - SHORTEST, *(row.first_upload_timestamp for row in drawn))
        scale = _Scale(begin=begin, now=now)

        lanes: list[Lane] = []
        for environment in Environment:
            there = [row for row in rows if row.environment == environment]
            if there:
                y = TOP + LANE * len(lanes)
                shown = [p for p in periods(there) if p.end is None or p.end > begin]
                lanes.append(Lane(environment=environment, y=y, periods=shown))
        marks = [mark for lane in lanes for mark in _marks(lane, drawn, scale)]
        return cls(
            begin=begin,
            is_cut=is_cut,
            height=TOP + LANE * len(lanes) + 22,
            lanes=lanes,
            bars=[bar for lane in lanes for bar in _bars(lane, scale)],
            marks=sorted(marks, key=lambda mark: mark.at)[-MARKS:],
            ticks=[_tick(time, text, scale) for time, text in round_dates(begin, now)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    begin: datetime
    now: datetime

    def x(self, time: datetime) -> float:
        """Where a time is; none is before the picture or after now."""
        part = (time - self.begin) / (self.now - self.begin)
        return round(min(max(part, 0), 1) * NOW, 1)


def periods(rows: Sequence[ModelHistory]) -> Iterator[Period]:
    """Yield which version was the highest in an environment, one after the other."""
    by_number = {row.model_version: row for row in rows}
    events = []
    for row in rows:
        for start, end in presence(row):
            events.append((start, True, row.model_version))
            if end:
                events.append((end, False, row.model_version))

    there: set[int] = set()
    running: Period | None = None
    for time, same in groupby(sorted(events), key=itemgetter(0)):
        for _, arrives, number in same:
            (there.add if arrives else there.discard)(number)
        highest = max(there, default=None)
        if running and running.row.model_version != highest:
            was_removed = running.row.model_version not in there
            yield replace(running, end=time, replaced_by=None if was_removed else highest)
            running = None
        if highest is not None and not running:
            running = Period(row=by_number[highest], start=time)
    if running:
        yield running


def presence(row: ModelHistory) -> list[tuple[datetime, datetime | None]]:
    """Return from when until when files of a version were there."""
    found: list[tuple[datetime, datetime | None]] = []
    files = 0
    for change in reversed(row.changes):
        if change.change == "removed":
            files -= change.files
            if files <= 0 and found:
                found[-1] = (found[-1][0], change.ended_at)
        elif change.change in {"arrived", "completed", "reappeared"}:
            if files <= 0:
                # A row spans minutes: it may be back before the removal that emptied it has ended.
                is_back = found and found[-1][1] and found[-1][1] >= change.changed_at
                start = found.pop()[0] if is_back else change.changed_at
                found.append((start, None))
                files = 0
            files += change.files
    # The view knows best when it began and whether it has ended: not all changes may be here.
    found = [(row.first_upload_timestamp, found[0][1] if found else None), *found[1:]]
    return [*found[:-1], (found[-1][0], row.removed_at)]


def _bars(lane: Lane, scale: _Scale) -> Iterator[Bar]:
    """Lay out from the newest to the oldest: if labels lack room, the newest get it."""
    free = float(NOW - 3)  # where the label before has to end
    for period in reversed(lane.periods):
        end = scale.now if period.end is None else period.end
        x = scale.x(period.start)
        bar = Bar(period=period, x=x, y=lane.y + LABEL_HEIGHT, width=max(scale.x(end) - x, 2))
        needed = len(period.name) * CHARACTER
        if bar.width >= needed + 8:
            at_end = period.end is None  # the end is what a narrow screen shows
            yield replace(
                bar,
                label=period.name,
                label_x=x + bar.width - 5 if at_end else x + 5,
                label_y=bar.y + BAR - 6,
                anchor="end" if at_end else "start",
            )
        elif (left := min(x, NOW - 3 - needed)) + needed <= free:
            free = left - 4
            yield replace(bar, label=period.name, label_x=left, label_y=bar.y - 4)
        else:
            yield bar


def _marks(lane: Lane, drawn: Sequence[ModelHistory], scale: _Scale) -> Iterator[Mark]:
    have_bars = {period.row.model_version for period in lane.periods}
    known = {(row.model_version, row.environment) for row in drawn}
    for row in drawn:
        if row.environment != lane.environment:
            continue
        for change in row.changes:
            kind = _kind(change)
            if kind == "arrived" and row.before:
                has_before = (row.model_version, row.before) in known
                kind = "promoted" if has_before else "skipped"
            if kind and not (kind == "arrived" and row.model_version in have_bars):
                at = change.changed_at
                x = min(max(scale.x(at), 5), WIDTH - 5)
                yield Mark(kind=kind, row=row, at=at, x=x, y=lane.y + MARK)


def _kind(change: Change) -> str:
    return change.change if change.change not in {"completed", "rewritten"} else ""


def _tick(time: datetime, text: str, scale: _Scale) -> Tick:
    half = len(text) * CHARACTER / 2
    x = scale.x(time)
    return Tick(text=text, x=x, text_x=min(max(x, half), WIDTH - half))
