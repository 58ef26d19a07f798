"""`get`: a version's files on this machine, whole or not at all."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from google.cloud import bigquery

from registry.cli import main
from registry.removal import Removal
from tests import PROJECT, ROOT
from tests.conftest import insert, written
from tests.processes import wait_until
from tests.servers import running
from tests.servers.local_storage import Cloud, served
from tests.servers.middle import Middle

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BIG = bytes(range(256)) * 2**14  # 4 MiB


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The local Cloud Storage, with a bucket for dev."""
    with served(tmp_path_factory.mktemp("storage") / "log") as running_cloud:
        yield running_cloud


@pytest.fixture(scope="module")
def server(cloud: Cloud) -> Iterator[Middle]:
    """A server in the middle, before it."""
    middle = Middle(cloud.url)
    with running(middle):
        yield middle


@pytest.fixture
def middle(server: Middle, monkeypatch: pytest.MonkeyPatch) -> Middle:
    """The same, which changes nothing yet."""
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    server.reset()
    return server


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def registered(cloud: Cloud, client: bigquery.Client, dataset: str) -> str:
    """A model in a bucket and in a table; returns the table's name."""
    rows = []
    for name, content in {"v1/model.pkl": b"old", "v2/a": b"1", "v2/b": BIG, "v2/c": b"3"}.items():
        blob = cloud.dev.blob(f"churn/{name}")
        blob.upload_from_string(content)
        row = written(blob.name, "dev", 0, generation=blob.generation, crc32c=blob.crc32c)
        rows.append(row | {"file_size_bytes": blob.size})
    rows.append(written("churn/v2/gone", "dev", 0, generation=1))
    insert(client, dataset, rows)
    removal = Removal(
        bucket="ml-models-dev",
        name="churn/v2/gone",
        generation=1,
        upload_timestamp=None,
        removed_at=NOON,
        recorded_at=NOON,
        recorded_by="deleted",
    )
    assert not client.insert_rows_json(f"{dataset}.removals", [removal.row()])
    return f"{dataset}.models"


@pytest.fixture
def environ(registered: str, bigquery_url: str, middle: Middle) -> dict[str, str]:
    """What a person exports to ask the local system."""
    return {
        "GCP_PROJECT_ID": PROJECT,
        "REGISTRY_TABLE": registered,
        "BIGQUERY_EMULATOR_HOST": bigquery_url,
        "STORAGE_EMULATOR_HOST": middle.url,
    }


@pytest.fixture
def run(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run the command in a folder of its own; returns the result."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["get", "churn", *words, "-e", "dev"])


NEWEST = {"a": b"1", "b": BIG, "c": b"3"}


def test_the_newest_version_or_a_certain_one_is_downloaded(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    newest, again, old, other = run("new"), run("new"), run("v1", "old"), run("v1", "new")

    assert newest.stdout == "churn v2 in dev is now in new: 3 files, 4.2 MB\n"
    assert again.stdout == "churn v2 in dev already was in new: 3 files, 4.2 MB\n"
    assert newest.stderr == again.stderr == ""
    assert old.exit_code == 0
    assert contents(tmp_path) == {
        **{f"new/{name}": content for name, content in NEWEST.items()},
        "old/model.pkl": b"old",
    }
    assert (other.exit_code, other.stdout) == (1, "")
    [line] = other.stderr.splitlines()
    assert line.startswith(f"Error: expected {tmp_path}/new to be empty, or to hold exactly this")


def test_a_folder_is_not_taken_for_a_version(run: Callable[..., Result], tmp_path: Path) -> None:
    results = [run("v1"), run("3"), run("v1", "v2", "folder")]

    assert [result.exit_code for result in results] == [2, 2, 2]
    assert "expected a folder after the version, found none: ./v1 is one" in results[0].stderr
    assert "expected one version, found 2" in results[2].stderr
    assert list(tmp_path.iterdir()) == []
    assert run("./v1").exit_code == 0
    assert (tmp_path / "v1/b").exists()


def test_a_failure_is_one_line_and_progress_is_shown_on_a_terminal(
    run: Callable[..., Result], middle: Middle, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle.refusal = 403
    failed = run("m")
    middle.reset()
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run("m")

    assert (failed.exit_code, failed.stdout, failed.stderr.count("\n")) == (2, "", 1)
    assert "you need storage.objects.get" in failed.stderr
    assert shown.exit_code == 0
    assert "4.2/4.2 MB" in shown.stderr


def test_a_run_that_was_killed_leaves_nothing_and_the_next_one_ends_right(
    run: Callable[..., Result], environ: dict[str, str], middle: Middle, tmp_path: Path
) -> None:
    held, go_on = threading.Event(), threading.Event()

    def holding(name: str, content: bytes) -> Iterable[bytes]:
        yield content[: 3 * 2**20]
        if name.endswith("b"):
            held.set()
            go_on.wait(30)
        yield content[3 * 2**20 :]

    def on_disk() -> dict[str, int]:
        return {path.name: path.stat().st_size for path in tmp_path.glob(".*.part/*")}

    middle.change = holding
    command = [sys.executable, "-m", "registry", "get", "churn", "-e", "dev", str(tmp_path / "m")]
    killed = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ})
    assert held.wait(30)
    wait_until(lambda: on_disk().get("b", 0) >= 2**20)
    killed.kill()
    assert killed.wait(30) == -signal.SIGKILL
    go_on.set()
    assert not (tmp_path / "m").exists()
    sizes = on_disk()
    middle.reset()

    result = run("m")

    assert result.exit_code == 0, result.output
    assert contents(tmp_path) == {f"m/{name}": content for name, content in NEWEST.items()}
    asked = dict(middle.asked)
    assert asked["churn/v2/b"] == sizes["b"] > 0
