"""Starts programs on free ports, waits for them, and ends them."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import requests

# Settings from outside reach neither the tests nor the processes that they start.
for name in [
    *("GCP_PROJECT_ID", "REGISTRY_TABLE", "BUCKET_PREFIX", "BIGQUERY_EMULATOR_HOST"),
    *("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "LOG_EXECUTION_ID", "THREADS"),
]:
    os.environ.pop(name, None)

# A shell makes background processes ignore these signals, and the programs under test would inherit
# that. They do not inherit a handler.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# End what the tests have started, as at Ctrl-C.
signal.signal(signal.SIGTERM, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
    signal.signal(signal.SIGHUP, signal.default_int_handler)


def free_port() -> int:
    """
    Find a port that nobody listens on.

    It stays ours for a minute: a connection to it that has just ended keeps the kernel from giving
    it to anybody who asks for any port, as the tests that run at the same time do.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    return port


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Poll until it holds, ever more seldom: a question can cost as much as what it waits for."""
    started = time.monotonic()
    while not condition():
        waited = time.monotonic() - started
        assert waited < seconds, f"not within {seconds} s: {condition}"
        time.sleep(min(0.02 + waited / 10, 0.3))


@contextlib.contextmanager
def process(
    command: Sequence[object],
    log: Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block; its output goes to a file."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            [str(word) for word in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            cwd=cwd,
        )
        try:
            yield running
        finally:
            running.terminate()
            running.wait(15)


def answers(url: str, running: subprocess.Popen[bytes], log: Path) -> Callable[[], bool]:
    """Whether a program answers HTTP by now; fails at once when it has ended."""

    def ask() -> bool:
        assert running.poll() is None, log.read_text()
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(url, timeout=5).status_code in {200, 405}
        return False

    return ask


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that its parent has not collected yet does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
