"""The web page: over the framework's HTTP application, with the BigQuery emulator behind it."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import escape, unescape
from urllib.parse import unquote_plus

import functions_framework
import pytest
from flask.testing import FlaskClient
from google.cloud import bigquery
from werkzeug.test import TestResponse

from registry import cache, page
from registry.inventory import Inventory
from registry.rows import to_json
from tests import PROJECT, ROOT
from tests.conftest import insert, written
from tests.processes import wait_until
from tests.servers import bigquery as server

Open = Callable[..., FlaskClient]
UP = ".."
OFF = "50% off?#"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def registered(client: bigquery.Client, dataset: str) -> str:
    """Some models in a table; returns the table's name."""
    metadata = json.dumps({"git_commit": "8d1f2ab", "<b>": {"x": 1}})
    trained = json.dumps({"minutes": "1.5", "framework": "gradient boosting"})
    insert(
        client,
        dataset,
        [
            written("fraud/v1/model.pkl", "dev", 0, metadata=metadata),
            written("fraud/v1/same.txt", "dev", 0),
            written("fraud/v1/model.pkl", "staging", 1),
            written("fraud/v1/same.txt", "staging", 1),
            written("fraud/v1/model.pkl", "prod", 2),
            written("fraud/v1/same.txt", "prod", 2),
            *(written("fraud/v1/only.txt", where, 1) for where in ("dev", "staging")),
            written("fraud/v1/model.pkl", "prod", 9, crc32c="BBBBBB==", uploader="eve"),
            written("fraud/v2/model.pkl", "dev", 8, file_size_bytes=5_000_000),
            written("old/v1/model.pkl", "dev", 3, crc32c=None, generation=None, uploader=None),
            written("old/v1/model.pkl", "staging", 4, file_size_bytes=None, metadata=trained),
            written("Rash/v1/model.pkl", "prod", 5, upload_timestamp=None, metadata='"text"'),
            written(f"{HOSTILE}/v1/{HOSTILE}", "dev", 6, uploader=HOSTILE),
            *(written(f"50% off?#/v1/{file}", "dev", 7) for file in ("a b#?.pkl", "c")),
            written("../v1/model.pkl", "dev", 0),
        ],
    )
    return f"{dataset}.models"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Start the page, with nothing in its cache, on a BigQuery; returns a client of it."""

    def start(bigquery_url: str, table: str = "d.models") -> FlaskClient:
        monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
        monkeypatch.setenv("REGISTRY_TABLE", table)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
        app = functions_framework.create_app("inventory", str(ROOT / "main.py"))  # type: ignore[no-untyped-call]
        http: FlaskClient = app.test_client()
        return http

    return start


@pytest.fixture
def http(opened: Open, bigquery_url: str, registered: str) -> FlaskClient:
    """A client of the page, with some models."""
    return opened(bigquery_url, registered)


def text_of(response: TestResponse) -> str:
    """Return what a reader sees, roughly."""
    assert response.status_code == 200, response.text
    body = re.sub(r"<style>.*?</style>", "", response.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def names(response: TestResponse) -> list[str]:
    """Return the models of an overview, from above."""
    return [
        unescape(name) for name in re.findall(r'<th scope="row"><a [^>]*>(.*?)</a>', response.text)
    ]


def test_the_overview_shows_each_model_in_each_environment(http: FlaskClient) -> None:
    response = http.get("/")
    text = text_of(response)

    assert len(names(response)) == 6
    assert re.search(r"fraud v2 5.0 MB 2026-03-01 12:08 by ada v1 30 Bytes next: v2 .* ago", text)
    assert re.search(
        r"v1 20 Bytes next: v2 2026-03-01 12:09 by ada, eve differs from staging", text
    )
    assert "same as dev? no checksum" in text
    assert "never was in staging" in text
    assert "6 models · versions: dev 6 (5.0 MB) , staging 2" in text
    assert "same as staging" not in text  # what is as it should be is not said


def test_what_needs_attention_is_one_click_away(http: FlaskClient) -> None:
    [link] = re.findall(r'<a class="attention" href="(.*?)">(.*?)</a>', http.get("/").text)
    alone = http.get("/" + unescape(link[0]))

    assert link[1] == "2 need attention"
    assert names(alone) == ["Rash", "fraud"]
    assert "2 of 6 models" in text_of(alone)
    assert "Show all models" in alone.text
    assert '<input type="hidden" name="attention" value="1">' in alone.text.partition("<main")[2]


def test_as_json_the_overview_is_the_view(
    http: FlaskClient, client: bigquery.Client, registered: str
) -> None:
    rows = Inventory(client, registered).latest_models()

    response = http.get("/?format=json")

    assert response.content_type == "application/json; charset=utf-8"
    assert response.text == to_json(rows)
    assert {row["model_name"] for row in http.get("/?format=json&q=fraud").json or []} == {"fraud"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=", [UP, OFF, HOSTILE, "Rash", "fraud", "old"]),
        ("q=FRAUD", ["fraud"]),
        ("q=eve", ["fraud"]),  # an uploader
        ("q=nobody", []),
        ("q=%3Cimg+", [HOSTILE]),
        ("q=git_commit%3D8d1f2ab", []),  # fraud's latest version in dev has no such metadata
        ("q=minutes%3E%3D1.5", ["old"]),
        ("q=minutes%3E%3D1.5+and+framework+%3D+%22gradient+boosting%22", ["old"]),
        ("q=minutes%3C1.5&sort=-model", []),
        ("sort=model", [UP, OFF, HOSTILE, "fraud", "old", "Rash"]),
        ("sort=-model", ["Rash", "old", "fraud", HOSTILE, OFF, UP]),
        ("sort=-dev", ["fraud", OFF, HOSTILE, "old", UP, "Rash"]),  # the last is not there
        ("sort=staging", ["fraud", "old", UP, OFF, HOSTILE, "Rash"]),
        ("sort=-prod&q=ada", ["fraud", "Rash", UP, OFF, "old"]),
        ("sort=-uploaded", ["fraud", OFF, HOSTILE, "old", UP, "Rash"]),
        ("sort=size", [UP, HOSTILE, "Rash", "old", OFF, "fraud"]),
        ("sort=nonsense", [UP, OFF, HOSTILE, "Rash", "fraud", "old"]),
        ("page=2", [UP, OFF, HOSTILE, "Rash", "fraud", "old"]),  # there is but one
        ("page=nonsense", [UP, OFF, HOSTILE, "Rash", "fraud", "old"]),
        ("page=-7", [UP, OFF, HOSTILE, "Rash", "fraud", "old"]),
    ],
)
def test_models_are_found_and_sorted(http: FlaskClient, query: str, expected: list[str]) -> None:
    assert names(http.get(f"/?{query}")) == expected


def test_what_was_looked_for_is_said(http: FlaskClient) -> None:
    found, nothing = http.get("/?q=minutes>1"), http.get("/?q=minutes>2&at=2026-04-01")

    assert "1 model with minutes>1" in text_of(found)
    assert 'value="minutes&gt;1"' in found.text
    assert "0 models with minutes>2" in text_of(nothing)
    assert [row["model_name"] for row in http.get("/?q=minutes>1&format=json").json or []] == [
        "old"
    ]


def test_a_condition_that_cannot_be_read_is_said_above_all_models(http: FlaskClient) -> None:
    response, as_json = http.get("/?q=fraud+a=1"), http.get("/?q=fraud+a=1&format=json")

    assert (response.status_code, as_json.status_code) == (400, 400)
    assert len(names(response)) == 6
    [message] = re.findall(r'<p class="alert" role="alert" id="problem">(.*?)</p>', response.text)
    assert unescape(message).startswith("Expected key=value, or !=, <, <=, >, >= between them")
    assert unescape(message).endswith("found 'fraud a=1'. All models are shown.")
    assert as_json.json["error"].startswith("expected key=value")  # type: ignore[index]


def test_a_long_overview_has_pages(
    opened: Open, bigquery_url: str, registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MODELS", 2)
    http = opened(bigquery_url, registered)

    pages = [http.get(f"/?sort=model&page={number}") for number in (1, 2, 3)]

    assert [len(names(response)) for response in pages] == [2, 2, 2]
    assert "page 1 of 3" in text_of(pages[0])
    assert 'href="?q=&amp;sort=model&amp;page=2"' in pages[0].text
    assert 'rel="next"' not in pages[2].text


def test_the_column_that_is_sorted_by_says_so_and_leads_to_the_opposite(http: FlaskClient) -> None:
    up, down = http.get("/?sort=model&q=a").text, http.get("/?sort=-model").text

    assert 'aria-sort="ascending"><a href="?q=a&amp;sort=-model">Model' in up
    assert 'aria-sort="descending"><a href="?q=&amp;sort=model">Model' in down
    assert '<a href="?q=a&amp;sort=-prod">prod' in up


@pytest.mark.parametrize("name", [HOSTILE, OFF, UP])
def test_every_name_leads_to_its_model_and_is_text(http: FlaskClient, name: str) -> None:
    overview = http.get("/").text
    links = [unescape(link) for link in re.findall(r'<th scope="row"><a href="(.*?)"', overview)]
    either = {f"models/{name}", f"models/?name={name}"}
    [link] = [link for link in links if unquote_plus(link) in either]

    response = http.get(f"/{link}")

    assert response.status_code == 200
    assert f"<h1>{escape(name)}</h1>" in response.text
    for text in (overview, response.text):
        assert "<img" not in text


def test_metadata_is_always_text(http: FlaskClient) -> None:
    assert "&lt;b&gt;" in http.get("/models/fraud").text
    assert "<b>" not in http.get("/models/fraud").text
    assert text_of(http.get("/models/Rash")).count(" text ") == 1


@pytest.mark.parametrize("path", ["/", "/models/fraud", "/models/nobody"])
def test_nothing_is_run_or_loaded_from_elsewhere(http: FlaskClient, path: str) -> None:
    response = http.get(path)

    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not {"unsafe", "http", "*", "script"} & set(re.findall(r"\w+|\*", policy))
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "<script" not in response.text
    assert not re.search(r"\s(on\w+|style|src)=", response.text.replace(escape(HOSTILE), ""))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models/nobody", 404),
        ("GET", "/models/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/models/fraud/v9", 404),
        ("GET", "/models/fraud/v1/m", 404),
        ("GET", "/models/fraud?newest=x", 200),
        ("GET", "/models/fraud?newest=-1", 200),
        ("GET", "/models/fraud?newest=9223372036854775808", 200),
        ("GET", "/?format=xml", 400),
        ("POST", "/", 405),
        ("DELETE", "/models/fraud", 405),
        ("HEAD", "/", 200),
    ],
)
def test_what_cannot_be_answered_says_why(
    http: FlaskClient, method: str, path: str, status: int
) -> None:
    response = http.open(path, method=method)

    assert response.status_code == status
    assert response.content_type == "text/html; charset=utf-8"
    if status != 200:
        assert re.search("<p>(Expected|There is no)", response.text)
        assert response.headers["Cache-Control"] == "no-store"
        assert ("Allow" in response.headers) == (status == 405)


def test_an_error_is_json_if_json_was_asked_for(http: FlaskClient) -> None:
    answer = http.get("/models/nobody?format=json")

    assert answer.status_code == 404
    assert answer.json == {
        "error": "Expected versions of 'nobody', found none that are registered."
    }


@pytest.mark.parametrize(
    ("path", "home"), [("/", "./"), ("/models/fraud", "../"), ("/a/b/c", "../../")]
)
def test_links_hold_below_any_path(http: FlaskClient, path: str, home: str) -> None:
    response = http.get(path)

    current = ' aria-current="page"' if path == "/" else ""
    assert f'<a href="{home}"{current}>Models</a>' in response.text
    assert not re.search(r'href="/', response.text)


EMPTY = {
    "jobComplete": True,
    "jobReference": {"projectId": PROJECT, "jobId": "job"},
    "schema": {"fields": []},
    "totalRows": "0",
    "rows": [],
}


def empty(handler: server.Handler, _: server.Request) -> None:
    """Answer a query as BigQuery does when nothing fits."""
    handler.answer(200, EMPTY)


def test_an_empty_registry_explains_how_to_begin(opened: Open) -> None:
    with server.bigquery_server([empty]) as bigquery_server:
        text = text_of(opened(bigquery_server.url).get("/"))

    assert "No model is registered yet" in text
    assert "gcloud storage cp model.pkl gs://ml-models-dev/titanic-survival/v1/model.pkl" in text


def test_many_readers_at_once_cost_one_query(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHE_SECONDS", 60)  # this machine may be slow
    with server.bigquery_server([server.late(0.3, empty)] + [empty] * 50) as bigquery_server:
        http = opened(bigquery_server.url)

        def read(_: int) -> int:
            return http.application.test_client().get("/").status_code

        with ThreadPoolExecutor(10) as readers:
            assert set(readers.map(read, range(20))) == {200}
        assert len(bigquery_server.requests) == 1

        for _ in range(2):
            http.get("/models/a")
        http.get("/models/a?format=json")  # it has all files, which the page does without
        http.get("/models/b")
        assert len(bigquery_server.requests) == 4


def test_after_a_second_it_asks_again(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHE_SECONDS", 0.2)
    with server.bigquery_server([empty] * 50) as bigquery_server:
        http = opened(bigquery_server.url)

        def asked_again() -> bool:
            http.get("/")
            return len(bigquery_server.requests) > 1

        wait_until(asked_again)


def test_a_bigquery_that_is_away_is_a_page_with_status_503_and_a_line_in_the_log(
    opened: Open, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CACHE_SECONDS", 60)  # this machine may be slow
    answers = [server.error(403, "accessDenied", "<No>")] * 10
    with server.bigquery_server(answers) as bigquery_server:
        http = opened(bigquery_server.url)

        responses = [http.get("/"), http.get("/"), http.get("/?format=json")]

        assert len(bigquery_server.requests) == 1  # the failure, too, is kept
    for response in responses:
        assert response.status_code == 503
        assert "roles/bigquery.dataViewer" in response.text
        assert response.headers["Retry-After"] == "60"
        assert "Traceback" not in response.text
    assert "&lt;No&gt;" in responses[0].text
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["severity"] for line in lines] == ["ERROR"] * 3
    assert "roles/bigquery.dataViewer" in lines[0]["message"]
    assert "QueryFailed" in lines[0]["stack_trace"]


def test_a_bug_of_the_page_is_only_in_the_log(
    opened: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(page.Page, "respond", fail)
    response = opened("http://127.0.0.1:1").get("/")

    assert (response.status_code, "secret" in response.text) == (500, False)
    assert "ZeroDivisionError: secret" in json.loads(capsys.readouterr().out)["stack_trace"]
