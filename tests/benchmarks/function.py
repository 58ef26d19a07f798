"""
Measure the function next to the bare framework and the usual function, in one run.

The three take turns within each round, so other load on the machine meets all of them. It prints
the median of the rounds and their range; a ratio compares two values of one round.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from tests import ROOT
from tests.benchmarks import google
from tests.benchmarks.google import Google
from tests.processes import free_port, process, wait_until

PEERS = ["floor", "usual", "ours"]
DEPLOYED = ROOT / ".local/venv/deployed/bin"
VCPU = 0.167  # what comes with 256 MB
CONNECTIONS = [1, 8, 64]
START_SECONDS = 300  # enough under callgrind on a busy machine
THREE_DIGITS = 100
# What the deploy scripts set in the build.
BUILD = {"SOURCE_DATE_EPOCH": "315532800"}
DELIVERY = json.loads((ROOT / "tests/events/custom_metadata.json").read_text())["deliveries"][0]
# Without core dumps: a signal ends it.
COUNT = [
    *("sh", "-c", 'ulimit -c 0; exec "$@"', "sh"),
    *(shutil.which("valgrind") or "valgrind", "--tool=callgrind", "--trace-children=yes"),
]
NEEDED = {
    "throttled": "control groups, which only root can make",
    "counted": "valgrind (apt-get install valgrind)",
}

type Values = Mapping[str, float]


@dataclass(frozen=True)
class Function:
    """A running function, with all its processes."""

    port: int
    process: psutil.Process

    @property
    def tree(self) -> list[psutil.Process]:
        """Its processes; the last one answers events."""
        return [self.process, *self.process.children(recursive=True)]

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that it has used."""
        times = [one.cpu_times() for one in self.tree]
        return sum(one.user + one.system for one in times)

    @property
    def megabytes(self) -> float:
        """Its memory; what other programs share counts in part."""
        return sum(one.memory_full_info().pss for one in self.tree) / 1e6

    @property
    def most_megabytes(self) -> float:
        """Its memory; each mapped file counts once and in full."""
        files: dict[str, int] = defaultdict(int)
        own = 0
        for mapping in (mapping for one in self.tree for mapping in one.memory_maps()):
            if mapping.path.startswith("/"):
                files[mapping.path] = max(files[mapping.path], mapping.rss - mapping.anonymous)
                own += mapping.anonymous
            else:
                own += mapping.pss
        return (own + sum(files.values())) / 1e6

    def send(self, events: int, connections: int = 1) -> list[float]:
        """Deliver events, one after the other on each connection; return the seconds of each."""
        return asyncio.run(_send(self.port, events, connections))

    def send_apart(self, events: int) -> list[float]:
        """Deliver events, each on its own connection; return the seconds of each."""
        return [seconds for _ in range(events) for seconds in self.send(1)]


async def _send(port: int, events: int, connections: int) -> list[float]:
    left = iter(range(events))
    took: list[float] = []

    async def connection() -> None:
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(_event())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            took.append(time.perf_counter() - started)
            started = time.perf_counter()
        writer.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    return took


