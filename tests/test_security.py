"""What somebody who may upload can do to others, what the function may do, and known flaws."""

import json
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import functions_framework
import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from google.cloud import bigquery

from registry.cli import main
from registry.inventory import Inventory
from tests import PROJECT, ROOT
from tests.conftest import Function
from tests.events import HEADERS, LOG_KEYS, body, select

TABLE = "ml_registry.models"
BUCKET = "ml-models-dev"
FORGED = '{"severity": "INFO", "outcome": "registered", "message": "forged"}'
HOSTILE = {
    "sql": "'; DROP TABLE ml_registry.models; -- \"`",
    "sql that is true": "' OR '1'='1",
    "a wildcard": "%",
    "a placeholder": "@model_name ${project} %s {0} ? \\",
    "html": "</script><script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&#62;",
    "end of an attribute": "\" onmouseover='alert(1)' x=\"",
    "a script's address": "javascript:alert(1)",
    "a template, and a lookup": "{{ 7 * 7 }}{% raw %}${jndi:ldap://x.example/a}",
    "an escape sequence": "\x1b[2J\x1b]0;title\x07\x9b31m\x7f",
    "another direction": "\u202egpj.\u202c\u2066\u200f\ufeff",
    "markup of a table": "[red]x[/red][link=https://x.example]y[/link]",
    "a line of the log": f"model.pkl\n{FORGED}\r\n{FORGED}\x0b\x0c\x1c\x85\u2028\u2029",
    "an option": "--format=json",
    "the folder above": "..",
}


def model_of(hostile: str) -> str:
    """Return a model's name, in which there is no slash."""
    return hostile.replace("/", "\\")


def event(model: str, text: str) -> dict[str, Any]:
    """Return the body of an event which says the same thing everywhere."""
    metadata = {"uploader": text, text: text}
    name = f"{model}/v1/{text}"
    return body(name=name, metadata=metadata, crc32c=text, md5Hash=text, contentType=text)


# --- What an upload is called ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines(function: Function) -> dict[str, list[dict[str, Any]]]:
    """Deliver an event for each text, and a harmless one; returns their lines in the log."""
    function.new_lines()
    found = {}
    for case, text in {**HOSTILE, "harmless": "harmless"}.items():
        assert function.post(HEADERS, json.dumps(event(model_of(text), text))).ok
        found[case] = function.new_lines()
    return found


