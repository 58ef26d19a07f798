"""What happened, and how it was at a time: on the command line and on the page."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from html import unescape
from typing import Any

import functions_framework
import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from google.cloud import bigquery
from werkzeug.test import TestResponse

from registry import page
from registry.cli import main
from registry.inventory import Filter, Inventory
from registry.rows import to_json
from tests import PROJECT, ROOT
from tests.conftest import insert, written
from tests.servers import bigquery as server

BEFORE = "2026-03-01T12:20:00Z"  # nothing was overwritten or removed yet
type Json = dict[str, Any]
Run = Callable[..., Result]
Open = Callable[..., FlaskClient]


def removal(path: str, minute: int, uploaded: int) -> Json:
    """Make the row of a removal from prod."""
    time = f"2026-03-01T12:{minute:02}:00Z"
    return {
        "gcs_bucket": "ml-models-prod",
        "gcs_path": path,
        "generation": 1000 + uploaded,
        "removed_at": time,
        "recorded_at": time,
        "recorded_by": "deleted",
    }


@pytest.fixture(scope="module")
def registered(client: bigquery.Client, dataset: str) -> str:
    """A version that was overwritten, an incomplete one, a removed one; returns the table."""
    everywhere = list(zip(("dev", "staging", "prod"), range(3), strict=True))
    insert(
        client,
        dataset,
        [
            *(written(f"fraud/v3/{file}", where, at) for where, at in everywhere for file in "ab"),
            written("fraud/v3/c", "prod", 2),
            written("fraud/v3/a", "prod", 30, crc32c="BBBBBB==", uploader="eve"),
            *(written("fraud/v4/a", where, 40 + at) for where, at in everywhere),
            written("fraud/v4/b", "dev", 40, uploader="", metadata='{"git_commit": "8d1f2ab"}'),
            *(written("fraud/v4/b", where, 40 + at) for where, at in everywhere[1:]),
            *(written(f"copy/v1/{file}", "staging", 3) for file in "abc"),
            written("copy/v1/a", "prod", 4),
            *(
                written(f"gone/v{number}/m", where, 5 + at)
                for where, at in everywhere
                for number in (1, 2)
            ),
        ],
    )
    removals = [removal("fraud/v3/c", 25, 2), removal("gone/v2/m", 50, 7)]
    assert not client.insert_rows_json(f"{dataset}.removals", removals)
    return f"{dataset}.models"


@pytest.fixture
def run(registered: str, bigquery_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command."""
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    monkeypatch.setenv("REGISTRY_TABLE", registered)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    return lambda *words: CliRunner().invoke(main, words)


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
    """A client of the page."""
    return opened(bigquery_url, registered)


def rows(result: Result) -> list[Json]:
    assert result.exit_code == 0, result.output
    found: list[Json] = json.loads(result.stdout)
    return found


def short(found: Sequence[Json]) -> list[tuple[str, int, str, str, int]]:
    return [
        (row["model_name"], row["model_version"], row["environment"], row["change"], row["files"])
        for row in found
    ]


LATEST = [
    ("gone", 2, "prod", "removed", 1),
    ("fraud", 4, "prod", "arrived", 2),
    ("fraud", 3, "prod", "overwritten", 1),
    ("fraud", 3, "prod", "removed", 1),
    ("gone", 2, "prod", "arrived", 1),
    ("gone", 1, "prod", "arrived", 1),
    ("copy", 1, "prod", "arrived", 1),
    ("fraud", 3, "prod", "arrived", 3),
]


