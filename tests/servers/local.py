"""The local system: a running deploy/local.sh, and clients of it."""

import contextlib
import functools
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.storage import Client as StorageClient

from tests import ROOT
from tests.processes import is_alive, wait_until
from tests.servers.emulator import client_of

PORTS = ["STORAGE_PORT", "BIGQUERY_PORT", "FUNCTION_PORT", "INVENTORY_PORT"]
ANY_PORTS = dict.fromkeys(PORTS, "0")


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
    def function(self) -> str:
        """The address of the function."""
        [address] = re.findall(r"^Function +(\S+)$", self.output.read_text(), re.MULTILINE)
        return str(address)

    @functools.cached_property
    def storage(self) -> StorageClient:
        """A client of its Cloud Storage."""
        return StorageClient(
            self.exports["GCP_PROJECT_ID"],
            AnonymousCredentials(),  # type: ignore[no-untyped-call] # google-auth types it in part
            client_options={"api_endpoint": self.exports["STORAGE_EMULATOR_HOST"]},
        )

    @property
    def bigquery(self) -> bigquery.Client:
        """A client of its BigQuery."""
        return client_of(self.exports["BIGQUERY_EMULATOR_HOST"], self.exports["GCP_PROJECT_ID"])

    @property
    def python(self) -> Path:
        """The project's Python, as a person would start it in the project's folder."""
        return ROOT / ".venv/bin/python"

    def run(self, *command: object) -> str:
        """Run a client in this environment; return what it prints."""
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

        wait_until(up, 240)
        running.parts += process.children(recursive=True)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(30) == 0, output.read_text()
    wait_until(lambda: not any(map(is_alive, running.parts)), 10)
