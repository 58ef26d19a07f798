"""What the tests share: the real BigQuery emulator, and the real function over HTTP."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from registry.artifact import ArtifactPath

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "soufianesys"
PORTS = ["STORAGE_PORT", "BIGQUERY_PORT", "FUNCTION_PORT", "INVENTORY_PORT"]
ANY_PORTS = dict.fromkeys(PORTS, "0")
# The views, in the order in which they are made: each reads those before it.
VIEWS = [path.stem[2:] for path in sorted((ROOT / "deploy/bigquery").glob("[4-8]-*.sql"))]

collect_ignore = ["benchmarks/hosts"]  # changes the Python that imports it

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

# As at Ctrl-C, what the tests have started is ended with them.
signal.signal(signal.SIGTERM, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
    signal.signal(signal.SIGHUP, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the tests of the browser and the soak read."""
    parser.addoption("--pictures", action="store_true", help="replace the README's pictures")
    parser.addoption("--golden", action="store_true", help="rewrite tests/deploy/")
    parser.addoption("--seed", type=int, default=20260301, help="of the choices of the soak")


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


@contextlib.contextmanager
def bigquery_emulator(folder: Path) -> Iterator[str]:
    """Run the BigQuery emulator, empty, until the end of the block; gives its address."""
    port = free_port()
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


def client_of(bigquery_url: str, project: str = PROJECT) -> bigquery.Client:
    """Make a client of an emulator."""
    return bigquery.Client(
        project,
        AnonymousCredentials(),  # type: ignore[no-untyped-call] # google-auth types it in part
        client_options={"api_endpoint": bigquery_url},
    )


@pytest.fixture(scope="session")
def bigquery_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The BigQuery emulator, empty."""
    with bigquery_emulator(tmp_path_factory.mktemp("bigquery")) as url:
        yield url


@pytest.fixture(scope="session")
def client(bigquery_url: str) -> bigquery.Client:
    """A client of the BigQuery emulator."""
    return client_of(bigquery_url)


def apply_sql(client: bigquery.Client, name: str, *, dataset: str, table: str = "models") -> None:
    """Run a file of deploy/bigquery/, named without its number."""
    [path] = (ROOT / "deploy/bigquery").glob(f"?-{name}.sql")
    sql = string.Template(path.read_text())
    values = {"project": PROJECT, "dataset": dataset, "table": table, "location": "US"}
    client.query_and_wait(sql.substitute(values))


def make_registry(client: bigquery.Client, dataset: str, table: str = "models") -> None:
    """Make a dataset with the tables and the views, as setup.sh does."""
    for path in sorted((ROOT / "deploy/bigquery").glob("[1-8]-*.sql")):
        apply_sql(client, path.stem[2:], dataset=dataset, table=table)


@pytest.fixture(scope="session")
def registry(client: bigquery.Client) -> str:
    """The dataset `ml_registry` with its table and views; gives its name."""
    make_registry(client, "ml_registry")
    return "ml_registry"


@pytest.fixture(scope="module")
def dataset(client: bigquery.Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A dataset of the module's own, with an empty table and its views; gives its name."""
    name = request.module.__name__.rpartition(".")[2]
    make_registry(client, name)
    yield name
    client.delete_dataset(name, delete_contents=True)


def insert(client: bigquery.Client, dataset: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Add rows to a table; what a row leaves open is that of an upload to dev."""
    complete = []
    for row in rows:
        given = {"model_name": "m", "model_version": 1, "environment": "dev", **row}
        given = {
            "gcs_bucket": f"ml-models-{given['environment']}",
            "gcs_path": f"{given['model_name']}/v{given['model_version']}/model.pkl",
            "registered_at": given.get("upload_timestamp") or "2026-03-01T12:00:00Z",
            **given,
        }
        complete.append(given)
    assert not client.insert_rows_json(f"{dataset}.models", complete, row_ids=[None] * len(rows))


def written(path: str, environment: str, minute: int, **columns: object) -> dict[str, object]:
    """Make the row of an upload, `minute` minutes after noon of a day in March."""
    artifact = ArtifactPath.parse(path)
    return {
        "model_name": artifact.model_name,
        "model_version": artifact.model_version,
        "environment": environment,
        "gcs_path": path,
        "file_size_bytes": 10,
        "upload_timestamp": f"2026-03-01T12:{minute:02}:00Z",
        "uploader": "ada",
        "generation": 1000 + minute,
        "crc32c": "AAAAAA==",
        **columns,
    }


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


@dataclass
class Local:
    """A running deploy/local.sh."""

    process: psutil.Popen
    output: Path
    parts: list[psutil.Process]

    @property
    def exports(self) -> dict[str, str]:
        """Read the environment which it prints, as a shell would."""
        lines = re.findall(r"^export (.*)$", self.output.read_text(), re.MULTILINE)
        pairs = [word.partition("=") for line in lines for word in shlex.split(line)]
        return {key: value for key, _, value in pairs}

    @property
    def inventory(self) -> str:
        """The address of the page."""
        [address] = re.findall(r"^Inventory +(\S+)$", self.output.read_text(), re.MULTILINE)
        return str(address)

    @property
    def bigquery(self) -> bigquery.Client:
        """A client of its BigQuery."""
        return client_of(self.exports["BIGQUERY_EMULATOR_HOST"], self.exports["GCP_PROJECT_ID"])

    @property
    def python(self) -> Path:
        """The project's Python, as a person would start it in the project's folder."""
        return ROOT / ".venv/bin/python"

    def run(self, *command: object) -> str:
        """Run a client in this environment; give what it prints."""
        ended = subprocess.run(
            [str(word) for word in command],
            cwd=ROOT,
            env={**os.environ, **self.exports},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def registrations(self, path: str, *, count: int = 1) -> list[Mapping[str, Any]]:
        """Wait for the rows of an object, the oldest first."""
        config = bigquery.QueryJobConfig(
            query_parameters=[bigquery.ScalarQueryParameter("path", "STRING", path)]
        )
        query = "SELECT * FROM ml_registry.models WHERE gcs_path LIKE @path ORDER BY registered_at"
        rows: list[Mapping[str, Any]] = []

        def there() -> bool:
            rows[:] = [dict(row) for row in self.bigquery.query_and_wait(query, job_config=config)]
            return len(rows) >= count

        wait_until(there)
        assert len(rows) == count
        return rows


@contextlib.contextmanager
def local(project: Path, output: Path, *arguments: str, **environ: str) -> Iterator[Local]:
    """Run deploy/local.sh until the end of the block; no process of it may be left then."""
    with output.open("w") as log:
        process = psutil.Popen(
            [project / "deploy/local.sh", *arguments],
            cwd="/",
            env={**os.environ, **ANY_PORTS, **environ},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    running = Local(process, output, [])
    try:

        def up() -> bool:
            assert process.poll() is None, output.read_text()
            return "Ctrl-C ends it all" in output.read_text()

        wait_until(up, 120)
        running.parts += process.children(recursive=True)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
    wait_until(lambda: not any(map(is_alive, running.parts)), 10)


def is_alive(process: psutil.Process) -> bool:
    """Tell a process from one that has ended, and that its parent has not asked about yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project as it would be cloned, in a folder whose name has a space."""
    copy = tmp_path_factory.mktemp("local") / "model registry"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def system(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local system with the sample data, for all the clients."""
    output = tmp_path_factory.mktemp("output") / "local.log"
    with local(project, output, "--sample") as running:
        yield running