def test_changes_come_the_newest_first(run: Run) -> None:
    found = rows(run("changes", "--environment", "prod"))

    assert short(found) == LATEST
    assert found[2]["uploaders"] == ["eve"]
    assert (found[2]["changed_at"], found[2]["total_bytes"]) == ("2026-03-01T12:30:00+00:00", 10)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["copy", "--environment", "prod"], LATEST[6:7]),
        (["--environment", "prod", "--limit", "2"], LATEST[:2]),
        (["--environment", "prod", "--since", "2026-03-01T12:30:00Z"], LATEST[:3]),
        (["--environment", "prod", "--at", BEFORE], LATEST[4:]),
        # A period ends at the time of --at, wherever it stands.
        (["--since", "10m", "--environment", "prod", "--at", "2026-03-01T12:35Z"], LATEST[2:4]),
    ],
)
def test_changes_are_found_by_model_environment_and_time(
    run: Run, words: list[str], expected: list[tuple[str, int, str, str, int]]
) -> None:
    assert short(rows(run("changes", *words))) == expected


def test_changes_are_a_table_and_csv_as_well(run: Run) -> None:
    words = ["changes", "fraud", "--environment", "dev"]

    table = run(*words, "--format", "table").output
    [of_v4, _] = csv.DictReader(io.StringIO(run(*words, "--format", "csv").stdout))

    cells = [cell.strip() for cell in table.splitlines()[3].split("│")[1:-1]]
    assert cells == [
        *("2026-03-01 12:40", "fraud", "v4", "dev", "arrived", "2", "20 Bytes"),
        *("ada", "8d1f2ab"),  # not ", ada": an empty uploader is none
    ]
    assert (of_v4["uploaders"], of_v4["change"], of_v4["files"]) == ('["ada"]', "arrived", "2")


def test_a_model_to_which_nothing_happened_is_exit_code_1(run: Run) -> None:
    result = run("changes", "nobody")

    assert (result.exit_code, json.loads(result.stdout)) == (1, [])


def test_promotions_go_by_the_last_upload(run: Run) -> None:
    words = ["promotions", "--environment", "prod", "--since", "2026-03-01T12:30:00Z"]

    found = rows(run(*words))
    table = run(*words, "--format", "table").output

    assert [(row["model_name"], row["model_version"], row["prod_vs_staging"]) for row in found] == [
        ("fraud", 4, "identical"),
        ("fraud", 3, "different"),
    ]
    assert "last 2026-03-01 12:30" in table


def test_a_version_that_was_removed_comes_last_and_says_since_when(run: Run) -> None:
    found = rows(run("show", "gone"))
    shown = run("show", "gone", "--format", "table").output
    [first, second] = rows(run("promotions", "gone"))
    promoted = run("promotions", "gone", "--format", "table").output
    [latest] = rows(run("models", "--environment", "prod"))[-1:]

    assert [(row["model_version"], row["environment"]) for row in found[-2:]] == [
        (1, "prod"),
        (2, "prod"),
    ]
    removed = "2026-03-01T12:50:00+00:00"
    assert [row["removed_at"] for row in found] == [None] * 5 + [removed]
    assert (found[-1]["prod_vs_staging"], found[-1]["files"]) == (None, 0)
    assert "v2 removed 2026-03-01 12:50" in shown.splitlines()[-2]
    assert (first["prod_removed_at"], first["prod_vs_staging"]) == (removed, None)
    assert (second["prod_removed_at"], second["prod_vs_staging"]) == (None, "identical")
    assert promoted.count("removed 2026-03-01 12:50") == 1
    assert (latest["model_name"], latest["model_version"]) == ("gone", 1)


def test_models_say_what_is_incomplete_and_what_else_differs(run: Run) -> None:
    table = run("models", "--environment", "prod", "--format", "table").output
    copied, fraud, _ = rows(run("models", "--environment", "prod"))

    assert "incomplete copy of staging" in table
    assert "same as staging" in table
    assert "not as in staging: v3" in table
    assert copied["missing_files"] == ["b", "c"]
    assert (fraud["prod_vs_staging"], fraud["differing_versions"]) == ("identical", [3])