@pytest.fixture
def run(lines: object, bigquery_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command, on a table of hostile names; returns what it printed."""
    assert lines
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    monkeypatch.setenv("REGISTRY_TABLE", TABLE)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    return lambda *words: CliRunner().invoke(main, words)


@pytest.fixture
def http(run: object) -> FlaskClient:
    """Open the page on the same."""
    assert run
    app = functions_framework.create_app("inventory", str(ROOT / "main.py"))  # type: ignore[no-untyped-call]
    client: FlaskClient = app.test_client()
    return client


@pytest.mark.parametrize("case", HOSTILE)
def test_an_event_is_one_line_of_the_log_for_any_name(
    case: str, lines: dict[str, list[dict[str, Any]]]
) -> None:
    text = HOSTILE[case]

    [line] = lines[case]

    assert list(line) == LOG_KEYS
    assert line.pop("duration_ms") >= 0
    assert line == {
        "severity": "INFO",
        "message": f"registered {model_of(text)} v1 {text} in dev",
        "outcome": "registered",
        "environment": "dev",
        "event_id": HEADERS["ce-id"],
        "gcs_bucket": BUCKET,
        "gcs_path": f"{model_of(text)}/v1/{text}",
        "generation": body()["generation"],
        "model_name": model_of(text),
        "model_version": 1,
    }


@pytest.mark.parametrize("case", HOSTILE)
def test_a_row_holds_what_the_event_says_to_the_letter(
    case: str, lines: object, client: bigquery.Client
) -> None:
    assert lines
    text = HOSTILE[case]

    [row] = select(client, "models", f"{model_of(text)}/v1/{text}", without="registered_at")

    assert row == {
        "model_name": model_of(text),
        "model_version": 1,
        "environment": "dev",
        "gcs_bucket": BUCKET,
        "gcs_path": f"{model_of(text)}/v1/{text}",
        "file_size_bytes": 352,
        "upload_timestamp": "2020-04-23T07:38:57.230000+00:00",
        "uploader": text,
        "generation": 1587627537231057,
        "crc32c": text,
        "md5_hash": text,
        "metadata": {"uploader": text, text: text},
    }


@pytest.mark.parametrize("case", HOSTILE)
def test_a_name_finds_its_own_model_and_no_other(
    case: str, lines: object, client: bigquery.Client
) -> None:
    assert lines
    inventory, text = Inventory(client, TABLE), HOSTILE[case]
    model = model_of(text)

    [version] = inventory.model_version_files(model)

    assert (version.model_name, list(version.uploaders), version.files) == (model, [text], 1)
    [artifact] = version.artifacts
    assert (artifact.gcs_path, artifact.uploader) == (f"{model}/v1/{text}", text)


def test_sql_in_a_name_is_a_name_in_each_question(lines: object, client: bigquery.Client) -> None:
    assert lines
    inventory, text = Inventory(client, TABLE), HOSTILE["sql that is true"]

    for ask in (inventory.model_versions, inventory.model_version_files, inventory.promotions):
        assert {row.model_name for row in ask(text)} == {text}
        assert list(ask(f"{text}'")) == []
    [generation] = inventory.generations(BUCKET, f"{text}/v1/{text}")
    assert generation.metadata == {"uploader": text, text: text}
    assert inventory.generations(f"{BUCKET}' OR 'a'='a", f"{text}/v1/{text}") == []


INVISIBLE = [case for case, text in HOSTILE.items() if not text.isprintable()]


@pytest.mark.parametrize("case", INVISIBLE)
def test_a_table_on_a_terminal_has_no_character_that_is_not_seen(
    case: str, run: Callable[..., Result]
) -> None:
    text = HOSTILE[case]
    model = model_of(text)
    there = [
        run("show", "--format", "table", "--", model),
        run("show", "--files", "--format", "table", "--", model),
        run("promotions", "--format", "table", "--", model),
        run("history", "--format", "table", "--", f"gs://{BUCKET}/{model}/v1/{text}"),
    ]
    missing = [
        run("show", "--", f"{model}'"),
        run("history", "--", f"gs://{BUCKET}/{text}"),
        run("history", "--", text),
        run("models", "--since", text),
        run("models", "--table", text),
    ]

    assert [result.exit_code for result in there] == [0] * 4
    assert {result.exit_code for result in missing} <= {1, 2}
    for result in there + missing:
        assert result.output.replace("\n", "").isprintable()


def test_nor_has_the_table_of_all_models(run: Callable[..., Result]) -> None:
    output = run("models", "--format", "table").output

    assert output.replace("\n", "").isprintable()


class Markup(HTMLParser):
    """The tags of a page with the names of their attributes, its links, and its heading."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: list[tuple[str, list[str]]] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attrs]))
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action"}]
        if tag == "h1":
            self.headings.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "h1" and not self.headings[-1]:
            self.headings[-1] = data


def test_text_never_changes_the_markup_of_the_page(http: FlaskClient) -> None:
    harmless = Markup(http.get("/models/?name=harmless").text)

    for model in map(model_of, HOSTILE.values()):
        response = http.get("/models/", query_string={"name": model})

        assert response.status_code == 200
        page = Markup(response.text)
        assert page.tags == harmless.tags
        assert page.headings == [model]


def test_no_link_of_the_overview_leads_elsewhere(http: FlaskClient) -> None:
    response = http.get("/")
    page = Markup(response.text)

    assert {"script", "img", "iframe", "object", "base"}.isdisjoint(tag for tag, _ in page.tags)
    assert not [name for _, names in page.tags for name in names if name.startswith("on")]
    for link in page.links:
        assert urlsplit(link).scheme in {"", "data"}
        assert not urlsplit(link).netloc
    models = {link for link in page.links if link.startswith("models/")}
    assert len(models) >= len(HOSTILE)


# --- Known vulnerabilities of what is installed ---------------------------------------------------

AUDIT = Path(sys.executable).with_name("pip-audit")
UNREACHABLE = ("ConnectionError", "Could not connect", "ServiceError", "Timeout", "not redirecting")


def test_no_pinned_version_has_a_known_vulnerability() -> None:
    """Of what the tests run with, which includes all that is deployed."""
    pinned = ROOT / "tests/requirements.txt"
    ended = subprocess.run(
        [
            *(AUDIT, "--requirement", pinned, "--require-hashes", "--disable-pip"),
            *("--progress-spinner=off", "--format=json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if not ended.stdout and any(word in ended.stderr for word in UNREACHABLE):
        last = ended.stderr.strip().splitlines()[-1]
        pytest.skip(f"the advisory service cannot be reached: {last}")
    audited = json.loads(ended.stdout)["dependencies"]
    unknown = [found for found in audited if "skip_reason" in found]
    # A mirror has the packages without the advisories, to which pip-audit says that none is known.
    if len(unknown) == len(audited) > 0:
        pytest.skip(f"no advisory service behind this index: {unknown[0]['skip_reason']}")

    assert unknown == []
    assert [found for found in audited if found["vulns"]] == []
    assert ended.returncode == 0, ended.stderr
