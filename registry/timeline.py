"""The picture of a model's versions over time: where its dots, lines and labels are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from registry.environment import Environment
from registry.rows import ModelVersion

WIDTH = 960
LEFT = 80
RIGHT = 90
TOP = 30
LANE_HEIGHT = 60
CHARACTER_WIDTH = 8
TICKS = 5
_SPAN = WIDTH - LEFT - RIGHT
_LANES = {where.value: TOP + row * LANE_HEIGHT for row, where in enumerate(Environment)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A version in an environment; its label is empty if another one is in its place."""

    x: int
    y: int
    label: str
    version: ModelVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """
    What is drawn, in the picture's own units.

    A lane is a name and a height. A line leads from a dot to the same version's dot in the next
    environment. A tick is a time and a distance from the left.
    """

    width: int
    height: int
    lanes: Sequence[tuple[str, int]]
    dots: Sequence[Dot]
    lines: Sequence[tuple[Dot, Dot]]
    ticks: Sequence[tuple[str, int]]

    @classmethod
    def of(cls, versions: Sequence[ModelVersion]) -> "Timeline":
        """Lay out versions, each at the time when it first reached its environment."""
        in_time = sorted(versions, key=lambda version: version.first_upload_timestamp)
        begin = in_time[0].first_upload_timestamp
        span = max(in_time[-1].first_upload_timestamp - begin, timedelta(seconds=1))

        dots = []
        taken = dict.fromkeys(_LANES, 0)  # how far the labels reach in each lane
        for version in in_time:
            lane, label = version.environment, f"v{version.model_version}"
            x = LEFT + round(
                (version.first_upload_timestamp - begin) / span * (WIDTH - LEFT - RIGHT)
            )
            half = len(label) * CHARACTER_WIDTH // 2
            if x - half < taken[lane]:
                label = ""
            else:
                taken[lane] = x + half
            dots.append(Dot(x=x, y=_LANES[lane], label=label, version=version))

        return cls(
            width=WIDTH,
            height=TOP + len(_LANES) * LANE_HEIGHT,
            lanes=list(_LANES.items()),
            dots=dots,
            lines=_lines(dots),
            ticks=[
                (_when(begin + span * at / (TICKS - 1), span), LEFT + _SPAN * at // (TICKS - 1))
                for at in range(TICKS if span >= timedelta(seconds=TICKS) else 1)
            ],
        )


def _lines(dots: Sequence[Dot]) -> list[tuple[Dot, Dot]]:
    by_version = sorted(dots, key=lambda dot: (dot.version.model_version, dot.y))
    return [
        line
        for _, same in groupby(by_version, key=lambda dot: dot.version.model_version)
        for line in pairwise(same)
    ]


def _when(time: datetime, span: timedelta) -> str:
    """Return a time, as exact as the span needs."""
    if span >= timedelta(days=TICKS):
        return f"{time:%Y-%m-%d}"
    return f"{time:%Y-%m-%d %H:%M}" if span >= timedelta(minutes=TICKS) else f"{time:%Y-%m-%d %T}"
