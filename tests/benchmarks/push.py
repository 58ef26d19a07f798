"""
How Pub/Sub's push and Cloud Run deliver many events that come at once, simulated in virtual time.

The times that an instance takes are measured. The rules are from Google's documentation; it leaves
some numbers out, and those we chose are marked so:

- Pub/Sub, https://cloud.google.com/pubsub/docs/push, "Delivery rate": the number of requests that
  may be open is the push window. It starts with one digit (chosen: 3), grows with each success,
  exponentially up to 3,000, and shrinks with each failure (chosen: by one, never below its start).
  Above 3,000 it grows only while answers take less than a second, and in a burst they take longer:
  3,000 is the most here.
- Same page, "Push backoff": negative answers stop the delivery of all events, for 0.1 to 60 s,
  exponentially by their number. Its examples are 0.5 s for one of five in a second, and 30 to 60 s
  for five of five. Chosen: 0.1 s x 600 ** (share of the negative ones in the last second).
- Eventarc, https://cloud.google.com/eventarc/docs/retry-events: a refused event comes again after
  10 s, then later and later (chosen: twice as long each time), 600 s at most. The longer of this
  wait and the push backoff counts (Pub/Sub's page).
- Cloud Run, https://cloud.google.com/run/docs/about-instance-autoscaling: a request that finds no
  free slot waits for 3.5 average starts or 10 s, whichever is longer, and then gets 429. Chosen:
  one more instance starts as soon as the starting ones have too few slots for those who wait; and
  the instance with the fewest requests gets the next one.

Left out: the time from Cloud Storage to Pub/Sub, the network, Cloud Run's own part of a start, and
instances above the most, which Google says may exist for a while.
"""

import functools
import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

INSTANCES = 5  # --max-instances
WINDOW, MOST_WINDOW = 3, 3000
PAUSE, LONGEST_PAUSE = 0.1, 60.0
RETRY, LONGEST_RETRY = 10.0, 600.0
STARTS, PATIENCE = 3.5, 10.0


@dataclass(frozen=True)
class Measured:
    """What was measured of one instance: seconds, of which the simulation draws."""

    concurrency: int
    start: Sequence[float]
    first: Sequence[float]  # the first events of a new instance, as many at once as it takes
    alone: Sequence[float]  # an event while there is no other
    full: Sequence[float]  # an event among as many as the instance takes


@dataclass(frozen=True)
class Delivered:
    """What came of the events: the seconds from each one's upload to its row, sorted."""

    seconds: Sequence[float]
    refusals: int

    def quantile(self, share: float) -> float:
        """Return the time within which this share of the events had their rows."""
        return self.seconds[int(share * (len(self.seconds) - 1))]


def deliver(events: int, measured: Measured, *, warm: bool = False) -> Delivered:
    """Upload so many events at once, to instances that have yet to start, or to warm ones."""
    simulation = _Simulation(measured, deque(range(events)))
    if warm:
        simulation.instances = [_Instance(new=0) for _ in range(INSTANCES)]
    simulation.run()
    return Delivered(sorted(simulation.seconds), simulation.refusals)


@dataclass
class _Instance:
    new: int  # how many more events meet it without connections
    busy: int = 0


@dataclass
class _Simulation:
    measured: Measured
    backlog: deque[int]
    instances: list[_Instance] = field(default_factory=list)
    starting: int = 0
    waiting: dict[int, None] = field(default_factory=dict)  # in Cloud Run's queue, in their order
    now: float = 0
    open: int = 0
    window: int = WINDOW
    paused_until: float = 0
    answers: deque[tuple[float, bool]] = field(default_factory=deque)
    tries: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    refusals: int = 0

    def __post_init__(self) -> None:
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._draw = random.Random(0).choice  # noqa: S311 - the same in each run
        average = sum(self.measured.start) / len(self.measured.start)
        self._patience = max(STARTS * average, PATIENCE)

    def run(self) -> None:
        self._push()
        while self._agenda:
            self.now, _, act = heapq.heappop(self._agenda)
            act()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + seconds, next(self._order), act))

    def _push(self) -> None:
        while self.backlog and self.open < self.window and self.now >= self.paused_until:
            event = self.backlog.popleft()
            self.open += 1
            self.waiting[event] = None
            self._after(self._patience, functools.partial(self._refuse, event))
        self._assign()

    def _assign(self) -> None:
        size = self.measured.concurrency
        while self.waiting:
            instance = min(self.instances, key=lambda one: one.busy, default=None)
            if instance is None or instance.busy == size:
                break
            del self.waiting[next(iter(self.waiting))]
            self._after(self._seconds(instance), functools.partial(self._finish, instance))
        while (
            len(self.waiting) > self.starting * size
            and len(self.instances) + self.starting < INSTANCES
        ):
            self.starting += 1
            self._after(self._draw(self.measured.start), self._started)

    def _started(self) -> None:
        self.starting -= 1
        self.instances.append(_Instance(new=self.measured.concurrency))
        self._assign()

    def _seconds(self, instance: _Instance) -> float:
        instance.busy += 1
        if instance.new:
            instance.new -= 1
            return self._draw(self.measured.first)
        return self._draw(self.measured.alone if instance.busy == 1 else self.measured.full)

    def _finish(self, instance: _Instance) -> None:
        instance.busy -= 1
        self.seconds.append(self.now)
        self.window = min(self.window + 1, MOST_WINDOW)
        self._answered(well=True)

    def _refuse(self, event: int) -> None:
        if event not in self.waiting:
            return
        del self.waiting[event]
        self.refusals += 1
        self.tries[event] += 1
        self.window = max(self.window - 1, WINDOW)
        delay = min(RETRY * 2 ** (self.tries[event] - 1), LONGEST_RETRY)
        self._after(delay, functools.partial(self._again, event))
        self._answered(well=False)

    def _again(self, event: int) -> None:
        self.backlog.append(event)
        self._push()

    def _answered(self, *, well: bool) -> None:
        self.open -= 1
        self.answers.append((self.now, well))
        while self.answers[0][0] < self.now - 1:
            self.answers.popleft()
        if not well:
            refused = sum(not good for _, good in self.answers) / len(self.answers)
            pause = PAUSE * (LONGEST_PAUSE / PAUSE) ** refused
            self.paused_until = max(self.paused_until, self.now + pause)
            self._after(pause, self._push)
        self._push()
