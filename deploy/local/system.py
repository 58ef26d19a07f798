"""
The whole system on this machine: starts its parts, shows that they work, and ends them all.

Run by deploy/local.sh, which makes the environments that it needs.
"""

import os
import signal

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
for number in SIGNALS:  # nothing runs yet, and the imports below take a second
    signal.signal(number, lambda number, _: os._exit(128 + number))

import argparse
import contextlib
import ctypes
import fcntl
import getpass
import json
import shlex
import shutil
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn
from urllib.request import getproxies

import psutil
import requests
import sample
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.storage import Client as StorageClient

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
LAST_PORT = 65535
HOST = "127.0.0.1"
DEFAULT_PORTS = {
    "STORAGE_PORT": 9023,
    "BIGQUERY_PORT": 9050,
    "FUNCTION_PORT": 8080,
    "INVENTORY_PORT": 8081,
}
ENVIRONMENTS = ["dev", "staging", "prod"]
FIRST = "hello-registry/v1/model.pkl"
START_SECONDS = 60
ROW_SECONDS = 30
STOP_SECONDS = 10


class System:
    """The parts, where they listen, and where they write."""

    def __init__(self, ports: dict[str, int], project: str, buckets: list[str], table: str) -> None:
        """`table` is `<dataset>.<table>`."""
        self.project = project
        self.buckets = buckets
        self.dataset, _, self.table = table.partition(".")
        self.storage_url = f"http://{HOST}:{ports['STORAGE_PORT']}"
        self.bigquery_url = f"http://{HOST}:{ports['BIGQUERY_PORT']}"
        self.function_url = f"http://{HOST}:{ports['FUNCTION_PORT']}"
        self.inventory_url = f"http://{HOST}:{ports['INVENTORY_PORT']}"
        self.ports = ports
        # The same for the same port, so that the exports in another terminal stay valid.
        self.state = LOCAL / "state" / str(ports["STORAGE_PORT"])
        self.parts: dict[str, subprocess.Popen[bytes]] = {}

    def exports(self) -> dict[str, str]:
        """Return the variables with which Google's own clients talk to this system."""
        return {
            "GCP_PROJECT_ID": self.project,
            "GOOGLE_CLOUD_PROJECT": self.project,
            "REGISTRY_TABLE": f"{self.dataset}.{self.table}",
            "STORAGE_EMULATOR_HOST": self.storage_url,
            "BIGQUERY_EMULATOR_HOST": self.bigquery_url,
            "CLOUDSDK_CORE_PROJECT": self.project,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{self.storage_url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": f"{self.storage_url}/",
            "CLOUDSDK_CONFIG": str(self.state / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(self.state / "token"),
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "BIGQUERYRC": str(self.state / "bigqueryrc"),
            "BOTO_CONFIG": str(self.state / "boto"),
        } | ({"NO_PROXY": direct(), "no_proxy": direct()} if getproxies().keys() - {"no"} else {})

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start the parts; in the end stop them and delete what they wrote, whatever happens."""
        self.state.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(lock(self.state)):
            try:
                self._write_state()
                self._start_parts()
                yield
            finally:
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
                stop(list(self.parts.values()))
                shutil.rmtree(self.state, ignore_errors=True)

    def _write_state(self) -> None:
        for stale in self.state.iterdir():
            if stale.is_dir():
                shutil.rmtree(stale)
            elif stale.name != "lock":
                stale.unlink()
        (self.state / "gcloud").mkdir()
        (self.state / "token").write_text("a token which nobody checks\n")
        (self.state / "bigqueryrc").write_text(
            f"api = {self.bigquery_url}\nproject_id = {self.project}\n"
        )
        (self.state / "boto").write_text("[GSUtil]\nuse_gcloud_storage = True\n")

    def _start_parts(self) -> None:
        python = {name: LOCAL / "venv" / name / "bin/python" for name in ("storage", "bigquery")}
        script = {name: ROOT / "deploy/local" / f"{name}.py" for name in python}
        self._start(
            "BigQuery",
            [python["bigquery"], script["bigquery"], "--port", self.ports["BIGQUERY_PORT"]],
            ["--project", self.project, "--data-dir", self.state / "bigquery"],
        )
        self._start(
            "Cloud Storage",
            [python["storage"], script["storage"], "--port", self.ports["STORAGE_PORT"]],
            ["--project", self.project, "--deliver-to", f"{self.function_url}/"],
            [argument for bucket in self.buckets for argument in ("--bucket", bucket)],
            quiet=False,  # says which event could not be delivered
        )
        for name, target, port in (
            ("function", "register_model", "FUNCTION_PORT"),
            ("inventory", "inventory", "INVENTORY_PORT"),
        ):
            self._start(
                name,
                [ROOT / ".venv/bin/functions-framework", "--target", target],
                ["--source", ROOT / "main.py", "--host", HOST, "--port", self.ports[port]],
                quiet=False,
            )
        datasets = f"{self.bigquery_url}/bigquery/v2/projects/{self.project}/datasets"
        self._wait_until_it_answers("BigQuery", datasets, HTTPStatus.OK)
        self._wait_until_it_answers("Cloud Storage", self.storage_url, HTTPStatus.OK)
        # It accepts only POST, which would be an event.
        self._wait_until_it_answers("function", self.function_url, HTTPStatus.METHOD_NOT_ALLOWED)
        # Another path would query the views, which are not there yet.
        self._wait_until_it_answers("inventory", f"{self.inventory_url}/-", HTTPStatus.NOT_FOUND)

    def _start(self, name: str, *arguments: list[object], quiet: bool = True) -> None:
        """Start a part; its output goes to the terminal, or to a file if it prints too much."""
        with (self.state / f"{name}.log").open("wb") as log:
            self.parts[name] = subprocess.Popen(  # noqa: S603 - every word of it is our own
                [str(argument) for part in arguments for argument in part],
                env=os.environ | {"BIGQUERY_EMULATOR_HOST": self.bigquery_url},
                stdin=subprocess.DEVNULL,
                stdout=log if quiet else None,
                stderr=subprocess.STDOUT if quiet else None,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - there are no threads yet
            )

    def _wait_until_it_answers(self, name: str, url: str, status: HTTPStatus) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(requests.RequestException):
                if requests.get(url, timeout=5).status_code == status:
                    return
            time.sleep(0.05)
        fail(f"expected {name} to answer within {START_SECONDS} s{self._last_words(name)}")

    def check(self) -> None:
        """Fail if a part has ended."""
        for name, process in self.parts.items():
            if process.poll() is not None:
                code = process.returncode
                fail(f"{name} has ended with status {code}{self._last_words(name)}")

    def _last_words(self, name: str) -> str:
        lines = (self.state / f"{name}.log").read_text(errors="replace").splitlines()
        return "".join(f"\n  {line}" for line in [":", *lines[-15:]]) if lines else ""

    def create_table(self) -> None:
        """Make the dataset, the tables and the views, as deploy/bigquery/ defines them."""
        for path in sorted((ROOT / "deploy/bigquery").glob("[1-8]-*.sql")):
            sql = string.Template(path.read_text()).safe_substitute(
                project=self.project, dataset=self.dataset, table=self.table, location="US"
            )
            self.bigquery().query_and_wait(sql)

    def bigquery(self) -> bigquery.Client:
        """Make a client."""
        return bigquery.Client(
            self.project,
            AnonymousCredentials(),  # type: ignore[no-untyped-call] # google-auth types it in part
            client_options={"api_endpoint": self.bigquery_url},
        )

    def register_first(self) -> tuple[dict[str, object], float]:
        """Upload an artifact and wait for its row; return it, and how many seconds that took."""
        client = StorageClient(
            self.project,
            AnonymousCredentials(),  # type: ignore[no-untyped-call] # google-auth types it in part
            client_options={"api_endpoint": self.storage_url},
        )
        first = client.bucket(self.buckets[0]).blob(FIRST)
        first.metadata = {"uploader": getpass.getuser(), "framework": "none"}
        first.upload_from_string(b"not really a model\n")
        uploaded = time.monotonic()
        [row] = self._wait_for_rows("gcs_path = @value", FIRST)
        return row, time.monotonic() - uploaded

    def register_sample(self) -> tuple[int, int]:
        """Upload the sample data and wait for their registrations and removals; return how many."""
        counts = sample.upload(self.storage_url, self.project, self.buckets)
        self._wait_for_rows("gcs_path <> @value", FIRST, count=counts[0])
        removed = "gcs_path <> @value AND removed_at IS NOT NULL"
        self._wait_for_rows(removed, FIRST, count=counts[1])
        return counts

    def _wait_for_rows(self, which: str, value: str, count: int = 1) -> list[dict[str, object]]:
        columns = "* EXCEPT (removed_at)"  # which the table does not have
        query = f"SELECT {columns} FROM `{self.dataset}.registrations` WHERE {which}"  # noqa: S608 - all our own
        config = bigquery.QueryJobConfig(
            query_parameters=[bigquery.ScalarQueryParameter("value", "STRING", value)]
        )
        deadline = time.monotonic() + ROW_SECONDS
        found = 0
        while len(rows := list(self.bigquery().query_and_wait(query, job_config=config))) < count:
            self.check()
            if len(rows) > found:  # as long as rows come, a slow machine is no fault
                found, deadline = len(rows), time.monotonic() + ROW_SECONDS
            if time.monotonic() > deadline:
                fail(f"expected {count} rows, found {found}, and none in the last {ROW_SECONDS} s")
            time.sleep(0.05)
        return [dict(row) for row in rows]


def main() -> None:
    """Start the system, show that it works, and stay up until Ctrl-C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--sample", action="store_true")
    options = parser.parse_args()
    for number in SIGNALS:
        signal.signal(number, interrupt)
    # No proxy between this machine and itself.
    os.environ |= {"NO_PROXY": direct(), "no_proxy": direct()}

    prefix, table = os.environ["BUCKET_PREFIX"], os.environ["REGISTRY_TABLE"]
    buckets = [f"{prefix}-{environment}" for environment in ENVIRONMENTS]
    system = System(choose_ports(), os.environ["GCP_PROJECT_ID"], buckets, table)
    print("Starting Cloud Storage, BigQuery, the function and the page", flush=True)
    with system.running():
        system.create_table()
        row, seconds = system.register_first()
        print(f"\nUploaded gs://{buckets[0]}/{FIRST}; its row, {seconds:.1f} s later:\n")
        for column, value in row.items():
            print(f"  {column:<17} {json.dumps(value) if column == 'metadata' else value}")
        if options.sample:
            print("\nUploading the sample data", flush=True)
            print("{} registrations, {} removals".format(*system.register_sample()))
        if not options.once:
            stay_up(system)


def stay_up(system: System) -> None:
    """Print how to talk to the system, and return at Ctrl-C."""
    exports = "\n".join(f"export {key}={shlex.quote(v)}" for key, v in system.exports().items())
    bucket = system.buckets[0]
    table = f"{system.project}.{system.dataset}.{system.table}"
    text = f"""
Inventory     {system.inventory_url}/
Function      {system.function_url}
Cloud Storage {system.storage_url}
BigQuery      {system.bigquery_url}

Paste this in another terminal: then gcloud storage, gsutil, bq, Python clients and the command
line talk to this system.

{exports}

Then, for example:

gcloud storage cp model.pkl gs://{bucket}/titanic-survival/v1/model.pkl
gcloud storage rm gs://{bucket}/titanic-survival/v1/model.pkl
bq query --use_legacy_sql=false 'SELECT * FROM `{table}` ORDER BY registered_at DESC LIMIT 5'
.venv/bin/python -m registry models

Ctrl-C ends it all. What the function logs comes below.
"""  # noqa: S608 - a query for a person to run
    print(text, flush=True)
    try:
        while True:
            system.check()
            time.sleep(0.2)
    except KeyboardInterrupt:
        print("\nEnding", flush=True)


def choose_ports() -> dict[str, int]:
    """Read the ports from the environment, and check that they are free."""
    ports = {}
    with contextlib.ExitStack() as probes:  # held until all are chosen, so that they differ
        for name, default in DEFAULT_PORTS.items():
            value = os.environ.get(name) or str(default)
            if not value.isascii() or not value.isdecimal() or int(value) > LAST_PORT:
                fail(f"{name}: expected a port from 0 to {LAST_PORT}, found {value!r}")
            try:
                probe = probes.enter_context(socket.create_server((HOST, int(value))))
            except OSError as error:
                reason = f"{os.strerror(error.errno or 0).lower()}{owner(int(value))}"
                fail(f"{name}: expected a free port, found {value}: {reason}")
            ports[name] = probe.getsockname()[1]
            if int(value) == 0:
                # For a minute, a connection that has just ended keeps the port from programs that
                # ask for any port.
                with socket.create_connection((HOST, ports[name])):
                    probe.accept()[0].close()
    return ports


def lock(state: Path) -> TextIOWrapper:
    """Lock a folder until the file is closed: another system may be starting on it."""
    file = (state / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"expected {state} to be free, found another deploy/local.sh that holds it")
    return file


def direct() -> str:
    """Return the hosts that are reached without a proxy."""
    listed = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or HOST
    return listed if HOST in listed else f"{listed},{HOST}"


def owner(port: int) -> str:
    """Return who listens on a port, if this user may see it."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and port in connection.laddr
            if listens and connection.pid:
                command = shlex.join(psutil.Process(connection.pid).cmdline())
                return f" by process {connection.pid} ({command})"
            if listens:
                return " by a process of another user"
    return ""


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes and their children; kill them if they take too long."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + patience
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))


def end_with_parent() -> None:
    """Have Linux end this process when its parent is gone, for whatever reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def interrupt(number: int, _frame: object) -> NoReturn:
    """Handle every ending signal like Ctrl-C."""
    raise KeyboardInterrupt(number)


def fail(message: str) -> NoReturn:
    """Print why, and end."""
    sys.exit(f"deploy/local.sh: {message}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt as interruption:
        sys.exit(128 + interruption.args[0])
    except BrokenPipeError:  # nobody reads the output any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
