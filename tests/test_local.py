"""The local system, end to end: deploy/local.sh, and the real clients against it."""

import json
import operator
import os
import re
import shutil
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import requests
from google.cloud.storage import Client as StorageClient

from tests import ROOT
from tests.processes import free_port, wait_until
from tests.servers.local import ANY_PORTS, PORTS, Local, local

needs = {
    name: pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed")
    for name in ("gcloud", "gsutil", "bq")
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file."""
    path = tmp_path / "model.pkl"
    path.write_bytes(os.urandom(1000))
    return path


def test_it_prints_the_row_of_its_upload(system: Local) -> None:
    [row] = system.registrations("hello-registry/v1/model.pkl")

    shown = dict(re.findall(r"^  (\w+) +(.*)$", system.output.read_text(), re.MULTILINE))
    assert {"model_name": "hello-registry", "crc32c": row["crc32c"]}.items() <= shown.items()
    assert list(shown) == list(row)


def test_a_free_port_is_kept_from_those_who_ask_for_any() -> None:
    """Several test processes look for ports at once, and so do several local systems."""
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", free_port()))


def test_it_listens_on_loopback_addresses_only(system: Local) -> None:
    listening = [
        connection.laddr
        for part in system.parts
        for connection in part.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert len(listening) >= 3
    assert {address.removeprefix("::ffff:") for address, _ in listening} == {"127.0.0.1"}


def test_the_python_client_uploads(
    system: Local, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in system.exports.items():
        monkeypatch.setenv(name, value)
    sent = StorageClient().bucket("ml-models-prod").blob("python/v1/model.pkl")
    sent.metadata = {"uploader": "ada", "git_sha": "8d1f2ab"}
    sent.upload_from_filename(model)

    [row] = system.registrations("python/v1/model.pkl")
    assert (row["environment"], row["uploader"], row["file_size_bytes"]) == ("prod", "ada", 1000)
    assert (row["generation"], row["crc32c"]) == (sent.generation, sent.crc32c)
    assert row["metadata"] == {"uploader": "ada", "git_sha": "8d1f2ab"}


@needs["gcloud"]
def test_gcloud_uploads_overwrites_and_promotes(system: Local, model: Path) -> None:
    path = "gcloud/v1/model.pkl"
    metadata = "--custom-metadata=uploader=me,git_sha=8d1f2ab"
    for _ in range(2):
        system.run("gcloud", "storage", "cp", model, f"gs://ml-models-dev/{path}", metadata)
    system.registrations(path, count=2)
    system.run(
        *("gcloud", "storage", "cp"), f"gs://ml-models-dev/{path}", f"gs://ml-models-staging/{path}"
    )

    first, second, promoted = system.registrations(path, count=3)
    assert first["generation"] < second["generation"]
    assert (second["uploader"], promoted["uploader"]) == ("me", "me")
    assert promoted["environment"] == "staging"
    assert promoted["crc32c"] == second["crc32c"]


@needs["gcloud"]
def test_gcloud_uploads_a_folder(system: Local, tmp_path: Path) -> None:
    for name in ("saved_model.pb", "variables/variables.index", "ein Modell 😀.txt"):
        file = tmp_path / "v3" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    system.run("gcloud", "storage", "cp", "-r", tmp_path / "v3", "gs://ml-models-dev/folder/")

    rows = system.registrations("folder/v3/%", count=3)
    assert {row["gcs_path"] for row in rows} == {
        "folder/v3/saved_model.pb",
        "folder/v3/variables/variables.index",
        "folder/v3/ein Modell 😀.txt",
    }


@needs["gcloud"]
def test_a_large_file_that_gcloud_uploads_in_parts_is_one_row(
    system: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own thresholds are for files of 150 MiB and more.
    monkeypatch.setenv("CLOUDSDK_STORAGE_PARALLEL_COMPOSITE_UPLOAD_THRESHOLD", "2M")
    monkeypatch.setenv("CLOUDSDK_STORAGE_PARALLEL_COMPOSITE_UPLOAD_COMPONENT_SIZE", "1M")
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(4_000_000))
    system.run("gcloud", "storage", "cp", large, "gs://ml-models-dev/large/v1/large.bin")

    [row] = system.registrations("large/v1/%")
    assert (row["file_size_bytes"], row["md5_hash"]) == (4_000_000, None)
    assert row["crc32c"]
    assert "a temporary part of an upload" in system.output.read_text()


@needs["gsutil"]
def test_gsutil_uploads(system: Local, model: Path) -> None:
    system.run("gsutil", "cp", model, "gs://ml-models-dev/gsutil/v1/model.pkl")

    system.registrations("gsutil/v1/model.pkl")


@needs["bq"]
def test_bq_reads(system: Local) -> None:
    sql = "SELECT model_name, model_version FROM `soufianesys.ml_registry.registrations` LIMIT 1"
    answer = system.run("bq", "query", "--format=json", "--use_legacy_sql=false", sql)
    table = json.loads(system.run("bq", "show", "--format=json", "ml_registry.models"))

    assert set(json.loads(answer)[0]) == {"model_name", "model_version"}
    assert len(table["schema"]["fields"]) == 13
    assert "hello-registry" in system.run("bq", "head", "-n", "1", "ml_registry.models")


def test_it_starts_over_stale_state_and_ends_when_a_part_dies(
    project: Path, tmp_path: Path
) -> None:
    port = free_port()
    stale = project / f".local/state/{port}"
    (stale / "bigquery").mkdir(parents=True)
    (stale / "bigquery/emulator.duckdb").write_text("not a database")

    with local(project, tmp_path / "local.log", STORAGE_PORT=str(port)) as running:
        [function] = [p for p in running.process.children() if "register_model" in p.cmdline()]
        function.kill()

        assert running.process.wait(30) == 1
    assert not stale.exists()
    assert "function has ended with status -9" in running.output.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_it_with_all_that_it_started(
    project: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with local(project, tmp_path / "local.log") as running:
        running.process.send_signal(number)

        status = running.process.wait(30)
        state = Path(running.exports["CLOUDSDK_CONFIG"]).parent
    killed = number == signal.SIGKILL
    assert (status, state.exists()) == (-number if killed else 0, killed)


def test_of_two_on_the_same_ports_one_prints_its_row_and_the_other_says_why_not(
    project: Path,
) -> None:
    ports = {name: str(free_port()) for name in PORTS}
    both = [
        subprocess.Popen(
            [project / "deploy/local.sh", "--once"],
            env={**os.environ, **ports},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in both]

    [(printed, _, won), (_, said, lost)] = sorted(ended, key=operator.itemgetter(2))
    assert (won, lost) == (0, 1)
    assert re.search(r"^  model_name +hello-registry$", printed, re.MULTILINE)
    assert "export" not in printed
    assert re.search("expected a free port|expected .* to be free", said)
    assert "Traceback" not in said


def start(*arguments: str, **environ: str) -> tuple[int, str]:
    """Run it where it must fail; return its exit code, and what it says of that."""
    ended = subprocess.run(
        [str(ROOT / "deploy/local.sh"), *arguments],
        env={**os.environ, **ANY_PORTS, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("name", PORTS)
def test_a_taken_port_is_an_error_that_names_its_owner(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = start("--once", **{name: str(port)})

    assert status == 1
    assert f"{name}: expected a free port, found {port}: address already in use" in said
    assert f"by process {os.getpid()} (" in said


@pytest.mark.parametrize(
    ("arguments", "environ", "status", "expected"),
    [
        (["--twice"], {}, 2, "expected --sample, --once or nothing, found --twice"),
        (["--once", "dev"], {}, 2, "expected --sample, --once or nothing, found dev"),
        (["--once"], {"STORAGE_PORT": "many"}, 1, "expected a port from 0 to 65535, found 'many'"),
        (["--once"], {"FUNCTION_PORT": "65536"}, 1, "expected a port from 0 to 65535"),
        (["--once"], {"REGISTRY_TABLE": "models"}, 1, "expected <dataset>.<table>"),
    ],
)
def test_an_impossible_start_is_an_error_that_says_why(
    arguments: list[str], environ: dict[str, str], status: int, expected: str
) -> None:
    ended, said = start(*arguments, **environ)

    assert ended == status
    assert expected in said
    assert "Traceback" not in said


def test_the_sample_data_has_a_history_and_one_version_in_prod_that_differs(system: Local) -> None:
    rows = json.loads(system.run(system.python, "-m", "registry", "promotions"))

    different = [row for row in rows if row["prod_vs_staging"] == "different"]
    assert [(row["model_name"], row["model_version"]) for row in different] == [
        ("fraud-detection", 3)
    ]
    assert len({row["model_name"] for row in rows}) >= 12
    assert {row["prod_vs_staging"] for row in rows} == {"identical", "different", "skipped", None}
    oldest = min(row["dev_upload_timestamp"] or "later" for row in rows)
    assert datetime.fromisoformat(oldest) < datetime.now(UTC) - timedelta(days=90)


@needs["bq"]
def test_sql_the_command_line_and_the_page_agree_on_the_latest_models(system: Local) -> None:
    sql = "SELECT model_name, environment, model_version, fingerprint, prod_vs_staging"
    sql += " FROM ml_registry.latest_models"
    by_sql = json.loads(
        system.run("bq", "query", "-n", "1000", "--format=json", "--use_legacy_sql=false", sql)
    )
    by_command = json.loads(system.run(system.python, "-m", "registry", "models"))

    def by_page() -> object:
        return requests.get(f"{system.inventory}?format=json", timeout=60).json()

    wait_until(lambda: by_page() == by_command)  # the page keeps an answer for a second
    key = operator.itemgetter("model_name", "environment")
    assert sorted(by_sql, key=key) == [
        {name: str(row[name]) if name == "model_version" else row[name] for name in by_sql[0]}
        for row in sorted(by_command, key=key)
    ]


def test_the_command_line_and_the_page_agree_on_a_model(system: Local) -> None:
    by_command = system.run(system.python, "-m", "registry", "show", "fraud-detection", "--files")
    by_page = requests.get(f"{system.inventory}models/fraud-detection?format=json", timeout=60)

    assert json.loads(by_command) == by_page.json()


@needs["gcloud"]
@needs["bq"]
def test_forget_shows_through_the_real_tools_what_would_go(system: Local) -> None:
    shown = system.run("deploy/forget.sh", "--dry-run", "--uploader", "ada", "dev")

    query = "SELECT COUNT(*) FROM ml_registry.models WHERE uploader = 'ada' AND environment = 'dev'"
    [[count]] = system.bigquery.query_and_wait(query)
    assert count > 5
    assert re.search(rf" objects: \d\d in {count} generations, ", shown)
    assert f"; rows of ml_registry.models: {count}\n" in shown
    assert "\n  gs://ml-models-dev/churn/v4/model.pkl#1" in shown
