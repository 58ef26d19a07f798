"""`compare`: two versions of a model, or a version in two environments."""

import csv
import io
import json
import re
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from google.cloud import bigquery

from registry import queries
from registry.cli import main
from registry.comparison import Compared, Difference, are_same, compare
from registry.rows import ComparedFile
from tests import PROJECT, ROOT
from tests.conftest import insert, written

Run = Callable[..., Result]
ALIKE = {"crc32c": "AAAAAA==", "file_size_bytes": 10}


def file(
    name: str = "m", *, folder: str = "v1", counts: bool = True, **columns: object
) -> ComparedFile:
    """Make a file of a version."""
    empty = dict.fromkeys(ComparedFile.__dataclass_fields__)
    path = f"model/{folder}/{name}"
    return ComparedFile(**{**empty, "gcs_path": path, "counts": counts, **ALIKE, **columns})  # type: ignore[arg-type]


def only(first: ComparedFile | None, second: ComparedFile | None) -> Compared:
    """Compare versions of at most one file; there is one row."""
    [row] = compare([first] if first else [], [second] if second else [])
    return row


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (file(), file(folder="v02"), Difference.SAME),
        (file(), file(crc32c="BBBBBB=="), Difference.CHANGED),
        (file(), file(file_size_bytes=11), Difference.CHANGED),
        (None, file(), Difference.ADDED),
        (file(), None, Difference.REMOVED),
        (file(crc32c=None), file(), Difference.UNKNOWN),
        (file(crc32c=None), file(crc32c=None), Difference.UNKNOWN),
        (file(file_size_bytes=None), file(file_size_bytes=None), Difference.UNKNOWN),
        (file(crc32c=None), file(file_size_bytes=11), Difference.CHANGED),
    ],
)
def test_a_file_is_compared_by_size_and_checksum(
    first: ComparedFile | None, second: ComparedFile | None, expected: Difference
) -> None:
    row = only(first, second)

    assert (row.kind, row.name, row.difference) == ("file", "m", expected)
    assert are_same([row]) == (expected == Difference.SAME)


def test_a_name_in_two_folders_has_two_contents() -> None:
    other = {"folder": "v01", "crc32c": "BBBBBB=="}

    rows = compare([file(), file(**other)], [file(folder="v2")])  # type: ignore[arg-type]

    assert [row.difference for row in rows] == ["changed"]


def test_what_no_model_is_made_of_makes_no_difference() -> None:
    assert compare([file(".DS_Store", counts=False, metadata={"a": "1"})], []) == []


@pytest.mark.parametrize(
    ("first", "second", "difference", "change"),
    [
        ("0.91", "0.93", "changed", "+0.02"),
        ("0.1", "0.3", "changed", "+0.2"),  # 0.19999999999999998 in binary
        ("10", "9.5", "changed", "-0.5"),
        ("0.910", "0.91", "same", None),
        (".5", "0.50", "same", None),
        ("-.5", "+5.", "changed", "+5.5"),
        (".", "1", "changed", None),
        ("1e-3", "2e-3", "changed", "+0.001"),
        ("12345678901234567890123456789012", "12345678901234567890123456789013", "changed", "+1"),
        ("1e999999999", "1", "changed", None),
        ("nan", "1", "changed", None),
        ("a", "b", "changed", None),
        ("a", "a", "same", None),
        (0.5, 0.75, "changed", "+0.25"),  # a number in JSON
    ],
)
def test_metadata_is_side_by_side_and_numbers_have_their_exact_difference(
    first: object, second: object, difference: str, change: str | None
) -> None:
    [_, row] = compare([file(metadata={"k": first})], [file(metadata={"k": second})])

    assert (row.kind, row.name, row.difference, row.change) == ("metadata", "k", difference, change)
    assert (row.values_from, row.values_to) == ([str(first)], [str(second)])
    assert are_same([row])


def test_metadata_has_all_values_of_a_versions_files() -> None:
    first = [file("a", metadata={"k": "2", "old": "x"}), file("b", metadata={"k": "1"})]
    second = [file("a", metadata={"k": "1", "new": "y"}), file("b", metadata="text")]

    rows = [row for row in compare(first, second) if row.kind == "metadata"]

    assert [(row.name, row.difference, row.values_from, row.values_to) for row in rows] == [
        ("k", "changed", ["1", "2"], ["1"]),
        ("new", "added", [], ["y"]),
        ("old", "removed", ["x"], []),
    ]
    assert rows[0].change is None


def test_the_files_that_no_model_is_made_of_are_those_of_the_view() -> None:
    view = (ROOT / "deploy/bigquery/6-model_versions.sql").read_text()

    def patterns(sql: str) -> list[str]:
        return re.findall(r"^ *r'(.*?)',?(?:  --.*)?$", sql, re.MULTILINE)

    assert patterns(queries.COMPARED_FILES) == patterns(view) != []
    for sql in (queries.COMPARED_FILES, view):
        assert re.search(r"file_size_bytes = 0.*AND REGEXP_CONTAINS\(\w+, r'_\\x24folder", sql)


