"""What the tests share: the emulator, the function over HTTP, the local system, the double."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from google.cloud import bigquery

from registry.artifact import ArtifactPath
from tests import PROJECT, ROOT
from tests.cloud import server as cloud_server
from tests.cloud.project import Json, Project, copied, new_state
from tests.processes import answers, free_port, process, wait_until
from tests.servers import running
from tests.servers.emulator import bigquery_emulator, client_of, make_registry
from tests.servers.local import Local, local
from tests.servers.scripts import Cloud, Ended

collect_ignore = ["benchmarks/hosts"]  # it changes the Python that imports it


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our own options."""
    parser.addoption("--pictures", action="store_true", help="replace the READMEs' pictures")
    parser.addoption("--golden", action="store_true", help="rewrite tests/deploy/")
    parser.addoption("--seed", type=int, default=20260301, help="of the choices of the soak")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the emulator takes seconds, and the command line would say so."""
    monkeypatch.setattr("registry.output.PATIENCE_SECONDS", 600.0)


@pytest.fixture(scope="session")
def bigquery_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The BigQuery emulator, empty."""
    with bigquery_emulator(tmp_path_factory.mktemp("bigquery")) as url:
        yield url


@pytest.fixture(scope="session")
def client(bigquery_url: str) -> bigquery.Client:
    """A client of the BigQuery emulator."""
    return client_of(bigquery_url)


@pytest.fixture(scope="session")
def google_sql() -> bigquery.Client:
    """GoogleSQL in place of BigQuery, empty."""
    from tests.servers.googlesql import GoogleSql  # noqa: PLC0415 - 0.7 s, and few tests need it

    return cast("bigquery.Client", GoogleSql(PROJECT))


@pytest.fixture(scope="module", params=["client", "google_sql"], ids=["emulator", "GoogleSQL"])
def either_client(request: pytest.FixtureRequest) -> bigquery.Client:
    """Two clients, one after the other: of the emulator, and GoogleSQL."""
    client: bigquery.Client = request.getfixturevalue(request.param)
    return client


@pytest.fixture(scope="session")
def registry(client: bigquery.Client) -> str:
    """The dataset `ml_registry` with its table and views; returns its name."""
    make_registry(client, "ml_registry")
    return "ml_registry"


