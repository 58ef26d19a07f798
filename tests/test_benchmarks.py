"""The benchmarks run, and what they are to show holds, also where nobody looks at them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests import ROOT
from tests.benchmarks import burst, function, sizes
from tests.processes import wait_until

RUN = ROOT / "tests/benchmarks/run.sh"


@pytest.fixture(scope="module")
def without_valgrind(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment, less the tool that makes a start take ten seconds."""
    folder = tmp_path_factory.mktemp("bin")
    path = [folder]
    for entry in map(Path, os.environ["PATH"].split(os.pathsep)):
        if not (entry / "valgrind").exists():
            path.append(entry)
            continue
        for tool in entry.iterdir():
            if tool.name != "valgrind" and not (folder / tool.name).is_symlink():
                (folder / tool.name).symlink_to(tool)
    return {**os.environ, "PATH": os.pathsep.join(map(str, path))}


@pytest.fixture(scope="module")
def said(without_valgrind: dict[str, str]) -> str:
    """What the benchmark of the function prints, of few events."""
    return run(without_valgrind, "function", "--events", "1000", "--rounds", "1")


def measured(said: str, row: str, peer: str) -> float:
    """Read a number from the table."""
    lines = [re.split(r" *\| *", line)[1:] for line in said.splitlines() if "|" in line]
    rows = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines}
    return float(rows[row][peer].replace(",", ""))


def run(environ: dict[str, str], *arguments: str) -> str:
    """Run the benchmarks' command."""
    ended = subprocess.run(
        [RUN, *arguments], cwd="/", env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_function_is_measured_and_the_benchmark_says_what_it_could_not_measure(
    said: str,
) -> None:
    assert "ours / floor" in said
    assert "counted: not measured, because it needs valgrind (apt-get install valgrind)" in said
    for row in ("start to first row, CPU s", "an event, p99, ms", "memory after event 1,000, MB"):
        assert row in said


def test_the_reconciliation_and_the_views_are_measured(without_valgrind: dict[str, str]) -> None:
    said = run(without_valgrind, "sizes", "--sizes", "100", "200", "--rounds", "1")

    for row in ("reconcile, s", "models, s", "show, MB"):
        assert row in said


def test_a_burst_is_measured_and_ours_takes_more_of_it(without_valgrind: dict[str, str]) -> None:
    few = ("--events", "20", "--rounds", "1", "--uploads", "200", "--concurrency", "8")
    said = run(without_valgrind, "burst", *few)

    row = "uploads/s of an instance"
    assert measured(said, row, "ours, 8 at once") > 2 * measured(said, row, "usual, 1 at once")
    for row in ("200 at once, cold: last row, s", "200 at once, warm: answered 429"):
        assert row in said


def test_an_unknown_benchmark_is_bad_usage() -> None:
    ended = subprocess.run([RUN, "speed"], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "expected function, burst, sizes or cost, found speed" in ended.stderr


@pytest.mark.parametrize(
    ("main", "options", "found"),
    [
        (function.main, "--events 199", "expected a whole number of at least 200, found 199"),
        (function.main, "--rounds some", "expected a whole number of at least 1, found some"),
        (burst.main, "--concurrency 8 0", "expected a whole number of at least 1, found 0"),
        (burst.main, "--events 19", "expected a whole number of at least 20, found 19"),
        (sizes.main, "--sizes 99 200", "expected a whole number of at least 100, found 99"),
        (sizes.main, "--sizes 200", "expected several multiples of 100 that grow, found 200"),
        (sizes.main, "--sizes 200 100", "that grow, found 200 100"),
        (sizes.main, "--sizes 200 350", "multiples of 100 that grow, found 200 350"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    main: Callable[[], None],
    options: str,
    found: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *options.split()])

    with pytest.raises(SystemExit, match="2"):
        main()

    errors = capsys.readouterr().err
    assert errors.startswith("usage: tests/benchmarks/run.sh ")
    assert errors.endswith(f"{found}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_before_its_time_it_leaves_nothing_behind(
    number: signal.Signals, without_valgrind: dict[str, str], said: str, tmp_path: Path
) -> None:
    assert said
    command = [sys.executable, "-m", "tests.benchmarks.function"]
    environ = {**without_valgrind, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE) as running:
        program = psutil.Process(running.pid)
        started: list[psutil.Process] = []

        def measures() -> bool:
            started[:] = program.children(recursive=True)
            with contextlib.suppress(psutil.Error):  # it has just ended
                return any("register_model" in one.cmdline() for one in started)
            return False

        try:
            wait_until(measures)
            running.send_signal(number)
            _, errors = running.communicate(timeout=30)
        finally:
            running.kill()

    assert (running.returncode, errors) == (130, b"")
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert list(tmp_path.iterdir()) == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/benchmark-{running.pid}")) == []


def test_an_event_costs_a_quarter_of_what_it_costs_the_usual_function(said: str) -> None:
    usual, ours = (measured(said, "an event, CPU ms", peer) for peer in ("usual", "ours"))

    assert ours <= 0.25 * usual


def test_it_lasts_in_the_same_memory_with_a_connection_for_each_thread(said: str) -> None:
    connections = measured(said, "connections to BigQuery by event 1,000", "ours")
    half, whole = (
        measured(said, f"the same at most, event {number}, MB", "ours")
        for number in ("500", "1,000")
    )

    assert connections <= 4 * (os.cpu_count() or 1)  # as many threads as the framework has
    assert whole - half < 1
