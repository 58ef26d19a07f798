"""The page of a model and the page of a version, with the BigQuery emulator behind them."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask, request
from google.cloud import bigquery
from werkzeug.test import TestResponse

from registry import page
from registry.inventory import Inventory
from registry.links import Links
from registry.page import Page
from registry.rows import to_json
from tests.conftest import insert, written
from tests.test_page import HOSTILE, OFF, text_of

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
COMMITS = "https://git.example.com/commit/"
CONSOLE = "https://console.cloud.google.com/storage/browser/_details"

type Read = Callable[[str], TestResponse]


def uploaded(path: str, environment: str, days: float, **columns: object) -> dict[str, object]:
    """Make the row of an upload some days ago."""
    time = NOW - timedelta(days=days)
    row = written(path, environment, 0, generation=int(time.timestamp() * 1000), **columns)
    return {**row, "upload_timestamp": time.isoformat()}


def removed(row: Mapping[str, Any], days: float) -> dict[str, object]:
    """Make the row of its removal some days ago."""
    names = ("gcs_path", "generation", "upload_timestamp")
    return {
        **{name: row[name] for name in names},
        "gcs_bucket": f"ml-models-{row['environment']}",
        "removed_at": (NOW - timedelta(days=days)).isoformat(),
        "recorded_at": NOW.isoformat(),
        "recorded_by": "deleted",
    }


@pytest.fixture(scope="module")
def table(client: bigquery.Client, dataset: str) -> str:
    """Some models; returns the table's name."""
    trained = json.dumps({"uploader": "ada", "zeta": "z", "auc": "0.93", "git_commit": "8d1f2ab"})
    odd = json.dumps({"<b>": {"x": 1}, "long": "x" * 500})
    withdrawn = uploaded("churn/v6/m", "prod", 4)
    away = uploaded("back/v1/m", "prod", 5)
    insert(
        client,
        dataset,
        [
            *(
                uploaded(f"fraud/v1/{file}", where, days, metadata=trained)
                for where, days in (("dev", 9), ("staging", 8), ("prod", 7))
                for file in ("model.pkl", "same.txt", *["only.txt"] * (where != "prod"))
            ),
            uploaded("fraud/v1/model.pkl", "prod", 1, crc32c="BBBBBB==", uploader="eve"),
            uploaded("fraud/v1/new.txt", "prod", 1, metadata=odd),
            uploaded("fraud/v2/model.pkl", "dev", 2, file_size_bytes=5_000_000),
            *(uploaded(f"churn/v{n}/m", "dev", 30 - n, metadata=odd) for n in range(1, 26)),
            uploaded("churn/v5/m", "staging", 10),
            uploaded("churn/v5/m", "prod", 9, metadata='"text"'),
            withdrawn,
            away,
            uploaded("back/v1/m", "prod", 3),
            *(
                uploaded(
                    f"sixty/v{n}/part-{i:05}-of-00040.safetensors", where, days, metadata=trained
                )
                for n in range(1, 61)
                for i in range(40)
                for where, days in (("dev", 200 - n), ("staging", 199.5 - n), ("prod", 199 - n))
            ),
            *(uploaded(f"{OFF}/v1/{HOSTILE}{file}", "dev", 7, metadata=odd) for file in "ab"),
            uploaded("-/v1/model.pkl", "dev", 0),
        ],
    )
    assert not client.insert_rows_json(
        f"{dataset}.removals", [removed(withdrawn, 2), removed(away, 4)]
    )
    return f"{dataset}.models"


@pytest.fixture
def read(client: bigquery.Client, table: str) -> Read:
    """Open the page at an address."""
    app = Flask("page")
    links = Links.parse(f"git_commit={COMMITS}{{value}}")
    made = Page(Inventory(client, table), clock=lambda: NOW, links=links)
    app.add_url_rule("/<path:path>", view_func=lambda **_: made.respond(request))
    return app.test_client().get


def block(response: TestResponse, version: str) -> str:
    """Return what a reader sees of a version."""
    [found] = re.findall(
        rf'<article class="version" id="{version}">.*?</article>', response.text, re.DOTALL
    )
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", found)).split())


def test_first_comes_what_is_where_and_how_to_get_it(read: Read) -> None:
    text = text_of(read("/models/fraud"))

    assert text.index("dev v2 since 2026-03-08 12:00:00 UTC, 2 days ago") < text.index("Timeline")
    assert "prod v1 since 2026-03-03 12:00:00 UTC, 7 days ago differs from staging" in text
    assert "gs://ml-models-prod/fraud/v1/ model-registry get -e prod fraud v1 ./fraud-v1 " in text
    assert "staging Never was here." in text_of(read("/models/-"))