def _event() -> bytes:
    """Return an event as it is delivered, each for another object."""
    body = json.dumps(DELIVERY["body"] | {"generation": str(time.time_ns() // 1000)})
    headers = {**DELIVERY["headers"], "host": "localhost", "content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST / HTTP/1.1\r\n{lines}\r\n{body}".encode()


def build(folder: Path) -> None:
    """Put the sources into a folder for each function, compiled, as a build does."""
    here = Path(__file__).parent
    sources = {"floor": here / "floor.py", "usual": here / "usual.py", "ours": ROOT / "main.py"}
    for peer, main in sources.items():
        (folder / peer).mkdir()
        shutil.copy(main, folder / peer / "main.py")
    shutil.copytree(ROOT / "registry", folder / "ours/registry")
    compile_all = [str(DEPLOYED / "python"), "-m", "compileall", "-f", "-q", str(folder)]
    subprocess.run(compile_all, env=BUILD, check=True)


@dataclass(frozen=True)
class Benchmark:
    """Starts functions, each for one measure."""

    google: Google
    folder: Path
    events: int
    alike: bool = False  # the usual function reads its certificates as ours does

    @contextlib.contextmanager
    def serving(
        self, peer: str, under: Sequence[object] = (), environ: Mapping[str, str] | None = None
    ) -> Iterator[Function]:
        """Start a function as Google does, `under` another program, until the end of the block."""
        environ = {**self.google.environ, **(environ or {})}
        if peer == "ours":  # it chooses its certificates itself
            environ |= {"REQUESTS_CA_BUNDLE": "", "SSL_CERT_DIR": self.google.authorities}
        elif peer == "usual" and self.alike:
            environ["REQUESTS_CA_BUNDLE"] = self.google.authorities
        port = free_port()
        command = [
            *("env", "--ignore-environment", *(f"{key}={environ[key]}" for key in environ)),
            *("PATH=/usr/bin:/bin", *under, DEPLOYED / "python", DEPLOYED / "functions-framework"),
            *("--source", self.folder / peer / "main.py", "--target", "register_model"),
            *("--signature-type", "cloudevent", "--host", "127.0.0.1", "--port", port),
        ]
        log = self.folder / f"{peer}.log"
        with process(command, log) as running:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(port):
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.005)
            yield Function(port, psutil.Process(running.pid))

    def cold(self, peer: str) -> Values:
        """Start, and answer one event."""
        started = time.monotonic()
        with self.serving(peer) as function:
            function.send(1)
            return {
                "start to first row, s": time.monotonic() - started,
                "start to first row, CPU s": function.cpu_seconds,
            }

    def throttled(self, peer: str) -> Values:
        """Start, and answer one event, on the share of a CPU that comes with 256 MB."""
        with quota(VCPU) as join:
            if join is None:
                return {}
            started = time.monotonic()
            with self.serving(peer, join) as function:
                function.send(1)
                return {f"start to first row on {VCPU} of a CPU, s": time.monotonic() - started}

    def counted(self, peer: str) -> Values:
        """Start, and answer one event, counted by callgrind."""
        if not shutil.which("valgrind"):
            return {}
        with tempfile.TemporaryDirectory() as folder:
            with self.serving(peer, [*COUNT, f"--callgrind-out-file={folder}/%p"]) as function:
                function.send(1)
                processes = function.tree
                # At this signal it writes what it has counted.
                for one in reversed(processes):
                    one.send_signal(signal.SIGXCPU)
                psutil.wait_procs(processes, timeout=60)
            # The count of a fork includes what came before it.
            counts = (Path(folder) / str(processes[-1].pid)).read_text(errors="replace")
        [total] = re.findall(r"^totals: (\d+)", counts, re.MULTILINE)
        return {"start to first row, million instructions": int(total) / 1e6}

    def warm(self, peer: str) -> Values:
        """Answer events on a connection each, because uploads are rare; then all on one."""
        events = self.events // 40
        with self.serving(peer) as function:
            function.send(max(events // 10, 1))
            before = function.cpu_seconds
            took = sorted(function.send_apart(events))
            apart = function.cpu_seconds
            function.send(events)
            return {
                "an event, CPU ms": (apart - before) / events * 1e3,
                "an event, p50, ms": took[len(took) // 2] * 1e3,
                "an event, p99, ms": took[len(took) * 99 // 100] * 1e3,
                "an event on a kept connection, CPU ms": (
                    (function.cpu_seconds - apart) / events * 1e3
                ),
            }

    def throughput(self, peer: str) -> Values:
        """Answer events on several connections at once."""
        values = {}
        with self.serving(peer) as function:
            for connections in CONNECTIONS:
                events = max(self.events // 100, connections)
                started = time.monotonic()
                function.send(events, connections)
                seconds = time.monotonic() - started
                values[f"events/s, {connections} at once"] = events / seconds
        return values

    def lasting(self, peer: str) -> Values:
        """Answer many events."""
        values, most, opened, sent = {}, {}, {}, 0
        marks = [1, self.events // 20, self.events // 2, self.events]
        before = self.google.connections
        with self.serving(peer) as function:
            # More would take the usual function minutes, and a gigabyte.
            for mark in marks[:2] if peer == "usual" else marks:
                function.send(mark - sent, min(8, mark - sent))
                sent = mark
                values[f"memory after event {mark:,}, MB"] = function.megabytes
                most[f"the same at most, event {mark:,}, MB"] = function.most_megabytes
                opened[f"connections to BigQuery by event {mark:,}"] = (
                    self.google.connections - before
                )
        return values | most | opened


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextlib.contextmanager
def quota(share: float) -> Iterator[Sequence[str] | None]:
    """Make a control group with a share of a CPU; yield what starts a program in it."""
    cgroups, name = Path("/sys/fs/cgroup"), f"benchmark-{os.getpid()}"
    period = 100_000
    if (cgroups / "cpu").is_dir():
        group, limits = cgroups / "cpu" / name, {"cpu.cfs_quota_us": f"{share * period:.0f}"}
    else:
        group, limits = cgroups / name, {"cpu.max": f"{share * period:.0f} {period}"}
    try:
        group.mkdir()
        for file, limit in {"cgroup.procs": "", **limits}.items():
            with (group / file).open("r+") as setting:
                setting.write(limit)
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield None
        return
    try:
        yield ["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"]
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def at_least(least: int) -> Callable[[str], int]:
    """Return a parser for an option: a number that is at least `least`."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {least}, found {text}"
            )
        return int(text)

    return read


def arguments(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the option parser of one benchmark."""
    return argparse.ArgumentParser(
        prog=f"tests/benchmarks/run.sh {name}",
        description=(description or "").strip().partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def run(*programs: Callable[[], None]) -> None:
    """Run one after the other; Ctrl-C and signals end them without a traceback."""
    try:
        for program in programs:
            program()
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """Measure everything, and print the table."""
    parser = arguments("function", __doc__)
    parser.add_argument(
        "--events",
        type=at_least(200),
        default=20_000,
        help="how many events a function gets; times come from a fortieth of them, or fewer",
    )
    parser.add_argument("--rounds", type=at_least(1), default=5, help="how many rounds")
    parser.add_argument(
        "--alike", action="store_true", help="give the usual function our certificates too"
    )
    options = parser.parse_args()

    console = Console()
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build(folder)
        with google.serving(folder) as server:
            benchmark = Benchmark(server, folder, options.events, options.alike)
            plan: dict[Callable[[str], Values], int] = {
                benchmark.cold: options.rounds,
                benchmark.throttled: options.rounds,
                benchmark.counted: min(options.rounds, 2),
                benchmark.warm: options.rounds,
                benchmark.throughput: options.rounds,
                benchmark.lasting: 1,
            }
            for measure, rounds in plan.items():
                title = measure.__name__
                values: Values = {}
                for number, peer in itertools.product(range(rounds), PEERS):
                    with console.status(f"{title} {number + 1}/{rounds}: {peer}"):
                        values = measure(peer)
                    for name, value in values.items():
                        measured[name][peer].append(value)
                if not values:
                    console.print(f"{title}: not measured, because it needs {NEEDED[title]}")
    show(_table(measured))


def show(table: Table) -> None:
    """Print a table without cutting its cells."""
    Console(width=240).print(table)


def _table(measured: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    table = Table("medians of the rounds", *PEERS, "ours / floor", "ours / usual", box=MARKDOWN)
    for name, values in measured.items():
        cells = [median_and_range(values[peer]).partition(" ")[0] for peer in PEERS]
        for peer in ("floor", "usual"):
            pairs = zip(values["ours"], values[peer], strict=False)
            cells.append(median_and_range([ours / theirs for ours, theirs in pairs if theirs]))
        table.add_row(name, *cells)
    return table


def median_and_range(values: Sequence[float]) -> str:
    """Return the median, and the range if there is one: `1.85 (1.71 to 1.99)`."""
    if not values:
        return ""
    whole = max(values) >= THREE_DIGITS or all(float(value).is_integer() for value in values)
    digits = 0 if whole else 2
    median, least, most = (
        f"{value:z,.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return median if least == most else f"{median} ({least} to {most})"


if __name__ == "__main__":
    run(main)
