"""The function as it is deployed: over HTTP, with the BigQuery emulator behind it."""

import itertools
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import functions_framework
import psutil
import pytest
import requests
from google.cloud import bigquery

from tests import PROJECT, ROOT
from tests.benchmarks import google
from tests.conftest import Function, serving
from tests.events import HEADERS, LOG_KEYS, body, select
from tests.processes import wait_until
from tests.servers import bigquery as server

# As Google starts the function, whatever is set on this machine.
NO_CERTIFICATES = {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}
EMULATED = {"BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:1"}
EVENTS = {
    path.stem: json.loads(path.read_text()) for path in (ROOT / "tests/events").glob("*.json")
}


@pytest.mark.parametrize("case", sorted(EVENTS))
def test_an_event_leads_to_its_row_and_its_line(
    case: str, function: Function, client: bigquery.Client
) -> None:
    """Each case is a file in tests/events/, with what it is about and what is expected."""
    expected, deliveries = EVENTS[case]["expected"], EVENTS[case]["deliveries"]
    before = count_rows(client)

    for delivery in deliveries:
        text = delivery["text"] if "text" in delivery else json.dumps(delivery["body"])
        answer = function.post(delivery["headers"], text)

        assert answer.ok
        [line] = function.new_lines()
        assert list(line) == LOG_KEYS
        assert expected["message"] in line["message"]
        assert (expected["outcome"], expected["severity"]) == (line["outcome"], line["severity"])
        assert line["event_id"] in {delivery["headers"].get("ce-id"), structured_id(delivery), None}

    for table, without in (
        ("registrations", "registered_at, removed_at"),
        ("removals", "recorded_at"),
    ):
        rows = expected.get(table, [])
        places = {(row["gcs_bucket"], row["gcs_path"]) for row in rows}
        assert rows == [
            row
            for path in {path for _, path in places}
            for row in select(client, table, path, without=without)
            if (row["gcs_bucket"], row["gcs_path"]) in places
        ]
    has_rows = [bool(expected["registrations"]), bool(expected.get("removals"))]
    assert has_rows == [a > b for a, b in zip(count_rows(client), before, strict=True)]


def count_rows(client: bigquery.Client) -> list[int]:
    """Count the registrations and the removals."""
    counts = [f"(SELECT COUNT(*) FROM ml_registry.{table})" for table in ("models", "removals")]  # noqa: S608
    [row] = client.query_and_wait(f"SELECT {', '.join(counts)}")
    return list(row)


def structured_id(delivery: dict[str, Any]) -> object:
    """Return the id of an event that is a body of its own, or was pushed by Pub/Sub."""
    content = delivery.get("body")
    if not isinstance(content, dict):
        return None
    return content.get("id") or content.get("message", {}).get("messageId")


def test_the_line_of_a_registration_says_what_arrived_where(function: Function) -> None:
    data = body(name="logged/v4/model.pkl", generation="1772366400999999")
    function.post(HEADERS, json.dumps(data))

    [line] = function.new_lines()
    assert line.pop("duration_ms") >= 0
    assert line == {
        "severity": "INFO",
        "message": "registered logged v4 model.pkl in dev",
        "outcome": "registered",
        "environment": "dev",
        "event_id": "1215011316659232",
        "gcs_bucket": "ml-models-dev",
        "gcs_path": "logged/v4/model.pkl",
        "generation": "1772366400999999",
        "model_name": "logged",
        "model_version": 4,
    }


def test_the_line_of_a_malformed_event_says_which_object_it_was(function: Function) -> None:
    function.post(HEADERS, json.dumps(body(name="odd/v1/model.pkl", size="much")))

    [line] = function.new_lines()
    assert (line["gcs_bucket"], line["gcs_path"]) == ("ml-models-dev", "odd/v1/model.pkl")
    assert (line["model_name"], line["generation"]) == (None, None)


def test_the_rows_time_is_the_functions_clock_in_utc(
    function: Function, client: bigquery.Client
) -> None:
    before = time.time()
    function.post(HEADERS, json.dumps(body(name="clock/v1/model.pkl")))
    after = time.time()

    query = "SELECT registered_at FROM ml_registry.models WHERE model_name = 'clock'"
    [row] = client.query_and_wait(query)
    assert before <= row.registered_at.timestamp() <= after
    function.new_lines()


def test_a_request_that_the_framework_cannot_read_is_answered_and_logged(
    function: Function,
) -> None:
    """It would answer 500 to these, with a stack in the log, and they would come back."""
    digits = b'{"generation": ' + b"9" * 5000 + b"}"
    for unreadable in (b"[" * 100_000, digits):
        assert function.post(HEADERS, unreadable).ok

        [line] = function.new_lines()
        assert (line["outcome"], line["severity"]) == ("invalid", "ERROR")
        assert "expected a CloudEvent" in line["message"]
        assert f"the body {unreadable[:20]!r}"[:-1] in line["message"]
        assert len(line["message"]) < 1000