def test_a_command_to_paste_takes_a_name_as_it_is(read: Read) -> None:
    assert "model-registry get -e dev -- - v1 ./--v1" in text_of(read("/models/-"))
    off = text_of(read("/models/50%25%20off%3F%23"))
    assert "model-registry get -e dev '50% off?#' v1 './50% off?#-v1'" in off


def test_of_an_earlier_time_no_command_is_shown(read: Read) -> None:
    text = text_of(read("/models/fraud?at=5d"))

    assert "prod v1 since 2026-03-03 12:00:00 UTC" in text
    assert "gs://ml-models-prod/fraud/v1/" in text
    assert "model-registry get" not in text
    assert "2026-03-05 12:00" in text  # the picture ends there


def test_a_version_is_a_block_with_its_environments_and_the_files_that_differ(read: Read) -> None:
    response = read("/models/fraud")

    assert "dev since 2026-03-08 12:00:00 · 1 file, 5.0 MB · by ada" in block(response, "v2")
    first = block(response, "v1")
    assert "by ada, eve · uploaded again once, last upload 2026-03-09 12:00:00 ·" in first
    assert "Changed: model.pkl Missing here: only.txt Only here: new.txt" in first
    assert "model.pkl 10 Bytes here same changed" in first
    assert "only.txt 10 Bytes here same missing here" in first
    assert "new.txt 10 Bytes - - only here" in first
    assert "same.txt 10 Bytes here same same" in first
    odd = re.findall(r'<tr class="odd">.*?<a [^>]*>(.*?)</a>', response.text, re.DOTALL)
    assert odd == ["model.pkl", "new.txt", "only.txt"]
    assert f'href="{CONSOLE}/ml-models-prod/fraud/v1/model.pkl"' in response.text


def test_metadata_is_text_and_what_people_look_for_comes_first(read: Read) -> None:
    shown = block(read("/models/sixty"), "v60")
    odd = read("/models/fraud/v1")

    assert "git_commit 8d1f2ab auc 0.93 zeta z 40 files" in shown
    link = f'<a href="{COMMITS}8d1f2ab">8d1f2ab</a>'
    assert link in odd.text
    assert f"<code>{link}</code>" in read("/changes?model=fraud&environment=staging").text
    assert "git_commit 8d1f2ab in dev, staging" in text_of(odd)  # prod was overwritten without
    assert "&lt;b&gt;" in odd.text
    assert "x" * 500 in odd.text
    assert "x" * 101 not in read("/models/fraud").text
    assert "metadata text in prod" in text_of(read("/models/churn"))


def test_what_is_in_an_environment_comes_first_however_old(read: Read) -> None:
    response = read("/models/churn")
    numbers = re.findall(r'<article class="version" id="v(\d+)"', response.text)

    assert numbers[:4] == ["25", "5", "24", "23"]
    assert numbers[-1] == "4"
    assert 'href="?newest=3#versions">Older versions' in response.text
    older = read("/models/churn?newest=3")
    assert re.findall(r'<article class="version" id="v(\d+)"', older.text) == [
        *("25", "5", "3", "2", "1")
    ]
    assert "Older versions" not in older.text
    assert "1 file of v24" in block(response, "v24")
    assert 'href="../models/churn/v24"' in response.text


def test_what_was_removed_is_said_where_it_was(read: Read) -> None:
    gone = block(read("/models/churn?newest=6"), "v6")

    assert "prod removed 2026-03-08 12:00:00 , was there since 2026-03-06 12:00:00 · by ada" in gone
    alone = text_of(read("/models/churn/v6"))
    assert "prod Not here now. v6 was removed at 2026-03-08 12:00:00 UTC." in alone  # but v5 is


def test_what_came_back_is_there_since_then(read: Read) -> None:
    model, version = (text_of(read(path)) for path in ("/models/back", "/models/back/v1"))

    assert "prod v1 since 2026-03-07 12:00:00 UTC, 3 days ago" in model
    assert "prod v1 first here 2026-03-05 12:00:00 UTC, 5 days ago" in version
    for text in (model, version):
        assert "uploaded again once, last upload 2026-03-07 12:00:00" in text
        assert "since 2026-03-05" not in text
        assert "overwritten" not in text


def test_a_model_has_a_timeline_and_the_same_in_words(read: Read) -> None:
    response = read("/models/churn")
    text = text_of(response)

    assert 'aria-describedby="timeline-words"' in response.text
    assert text.count("the highest version there") == 1
    for row in (
        "prod v5 2026-03-08 12:00 now prod v6 2026-03-06 12:00 2026-03-08 12:00, removed",
        "prod v5 2026-03-01 12:00 2026-03-06 12:00",
        "2026-03-08 12:00 prod v6 files removed",
        "2026-03-01 12:00 prod v5 promoted",
    ):
        assert row in text
    assert "overwritten" not in text  # the legend names what is in the picture
    assert "promoted" not in text_of(read("/models/-"))