def test_each_question_can_be_asked_about_a_time(run: Run) -> None:
    def at(*words: str) -> list[Json]:
        return rows(run(*words, "--at", BEFORE))

    prod = {row["model_name"]: row for row in at("models", "--environment", "prod")}
    assert (prod["fraud"]["model_version"], prod["fraud"]["extra_files"]) == (3, ["c"])
    assert prod["gone"]["model_version"] == 2
    assert {row["removed_at"] for row in at("show", "gone")} == {None}
    [version] = at("show", "fraud", "--files", "--environment", "prod")
    assert [file["crc32c"] for file in version["artifacts"]] == ["AAAAAA=="] * 3
    assert [row["model_version"] for row in at("promotions", "fraud")] == [3]
    [written_first] = at("history", "gs://ml-models-prod/fraud/v3/a")
    assert written_first["generation"] == 1002


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2999-01-01", "expected a time that is not in the future, found '2999-01-01'"),
        ("yesterday", "expected a date, a time in ISO 8601, or a period"),
    ],
)
def test_a_time_that_is_none_is_exit_code_2(run: Run, at: str, expected: str) -> None:
    for command in (["models"], ["changes", "--since", "1d"]):
        result = run(*command, "--at", at)

        assert result.exit_code == 2
        assert expected in result.stderr.splitlines()[-1]