@pytest.mark.parametrize("missing", ["ce-id", "ce-specversion", "ce-type", "ce-source"])
def test_each_header_of_an_event_is_missed(missing: str, function: Function) -> None:
    headers = {key: value for key, value in HEADERS.items() if key != missing}
    assert function.post(headers, json.dumps(body())).ok

    [line] = function.new_lines()
    assert line["outcome"] == "invalid"
    assert missing in line["message"].partition("found")[0]
    assert missing not in line["message"].partition("found")[2]


def test_each_line_stays_whole_as_google_runs_it(tmp_path: Path) -> None:
    """Google sets LOG_EXECUTION_ID, with which the framework writes lines its own way."""
    with (
        server.bigquery_server(itertools.repeat(server.late(0.05, server.well))) as bigquery,
        serving(tmp_path, bigquery.url, LOG_EXECUTION_ID="true", THREADS="16") as function,
        ThreadPoolExecutor(16) as pool,
    ):
        bodies = [json.dumps(body(generation=generation)) for generation in range(64)]
        answers = list(pool.map(lambda data: function.post(HEADERS, data).ok, bodies))
        lines = function.new_lines()

    assert all(answers)
    assert {str(generation) for generation in range(64)} == {line["generation"] for line in lines}
    assert len(lines) == 64


def test_a_table_of_nine_columns_keeps_working_and_can_be_brought_up_to_date(
    bigquery_url: str, client: bigquery.Client, tmp_path: Path
) -> None:
    client.create_dataset("nine")
    client.query_and_wait(
        "CREATE TABLE nine.models (model_name STRING NOT NULL, model_version INT64 NOT NULL,"
        " environment STRING NOT NULL, gcs_bucket STRING NOT NULL, gcs_path STRING NOT NULL,"
        " file_size_bytes INT64, upload_timestamp TIMESTAMP, uploader STRING,"
        " registered_at TIMESTAMP NOT NULL) PARTITION BY DATE(registered_at)"
    )
    with serving(tmp_path, bigquery_url, REGISTRY_TABLE="nine.models") as function:
        assert function.post(HEADERS, json.dumps(body())).ok

    [row] = client.query_and_wait("SELECT * FROM nine.models")
    assert (9, "titanic-survival", "ada") == (len(row), row.model_name, row.uploader)


def test_a_failed_event_is_answered_5xx_and_logged_with_bigquerys_reason_and_the_stack(
    tmp_path: Path,
) -> None:
    missing = server.error(404, "notFound", "Not found: Table soufianesys:ml_registry.models")
    with server.bigquery_server([missing]) as bigquery, serving(tmp_path, bigquery.url) as function:
        assert function.post(HEADERS, json.dumps(body())).status_code == 503
        [line] = function.new_lines()
        assert function.post(HEADERS, json.dumps(body())).ok

    assert ("failed", "ERROR") == (line["outcome"], line["severity"])
    assert "Not found: Table soufianesys:ml_registry.models" in line["message"]
    assert [*LOG_KEYS, "stack_trace"] == list(line)
    assert "Traceback (most recent call last)" in line["stack_trace"]
    assert "google.api_core.exceptions.NotFound" in line["stack_trace"]
    assert len(bigquery.rows) == 1


def test_no_acknowledged_event_is_missing_with_bigquery_failing_half_of_the_time(
    tmp_path: Path,
) -> None:
    """Nor is one there twice, although each is delivered once more than needed."""
    faults = [
        server.error(503, "backendError"),
        server.cut_before_writing,
        server.error(404, "notFound"),
        server.cut_after_writing,
        server.row_errors({"reason": "invalid", "message": "Not now."}),
    ]
    turns = (answer for _ in range(1000) for fault in faults for answer in (fault, server.well))
    acknowledged: list[int] = []

    def deliver(generation: int) -> None:
        data = json.dumps(body(generation=generation))
        while not served.post(HEADERS, data).ok:
            pass
        acknowledged.append(generation)
        served.post(HEADERS, data)

    with server.bigquery_server(turns) as bigquery, serving(tmp_path, bigquery.url) as served:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(deliver, range(40)))
        lines = served.new_lines()

    assert sorted(acknowledged) == sorted(int(row["generation"]) for row in bigquery.rows.values())
    assert len(acknowledged) == 40
    assert any(line["outcome"] == "failed" for line in lines)


def test_an_instance_that_is_told_to_end_finishes_the_events_that_it_has(tmp_path: Path) -> None:
    """As many as it takes at once. Google sends SIGTERM, and SIGKILL ten seconds later."""
    ending = threading.Event()

    def wait(handler: server.Handler, request: server.Request) -> None:
        ending.wait(30)
        server.well(handler, request)

    with (
        server.bigquery_server(itertools.repeat(wait)) as bigquery,
        serving(tmp_path, bigquery.url, THREADS="32") as function,
        ThreadPoolExecutor(32) as pool,
    ):
        data = [json.dumps(body(generation=generation)) for generation in range(32)]
        answers = [pool.submit(function.post, HEADERS, text) for text in data]
        wait_until(lambda: len(bigquery.requests) == 32)
        function.process.terminate()
        wait_until(lambda: not psutil.Process(function.process.pid).net_connections())
        ending.set()

        assert [answer.result().status_code for answer in answers] == [200] * 32
        assert function.process.wait(10) == 0
    assert len(bigquery.rows) == 32


