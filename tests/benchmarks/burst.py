"""
Measure what many uploads at once take, for the usual function and for ours, as each is deployed.

The usual function has 256 MB: 0.167 of a CPU, and one event at a time. Ours has one CPU and takes
--concurrency events at once. Each runs under its quota, with a BigQuery that answers after 60 ms.
Five instances do not fit on one machine: with fewer CPUs than instances they would slow each other
down. So one instance runs at a time. It is measured: its starts, its first events, an event alone,
and events as many at once as it takes. From these times, tests/benchmarks/push.py simulates the
five instances, and the queue in front of them. The functions take turns within each round.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from tests.benchmarks import function, google
from tests.benchmarks.function import VCPU, Benchmark, Values
from tests.benchmarks.push import Measured, deliver

CONCURRENCY = 32
BIGQUERY_SECONDS = 0.06
ALONE = 20


@dataclass(frozen=True)
class Deployed:
    """A function and the flags of its deployment."""

    peer: str
    cpu: float
    concurrency: int
    environ: Mapping[str, str]

    @property
    def name(self) -> str:
        """Its column."""
        return f"{self.peer}, {self.concurrency} at once"


USUAL = Deployed("usual", VCPU, 1, {})


def ours(concurrency: int) -> Deployed:
    """Return our function, with so many threads."""
    return Deployed("ours", 1, concurrency, {"THREADS": str(concurrency)})


def first_row(benchmark: Benchmark, deployed: Deployed) -> float:
    """Start an instance, and return the seconds until its first row."""
    with function.quota(deployed.cpu) as join:
        started = time.monotonic()
        with benchmark.serving(deployed.peer, join or [], deployed.environ) as instance:
            instance.send(1)
            return time.monotonic() - started


def measure(
    benchmark: Benchmark, deployed: Deployed, events: int
) -> tuple[Measured, dict[str, float]]:
    """Start an instance, and measure it; return its times, and what else it shows."""
    most = deployed.concurrency
    with function.quota(deployed.cpu) as join:
        started = time.monotonic()
        with benchmark.serving(deployed.peer, join or [], deployed.environ) as instance:
            start = time.monotonic() - started
            first = instance.send(most, most)
            alone = instance.send(ALONE)
            started, before = time.monotonic(), instance.cpu_seconds
            full = instance.send(max(events, 2 * most), most)
            seconds, cpu = time.monotonic() - started, instance.cpu_seconds - before
    shown = {
        "an event alone, p50, ms": _quantile(alone, 0.5) * 1e3,
        "an event among as many as it takes, p50, ms": _quantile(full, 0.5) * 1e3,
        "an event among as many as it takes, p99, ms": _quantile(full, 0.99) * 1e3,
        "the same, CPU ms": cpu / len(full) * 1e3,
        "uploads/s of an instance": len(full) / seconds,
    }
    return Measured(most, [start], first, alone, full), shown


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def lasting(benchmark: Benchmark, deployed: Deployed, events: int) -> Values:
    """Answer many events, as many at once as the instance takes; return its memory at most."""
    values: dict[str, float] = {}
    opened: dict[str, float] = {}
    sent = 0
    with function.quota(deployed.cpu) as join:
        before = benchmark.google.connections
        with benchmark.serving(deployed.peer, join or [], deployed.environ) as instance:
            for mark in (max(events // 20, 1), events // 2, events):
                instance.send(mark - sent, deployed.concurrency)
                sent = mark
                values[f"memory at most after event {mark:,}, MB"] = instance.most_megabytes
                opened[f"connections to BigQuery by event {mark:,}"] = (
                    benchmark.google.connections - before
                )
    return values | opened


def simulate(uploads: int, measured: Measured) -> Values:
    """Return what becomes of so many uploads at once."""
    values: dict[str, float] = {}
    for state in ("cold", "warm"):
        delivered = deliver(uploads, measured, warm=state == "warm")
        values |= {
            f"{uploads:,} at once, {state}: last row, s": delivered.quantile(1),
            f"{uploads:,} at once, {state}: answered 429": delivered.refusals,
            f"{uploads:,} at once, {state}: upload to row, p50, s": delivered.quantile(0.5),
            f"{uploads:,} at once, {state}: upload to row, p99, s": delivered.quantile(0.99),
        }
    return values


def one_round(benchmark: Benchmark, deployed: Deployed, events: int, uploads: int) -> Values:
    """Measure one function once, and simulate the burst with what it took."""
    few = events // 10 if deployed is USUAL else events  # it is so much slower
    start = first_row(benchmark, deployed)
    measured, shown = measure(benchmark, deployed, few)
    return {"start to first row, s": start, **shown, **simulate(uploads, measured)}


def main() -> None:
    """Measure everything, and print the table."""
    parser = function.arguments("burst", __doc__)
    number = function.at_least
    parser.add_argument(
        "--concurrency",
        type=number(1),
        nargs="+",
        default=[CONCURRENCY],
        help="how many events an instance of ours takes at once: its --concurrency and THREADS;"
        " several, such as 32 8 16 64 80, are all measured, and the first is compared with usual",
    )
    parser.add_argument(
        "--events",
        type=number(20),
        default=20_000,
        help="how many events ours gets for its memory; times come from a tenth of them, or fewer",
    )
    parser.add_argument("--uploads", type=number(1), default=10_000, help="how many come at once")
    parser.add_argument("--rounds", type=number(1), default=3, help="how many rounds")
    options = parser.parse_args()

    console = Console()
    functions = [USUAL, *map(ours, options.concurrency)]
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def note(deployed: Deployed, values: Values) -> None:
        for name, value in values.items():
            measured[name][deployed.name].append(value)

    with function.quota(1) as join:
        if join is None:
            console.print(f"CPU is not limited, because that needs {function.NEEDED['throttled']}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        function.build(folder)
        with google.serving(folder, BIGQUERY_SECONDS) as server:
            benchmark = Benchmark(server, folder, options.events)
            for round_ in range(options.rounds):
                # The order rotates, so that who comes after whom favours nobody.
                turn = round_ % len(functions)
                for deployed in functions[turn:] + functions[:turn]:
                    with console.status(f"{deployed.name}, {round_ + 1}/{options.rounds}"):
                        events = options.events // 10
                        note(deployed, one_round(benchmark, deployed, events, options.uploads))
            for deployed in functions[1:]:
                with console.status(f"{deployed.name}, memory"):
                    note(deployed, lasting(benchmark, deployed, options.events))
    function.show(_table(measured, [one.name for one in functions]))


def _table(measured: Mapping[str, Mapping[str, Sequence[float]]], names: Sequence[str]) -> Table:
    usual, first = names[:2]
    table = Table("medians of the rounds", *names, f"{first} / usual", box=MARKDOWN)
    for name, values in measured.items():
        medians = [function.median_and_range(values[one]).partition(" ")[0] for one in names]
        pairs = zip(values[first], values[usual], strict=False)
        ratio = function.median_and_range([a / b for a, b in pairs if b])
        table.add_row(name, *medians, ratio)
    return table


if __name__ == "__main__":
    function.run(main)