def text_of(response: TestResponse) -> str:
    """Return what a reader sees, roughly."""
    body = re.sub(r"<style>.*?</style>", "", response.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_the_page_of_changes_shows_what_the_command_line_does(
    http: FlaskClient, client: bigquery.Client, registered: str
) -> None:
    expected = Inventory(client, registered).changes("fraud", Filter(environments=["prod"]))
    query = "model=fraud&environment=prod&since=2026-03-01"

    response = http.get(f"/changes?{query}")

    assert http.get(f"/changes?{query}&format=json").text == to_json(expected)
    assert re.search(
        "UTC fraud v3 prod overwritten 1 10 Bytes eve - .{,20} ago .{16} UTC fraud v3 prod removed",
        text_of(response),
    )
    assert "<option selected>prod</option>" in response.text
    assert 'name="since" value="2026-03-01"' in response.text
    then = 'href="models/fraud?at=2026-03-01T12%3A30%3A00%2B00%3A00"'
    assert then in response.text
    assert http.get(f"/{then[6:-1]}").status_code == 200
    assert "Nothing of that kind" in http.get("/changes?model=nobody&environment=&since=").text


def test_of_many_changes_the_newest_are_shown_and_how_to_get_all(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "CHANGES", 1)

    short_list = http.get("/changes?environment=prod&since=2026-03-01&at=2026-03-02&model=fraud")
    all_models = http.get("/changes")

    assert short_list.text.count('<th scope="row">') == 1
    command = "model-registry changes --environment prod --since 2026-03-01 --at 2026-03-02"
    assert f"The newest 1. All of them: {command} -- fraud" in text_of(short_list)
    assert '<code class="copy">model-registry changes</code>' in all_models.text
    assert len(http.get("/changes?format=json").json or []) == 1


def test_the_overview_names_every_version_of_prod_that_differs(http: FlaskClient) -> None:
    response = http.get("/")

    assert "not as in staging: v3" in text_of(response)
    assert 'class="others" href="models/fraud/v3">v3' in response.text
    assert '<span class="mark incomplete">incomplete copy of staging</span>' in response.text


def test_the_page_of_a_version_marks_what_is_there_and_differs(http: FlaskClient) -> None:
    """Not what was removed from a version that differs."""
    fraud, copied = (http.get(f"/models/{name}") for name in ("fraud/v3", "copy"))

    assert re.findall(r'<tr class="odd">.*?<a [^>]*>(.*?)</a>', fraud.text, re.DOTALL) == ["a"]
    assert "c 10 Bytes - - removed removed 2026-03-01 12:25:00" in text_of(fraud)
    assert "Changed: a" in text_of(fraud)
    assert "Missing here: b , c" in text_of(copied)


def test_the_page_of_a_model_says_what_was_removed(http: FlaskClient) -> None:
    text = text_of(http.get("/models/gone"))

    assert "prod removed 2026-03-01 12:50:00 , was there since 2026-03-01 12:07:00" in text
    assert "2026-03-01 12:50 prod v2 files removed" in text


def test_a_time_stays_in_the_links_and_there_is_a_way_back(http: FlaskClient) -> None:
    at = "at=2026-03-01T12%3A20"
    overview = http.get(f"/?{at}&q=fraud&sort=-prod").text
    model = http.get(f"/models/fraud?{at}").text
    changes = http.get(f"/changes?{at}&environment=dev&environment=prod").text

    for text in (overview, model, changes):
        assert "This is how it was at 2026-03-01 12:20:00 UTC." in text
    assert "attention=1" in http.get(f"/?{at}").text  # c was there, and not in staging
    assert "v4" not in overview
    for link in (
        f'<a href="./?{at}" aria-current="page">Models</a>',
        f'<a href="./changes?{at}">Changes</a>',
        f'<a href="models/fraud?{at}">fraud</a>',
        f'<a href="?{at}&amp;q=fraud&amp;sort=prod">prod <span class="by">by upload</span></a>',
        '<input type="hidden" name="at" value="2026-03-01T12:20">',
        '<a href="?q=fraud&amp;sort=-prod">Show it now</a>',
    ):
        assert link in overview
    assert f'<a href="../changes?{at}&amp;model=fraud">' in model
    assert '<a href="?">Show it now</a>' in model
    assert '<a href="?environment=dev&amp;environment=prod">Show it now</a>' in changes
    assert '<input type="hidden" name="at" value="2026-03-01T12:20">' in changes


def test_before_anything_was_there_the_page_says_so(http: FlaskClient) -> None:
    overview, model = http.get("/?at=2026-01-01"), http.get("/models/fraud?at=2026-01-01")

    assert "No model was registered yet." in text_of(overview)
    assert model.status_code == 404
    for response in (overview, model):
        assert "This is how it was at 2026-01-01" in response.text
        assert '<a href="?">Show it now</a>' in response.text


@pytest.mark.parametrize("path", ["/", "/models/fraud", "/changes"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("at=yesterday", "Expected a date, a time in ISO 8601, or a period such as"),
        ("at=%3Cimg%3E%00", "found '<img>\\x00'"),
        ("at=' OR TRUE --", "Expected a date"),
        ("at=2026-03-01T12:00:00+02:00", "a + is written %2B"),
        ("at=2999-01-01", "Expected a time that is not in the future, found '2999-01-01'"),
    ],
)
def test_a_hostile_time_is_a_bad_request(
    http: FlaskClient, path: str, query: str, expected: str
) -> None:
    response, as_json = http.get(f"{path}?{query}"), http.get(f"{path}?format=json&{query}")

    assert (response.status_code, as_json.status_code) == (400, 400)
    assert expected in unescape(response.text)
    assert expected in as_json.json["error"]  # type: ignore[index] # it is an object
    assert "<img>" not in response.text
    assert "This is how it was" not in response.text


@pytest.mark.parametrize("query", ["since=yesterday", "environment=qa", "environment=%3Cimg%3E"])
def test_changes_refuse_what_they_cannot_read(http: FlaskClient, query: str) -> None:
    response = http.get(f"/changes?{query}")

    assert response.status_code == 400
    assert "<p>Expected " in response.text


EMPTY = {
    "jobComplete": True,
    "jobReference": {"projectId": PROJECT, "jobId": "job"},
    "schema": {"fields": []},
    "totalRows": "0",
    "rows": [],
}


def test_an_answer_is_kept_for_its_time(opened: Open) -> None:
    empty: server.Answer = lambda handler, _: handler.answer(200, EMPTY)  # noqa: E731
    with server.bigquery_server([empty] * 10) as bigquery_server:
        http = opened(bigquery_server.url)
        for asked, path in enumerate(
            ["/", "/?at=2026-03-01", "/?at=2026-03-02", "/changes", "/changes?at=2026-03-01"], 1
        ):
            for again in (path, f"{path}{'&' if '?' in path else '?'}format=json"):
                assert http.get(again).status_code == 200
                assert len(bigquery_server.requests) == asked