@pytest.fixture(scope="module")
def registered(client: bigquery.Client, dataset: str) -> str:
    """Two versions that differ, and one that was copied; returns the table's name."""
    metadata = {v: json.dumps({"accuracy": f"0.9{v}", "framework": "xgboost"}) for v in (1, 3)}
    insert(
        client,
        dataset,
        [
            written("m/v3/model.pkl", "dev", 0, metadata=metadata[1]),
            written("m/v3/same", "dev", 0),
            written("m/v3/old", "dev", 0),
            written("m/v3/.DS_Store", "dev", 0),
            written("m/v4/model.pkl", "dev", 1, metadata=metadata[3], crc32c="BBBBBB=="),
            written("m/v4/same", "dev", 1),
            written("m/v4/new\x1b", "dev", 1, crc32c=None, file_size_bytes=None),
            written("m/v4/bare", "dev", 1, crc32c=None),
            *(written(f"m/v3/{name}", "staging", 2) for name in ("model.pkl", "same", "old")),
            written("m/v5/model.pkl", "staging", 3),
            written("m/v3/model.pkl", "prod", 4),
        ],
    )
    return f"{dataset}.models"


@pytest.fixture
def run(registered: str, bigquery_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `compare`; its result has the exit code and what it printed."""
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    monkeypatch.setenv("REGISTRY_TABLE", registered)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    return lambda *words: CliRunner().invoke(main, ["compare", *words])


def test_two_versions_are_compared_where_both_are(run: Run) -> None:
    result = run("m", "v3", "v4")

    rows = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(row["name"], row["difference"], row["change"]) for row in rows] == [
        ("bare", "added", None),
        ("model.pkl", "changed", None),
        ("new\x1b", "added", None),
        ("old", "removed", None),
        ("same", "same", None),
        ("accuracy", "changed", "+0.02"),
        ("framework", "same", None),
    ]
    assert (rows[1]["crc32c_from"], rows[1]["crc32c_to"]) == ("AAAAAA==", "BBBBBB==")


def test_the_first_environment_that_has_both_is_chosen(run: Run) -> None:
    assert "m/v3 in staging → m/v5 in staging" in run("m", "3", "5", "--format", "table").output


@pytest.mark.parametrize(
    ("words", "title"),
    [
        (["m/v3", "v5"], "m/v3 in staging → m/v5 in staging"),
        (["m/v5/", "v3", "v5"], "m/v3 in staging → m/v5 in staging"),
        (["m/v3", "--between", "dev", "prod"], "m/v3 in dev → m/v3 in prod"),
    ],
)
def test_the_first_version_may_be_part_of_the_path(run: Run, words: list[str], title: str) -> None:
    assert title in run(*words, "--format", "table").output


def test_in_a_table_files_that_are_the_same_are_counted(run: Run) -> None:
    table = run("m", "3", "v04", "--format", "table").output

    assert "m/v3 in dev → m/v4 in dev" in table
    assert "1 file the same" in table
    assert re.search(r"accuracy +│ 0.91 +│ 0.93 +│ \+0.02", table)
    assert re.search(r"model.pkl +│ 10 Bytes  AAAAAA== +│ 10 Bytes  BBBBBB== +│ changed", table)
    assert re.search(r"bare +│ - +│ 10 Bytes  no checksum", table)
    assert re.search(r"new\\x1b", table)
    assert "DS_Store" not in table


def test_a_copy_is_the_same_also_without_its_metadata(run: Run) -> None:
    result = run("m", "v3", "--between", "dev", "staging", "--format", "csv")

    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert result.exit_code == 0
    assert {row["difference"] for row in rows if row["kind"] == "file"} == {"same"}
    assert rows[-1]["values_from"] == '["xgboost"]'
    table = run("m", "v3", "--between", "dev", "staging", "--format", "table").output
    assert "3 files the same" in table


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["m", "v3", "v5", "-e", "dev"], 1, "expected m/v5 in dev, found no files of it"),
        (["m", "v4", "v5"], 1, "expected m/v5 in dev, found it in staging"),
        (["m", "v4", "--between", "dev", "prod"], 1, "expected m/v4 in prod, found it in dev"),
        (["nobody", "v3", "v4"], 1, "expected registrations of nobody, found none"),
        (["m", "v3", "v4", "--at", "2026-02-01"], 1, "expected registrations of m, found none"),
        (["m/v3", "v4", "v5"], 2, "expected v3, which is in the path of MODEL, found v4 and v5"),
        (["m/v3"], 2, "expected 2 versions without --between, found 1"),
        (["m", "v3"], 2, "expected 2 versions without --between, found 1"),
        (["m", "v3", "v4", "--between", "dev", "prod"], 2, "expected 1 version with --between"),
        (["m", "v3", "--between", "dev", "prod", "-e", "dev"], 2, "expected --between or"),
        (["m", "x", "v4"], 2, "expected a version such as v3"),
    ],
)
def test_a_side_that_is_not_there_is_no_and_a_bad_question_is_an_error(
    run: Run, words: list[str], code: int, message: str
) -> None:
    result = run(*words)

    assert (result.exit_code, message in result.stderr) == (code, True), result.output