def test_a_missing_setting_fails_the_start_and_is_named() -> None:
    framework = str(Path(sys.executable).with_name("functions-framework"))
    ended = subprocess.run(
        [framework, "--target", "register_model"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr == (
        "The function cannot start. GCP_PROJECT_ID: expected the project's id, found nothing;"
        " set it\n"
    )


def test_bigquerys_certificate_is_checked_with_the_systems_folder(tmp_path: Path) -> None:
    """Only the folder has the certificate of the benchmarks' BigQuery."""
    with google.serving(tmp_path) as server:
        settings = {**server.environ, **NO_CERTIFICATES, "SSL_CERT_DIR": server.authorities}
        with serving(
            tmp_path, "", environment=Path(sys.prefix), source=ROOT, **settings
        ) as function:
            assert function.post(HEADERS, json.dumps(body())).ok
            [line] = function.new_lines()

    assert line["outcome"] == "registered"


@pytest.mark.parametrize(
    ("name", "settings", "chosen", "said"),
    [
        pytest.param("002c0b4f.0", {}, "certificates", 0, id="the folder has some"),
        pytest.param("README", {}, None, 1, id="it has none"),
        pytest.param("README", {"CURL_CA_BUNDLE": "/own"}, "/own", 0, id="set by somebody"),
        pytest.param("002c0b4f.0", EMULATED, None, 0, id="without TLS"),
    ],
)
def test_all_connections_trust_what_is_chosen_at_the_start(  # noqa: PLR0913, PLR0917 - a table
    name: str,
    settings: dict[str, str],
    chosen: str | None,
    said: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """In this process, where coverage is measured."""
    monkeypatch.chdir(tmp_path)
    Path("certificates").mkdir()
    Path("certificates", name).touch()
    anybody = dict.fromkeys(["client_id", "client_secret", "refresh_token"], "any")
    Path("credentials.json").write_text(json.dumps({"type": "authorized_user", **anybody}))
    for variable, value in {
        "GCP_PROJECT_ID": PROJECT,
        "GOOGLE_APPLICATION_CREDENTIALS": "credentials.json",
        "SSL_CERT_DIR": "certificates",
        **NO_CERTIFICATES,
        **settings,
    }.items():
        monkeypatch.setenv(variable, value)

    functions_framework.create_app("register_model", str(ROOT / "main.py"))  # type: ignore[no-untyped-call]

    used = requests.Session().merge_environment_settings("", {}, None, None, None)["verify"]
    assert used == (chosen or True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fallback = {
        "severity": "WARNING",
        "message": "expected hashed certificates in certificates, found none: using certifi's,"
        " which makes a start slower",
    }
    assert lines == [fallback] * said


def test_garbage_is_collected_once_it_has_started_and_not_before() -> None:
    code = """
import gc
def collections(): return sum(generation["collections"] for generation in gc.get_stats())
before = collections()
import main
print(gc.isenabled(), gc.get_freeze_count() > 10_000, collections() - before < 5)
"""
    environ = {"GCP_PROJECT_ID": PROJECT, "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:1"}
    started = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, check=True
    )

    assert started.stdout.split() == [b"True", b"True", b"True"]


@pytest.mark.parametrize(("answers", "status"), [([], 200), ([server.error(404, "notFound")], 503)])
def test_the_framework_answers_for_the_function(
    answers: list[server.Answer], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, where coverage is measured."""
    with server.bigquery_server(answers) as bigquery:
        monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
        http = functions_framework.create_app("register_model", str(ROOT / "main.py")).test_client()  # type: ignore[no-untyped-call]

        assert http.post("/", headers=HEADERS, json=body()).status_code == status
        assert http.post("/", headers=HEADERS, data=b"[" * 100_000).status_code == 200
        assert http.post("/", json=body()).status_code == 200
        assert http.get("/").status_code == 405


def test_an_event_whose_line_cannot_be_written_is_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server.bigquery_server() as bigquery, (ROOT / "README.md").open() as read_only:
        monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
        http = functions_framework.create_app("register_model", str(ROOT / "main.py")).test_client()  # type: ignore[no-untyped-call]
        monkeypatch.setattr(sys, "stdout", read_only)

        assert http.post("/", headers=HEADERS, json=body()).status_code == 503


def test_without_its_settings_it_does_not_start() -> None:
    """In this process, where coverage is measured."""
    with pytest.raises(SystemExit, match="GCP_PROJECT_ID: expected the project's id"):
        functions_framework.create_app("register_model", str(ROOT / "main.py"))  # type: ignore[no-untyped-call]
