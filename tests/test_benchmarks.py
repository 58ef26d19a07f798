"""The benchmarks run, and what they are to show holds, also where nobody looks at them."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.benchmarks import function, google
from tests.conftest import ROOT, wait_until

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
    return run(without_valgrind, "function", "--events", "200", "--rounds", "1")


@pytest.fixture(scope="module")
def benchmark(said: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[function.Benchmark]:
    """The benchmark of the function, whose environment is there now."""
    assert said
    folder = tmp_path_factory.mktemp("benchmark")
    function.build(folder)
    with google.serving(folder) as server:
        yield function.Benchmark(server, folder, events=2000)


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
    for row in ("start to first row, CPU s", "an event, p99, ms", "memory after event 200, MB"):
        assert row in said


def test_the_reconciliation_and_the_views_are_measured(without_valgrind: dict[str, str]) -> None:
    said = run(without_valgrind, "sizes", "--sizes", "1000", "2000", "--rounds", "1")

    for row in ("reconcile, s", "models, s", "show, MB"):
        assert row in said


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["speed"], "expected function or sizes, found speed"),
        (["function", "--events", "199"], "expected a whole number of at least 200, found 199"),
        (["function", "--rounds", "some"], "expected a whole number of at least 1, found some"),
        (["sizes", "--sizes", "99", "200"], "expected a whole number of at least 100, found 99"),
        (["sizes", "--sizes", "200"], "expected several multiples of 100 that grow, found 200"),
        (["sizes", "--sizes", "200", "100"], "that grow, found 200 100"),
        (["sizes", "--sizes", "200", "350"], "multiples of 100 that grow, found 200 350"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], found: str, without_valgrind: dict[str, str]
) -> None:
    ended = subprocess.run(
        [RUN, *words], env=without_valgrind, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert found in ended.stderr
    assert "usage" in ended.stderr.lower()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_before_its_time_it_leaves_nothing_behind(
    number: signal.Signals, without_valgrind: dict[str, str], said: str, tmp_path: Path
) -> None:
    assert said
    environ = {**without_valgrind, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([RUN, "function"], env=environ, stderr=subprocess.PIPE) as running:
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


def test_an_event_costs_a_quarter_of_what_it_costs_the_usual_function(
    benchmark: function.Benchmark,
) -> None:
    usual, ours = (benchmark.warm(peer)["an event, CPU ms"] for peer in ("usual", "ours"))

    assert ours <= 0.25 * usual


def test_it_lasts_in_the_same_memory_with_a_connection_for_each_thread(
    benchmark: function.Benchmark,
) -> None:
    ours = benchmark.lasting("ours")

    threads = 4 * (os.cpu_count() or 1)  # as the framework has it
    assert ours["connections to BigQuery by event 2,000"] <= threads
    grown = "the same at most, event {}, MB".format
    assert ours[grown("2,000")] - ours[grown("1,000")] < 1
