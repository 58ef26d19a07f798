"""What the tests share: the real BigQuery emulator, and the real function over HTTP."""

import contextlib
import json
import os
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "soufianesys"

# What is set outside is of no concern here, nor to the processes that are started.
for name in [
    *("GCP_PROJECT_ID", "REGISTRY_TABLE", "BUCKET_PREFIX", "BIGQUERY_EMULATOR_HOST"),
    *("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "LOG_EXECUTION_ID", "THREADS"),
]:
    os.environ.pop(name, None)

# What is ignored here, as a shell has it for what runs in the background, the programs under test
# would ignore too; what is handled, however, they do not inherit.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Poll until it holds; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.02)


@contextlib.contextmanager
def process(
    command: Sequence[object], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block; its output goes to a file."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            [str(word) for word in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
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


@pytest.fixture(scope="session")
def bigquery_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The BigQuery emulator, empty."""
    folder, port = tmp_path_factory.mktemp("bigquery"), free_port()
    command = [
        ROOT / ".local/venv/bigquery/bin/python",
        *(ROOT / "deploy/local/bigquery.py", "--port", port),
        *("--project", PROJECT, "--data-dir", folder / "data"),
    ]
    log = folder / "log"
    with process(command, log) as running:
        url = f"http://127.0.0.1:{port}"
        wait_until(answers(f"{url}/bigquery/v2/projects/{PROJECT}/datasets", running, log), 60)
        yield url


@pytest.fixture(scope="session")
def client(bigquery_url: str) -> bigquery.Client:
    """A client of the BigQuery emulator."""
    return bigquery.Client(
        PROJECT,
        AnonymousCredentials(),  # type: ignore[no-untyped-call] # google-auth types it in part
        client_options={"api_endpoint": bigquery_url},
    )


def apply_sql(client: bigquery.Client, name: str, *, dataset: str, table: str = "models") -> None:
    """Run a file of deploy/bigquery/."""
    sql = string.Template((ROOT / "deploy/bigquery" / name).read_text())
    client.query_and_wait(sql.substitute(project=PROJECT, dataset=dataset, table=table))


@pytest.fixture(scope="session")
def registry(client: bigquery.Client) -> str:
    """The dataset `ml_registry` with its table and views, as setup makes them; gives its name."""
    client.create_dataset("ml_registry")
    apply_sql(client, "models.sql", dataset="ml_registry")
    apply_sql(client, "views/registrations.sql", dataset="ml_registry")
    return "ml_registry"


class Function:
    """The deployed function, as functions-framework serves it."""

    def __init__(self, url: str, log: Path) -> None:
        """`log` is what it prints."""
        self.url = url
        self._log = log
        self._read = 0

    def post(self, headers: Mapping[str, str], body: bytes | str) -> requests.Response:
        """Deliver an event."""
        data = body.encode() if isinstance(body, str) else body
        return requests.post(self.url, data=data, headers=dict(headers), timeout=60)

    def new_lines(self) -> list[dict[str, Any]]:
        """Give the lines logged since the last call; anything but JSON fails the test."""
        with self._log.open() as log:
            log.seek(self._read)
            text = log.read()
        self._read += len(text.encode())
        return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def serving(
    folder: Path,
    bigquery_url: str,
    *,
    environment: Path = Path(sys.prefix),
    source: Path = ROOT,
    **environ: str,
) -> Iterator[Function]:
    """Serve the function of main.py, in a Python environment, until the end of the block."""
    port = free_port()
    command = [
        *(environment / "bin/functions-framework", "--target", "register_model"),
        *("--source", source / "main.py", "--host", "127.0.0.1", "--port", port),
    ]
    settings = {"GCP_PROJECT_ID": PROJECT, "BIGQUERY_EMULATOR_HOST": bigquery_url, **environ}
    log = folder / "function.log"
    with process(command, log, settings) as running:
        url = f"http://127.0.0.1:{port}/"
        wait_until(answers(url, running, log))
        yield Function(url, log)


@pytest.fixture(scope="session")
def function(
    bigquery_url: str, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    """The function, writing to the BigQuery emulator."""
    assert registry
    with serving(tmp_path_factory.mktemp("function"), bigquery_url) as served:
        yield served