def test_a_version_has_an_address_of_its_own(read: Read) -> None:
    one, none, odd = (read(f"/models/fraud/{version}") for version in ("v1", "v9", "x"))
    text = text_of(one)

    assert "fraud v1 All versions" in text
    assert "v2" not in text
    assert 'href="../../models/fraud">All versions' in one.text
    assert "changed 2026-03-09 12:00:00 by eve 10 Bytes, crc32c BBBBBB== uploaded again" in text
    assert (none.status_code, odd.status_code) == (404, 404)
    assert "Expected v9 of" in none.text


def test_of_many_files_the_first_are_shown(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FILES", 1)
    monkeypatch.setattr(page, "FILES_OF_ONE", 1)

    assert 'href="../models/fraud/v1">Show more' in read("/models/fraud").text
    one = text_of(read("/models/50%25%20off%3F%23/v1"))
    assert "The first 1 of 2." in one
    assert "model-registry show --files -- '50% off?#' v1" in one
    then = text_of(read("/models/50%25%20off%3F%23/v1?at=1m"))
    assert "model-registry show --files --at 1m -- '50% off?#' v1" in then


def test_as_json_a_model_is_its_versions_with_their_files(
    read: Read, client: bigquery.Client, table: str
) -> None:
    rows = Inventory(client, table).model_version_files("fraud")

    assert read("/models/fraud?format=json").text == to_json(rows)
    assert read("/models/fraud/v2?format=json").json == json.loads(to_json(rows[:1]))


def test_sixty_versions_with_forty_files_are_a_small_page(read: Read) -> None:
    response = read("/models/sixty")

    assert len(response.data) < 150_000
    assert response.text.count("<rect") > 180
    assert "40 files of v59" in response.text


def test_a_picture_of_very_many_versions_begins_later(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.page.DRAWN", 3)
    monkeypatch.setattr("registry.timeline.DRAWN", 3)

    text = text_of(read("/models/churn"))
    assert "It begins 2026-03-03 12:00:00 . Older versions are only in it where" in text
    assert "dev v22" not in text.partition("Versions All times")[0]


def test_two_environments_are_compared_a_click_away(read: Read) -> None:
    version = read("/models/fraud?at=1h")
    [address] = re.findall(r'href="\.\./(compare\?[^"]*to=prod)"', version.text)

    compared = read(f"/{unescape(address)}")

    text = text_of(compared)
    assert "fraud : v1 in staging → v1 in prod" in text
    assert "1 added, 1 removed, 1 changed, 1 the same" in text
    assert re.search(r"model\.pkl 10 Bytes AAAAAA== 10 Bytes BBBBBB== changed", text)
    assert "auc 0.93 - removed" not in text  # same.txt still has it
    assert f'<a href="{COMMITS}8d1f2ab">8d1f2ab</a>' in compared.text
    rows = read(f"/{unescape(address)}&format=json").get_json()
    assert {row["name"]: row["difference"] for row in rows if row["kind"] == "file"} == {
        "model.pkl": "changed",
        "new.txt": "added",
        "only.txt": "removed",
        "same.txt": "same",
    }


def test_compare_shows_its_form_and_says_what_it_cannot_compare(read: Read) -> None:
    assert 'name="model" value="fraud"' in read("/compare?model=fraud").text
    wrong = read("/compare?model=fraud&first=v1&second=v2&from=prod")
    assert wrong.status_code == 404
    assert "Expected v2 in prod, found no files of it." in wrong.text
    error = read("/compare?model=fraud&first=x&to=dev&format=json")
    assert (error.status_code, error.get_json()) == (
        400,
        {"error": "Expected a version such as v3, found 'x'."},
    )
    more = read("/compare?model=fraud&first=v1&format=json")
    assert (more.status_code, more.get_json()) == (
        400,
        {"error": "Expected model and first, and second or from and to."},
    )


def test_a_long_comparison_is_cut_and_says_so(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FILES_OF_ONE", 1)

    text = text_of(read("/compare?model=fraud&first=v1&from=staging&to=prod"))

    assert "The first 1 of 3. All of them, as JSON" in text
    assert "only.txt" not in text


def test_each_page_leads_to_another_time_of_itself(read: Read) -> None:
    response = read("/compare?model=fraud&first=v1&from=dev&to=staging&at=2026-03-05T10:00")

    assert "As of 2026-03-05 10:00 UTC As of, in UTC Show" in text_of(response)
    for hidden in ("model", "first", "from", "to"):
        assert f'<input type="hidden" name="{hidden}"' in response.text
    # The page may have been open for hours, so it does not refuse what was the future then.
    assert 'id="at" name="at" step="1" max="9999-12-31T23:59:59"' in response.text
    assert 'href="./compare?at=2026-03-05T10%3A00" aria-current="page"' in response.text