@pytest.fixture(scope="module")
def dataset(client: bigquery.Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A dataset of the module's own, with an empty table and its views; returns its name."""
    name = request.module.__name__.rpartition(".")[2]
    make_registry(client, name)
    yield name
    client.delete_dataset(name, delete_contents=True)


def insert(client: bigquery.Client, dataset: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Add rows to a table; columns that a row lacks are those of an upload to dev."""
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


class Terminal(io.StringIO):
    """Standard output that a person looks at."""

    def isatty(self) -> bool:
        return True


class Function:
    """The deployed function, as functions-framework serves it."""

    def __init__(self, url: str, log: Path, process: subprocess.Popen[bytes]) -> None:
        """`log` is what it prints."""
        self.url = url
        self.process = process
        self._log = log
        self._read = 0

    def post(self, headers: Mapping[str, str], body: bytes | str) -> requests.Response:
        """Deliver an event."""
        data = body.encode() if isinstance(body, str) else body
        return requests.post(self.url, data=data, headers=dict(headers), timeout=60)

    def new_lines(self) -> list[dict[str, Any]]:
        """Return the lines logged since the last call; anything but JSON fails the test."""
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
    """Serve the function of main.py until the end of the block: start it as Google does."""
    port = free_port()
    settings = {
        "FUNCTION_TARGET": "register_model",
        "FUNCTION_SIGNATURE_TYPE": "cloudevent",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "GCP_PROJECT_ID": PROJECT,
        "BIGQUERY_EMULATOR_HOST": bigquery_url,
        **environ,
    }
    log = folder / "function.log"
    with process([environment / "bin/functions-framework"], log, settings, source) as running:
        url = f"http://127.0.0.1:{port}/"
        wait_until(answers(url, running, log))
        yield Function(url, log, running)


@pytest.fixture(scope="session")
def function(
    bigquery_url: str, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    """The function, writing to the BigQuery emulator."""
    assert registry
    with serving(tmp_path_factory.mktemp("function"), bigquery_url) as served:
        yield served


def tracked() -> list[str]:
    """List the project's files: those that Git has, or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def uploaded() -> set[str]:
    """List the files that a deploy sends; test_gcloud.py asks gcloud whether it is these."""
    pattern = r"main\.py|requirements\.txt|registry/(.*\.py|templates/.*)"
    return {name for name in tracked() if re.fullmatch(pattern, name)}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in a folder whose name has a space, with this one's environments."""
    copy = tmp_path_factory.mktemp("local") / "model registry"
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    (copy / ".local").mkdir()
    for name in (".venv", ".local/venv"):
        (copy / name).symlink_to(ROOT / name)
    return copy


@pytest.fixture(scope="session")
def system(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local system with the sample data, for all the clients."""
    output = tmp_path_factory.mktemp("output") / "local.log"
    with local(project, output, "--sample") as running:
        yield running


# --- The deploy scripts, on the double of Google Cloud --------------------------------------------

CHANNEL = "projects/soufianesys/notificationChannels/42"
VIEWER = "group:ml@example.com"
# One call of each kind, in an order in which they work one after the other.
EACH = [
    "setup dev",
    "dev",
    f"inventory --viewer {VIEWER}",
    "reconcile dev",
    f"monitoring dev --notify {CHANNEL}",
    "verify dev",
    "logs dev",
    "notify dev",
    "replay dev",
    "delete reconcile-dev dev inventory --yes",
]
# What a script may use of a machine, besides gcloud and bq.
BASICS = (
    "awk base64 bash basename cat cut date dirname env grep head mkdir mktemp rm sed sh sort tail"
    " tee tr wc"
)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is deployed, in a folder whose name has a space."""
    copied = tmp_path_factory.mktemp("deploy") / "model registry"
    ignored = shutil.ignore_patterns("__pycache__", "local*")
    shutil.copytree(ROOT / "deploy", copied / "deploy", ignore=ignored)
    shutil.copy(ROOT / "main.py", copied)
    return copied


@pytest.fixture(scope="session")
def basics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each machine has."""
    folder = tmp_path_factory.mktemp("basics")
    for name in BASICS.split():
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


@pytest.fixture(scope="session")
def google(
    source: Path, basics: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Json], Cloud]]:
    """Returns a project in a given state, with scripts to run on it."""
    tools = cloud_server.tools(tmp_path_factory.mktemp("tools"), "gcloud", "bq", "curl", "sleep")
    served = cloud_server.Server()
    with running(served):
        yield lambda state: Cloud(
            server=served,
            source=source,
            path=[tools, basics],
            project=Project(state=copied(state)),
        )


@pytest.fixture
def cloud(google: Callable[[Json], Cloud]) -> Cloud:
    """A project in which nobody has done anything yet."""
    return google(new_state(PROJECT))


@pytest.fixture(scope="session")
def ran(google: Callable[[Json], Cloud]) -> dict[str, tuple[list[Json], Ended]]:
    """For each call of EACH, the states it goes through, the one before it first, and its end."""
    cloud, ran = google(new_state(PROJECT)), {}
    for call in EACH:
        before = cloud.state
        ended = cloud.do(*call.split())
        after = cloud.project.states[-len(ended.changes) :] if ended.changes else []
        ran[call] = ([before, *after], ended)
    return ran


@pytest.fixture(scope="session")
def reached(ran: dict[str, tuple[list[Json], Ended]]) -> dict[str, list[Json]]:
    """For each call of EACH, the states it goes through, the one before it first."""
    return {call: states for call, (states, _) in ran.items()}


@pytest.fixture
def ready(cloud: Cloud, reached: dict[str, list[Json]]) -> Cloud:
    """A project in which setup.sh has run for dev."""
    return cloud.twin(reached["dev"][0])


@pytest.fixture
def deployed(cloud: Cloud, reached: dict[str, list[Json]]) -> Cloud:
    """A project in which all is deployed for dev."""
    return cloud.twin(reached["verify dev"][0])
