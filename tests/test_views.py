"""The views in deploy/bigquery/, on both engines, with every corner of the data."""

import random
import re
from collections import defaultdict
from datetime import datetime, timedelta

import pytest
from google.cloud import bigquery

from tests import ROOT
from tests.conftest import insert
from tests.plain_views import NOON, Values, expected_of, random_removals, random_rows
from tests.servers.emulator import VIEWS
from tests.views import A, B, Model, at, file, in_environments, pick, written


@pytest.fixture(scope="module")
def client(either_client: bigquery.Client) -> bigquery.Client:
    """Each test runs on both engines."""
    return either_client


@pytest.fixture
def model(client: bigquery.Client, dataset: str) -> Model:
    """A model without registrations."""
    return Model(client, dataset)


def columns(client: bigquery.Client, dataset: str, view: str) -> list[tuple[str, str]]:
    return [
        (field.name, field.field_type) for field in client.get_table(f"{dataset}.{view}").schema
    ]


def test_the_columns_are_public(client: bigquery.Client, dataset: str) -> None:
    table = columns(client, dataset, "models")
    version = [("model_name", "STRING"), ("model_version", "INTEGER"), ("environment", "STRING")]
    compared = [("staging_vs_dev", "STRING"), ("prod_vs_staging", "STRING")]
    contents = [
        ("files", "INTEGER"),
        ("total_bytes", "INTEGER"),
        ("first_upload_timestamp", "TIMESTAMP"),
        ("last_upload_timestamp", "TIMESTAMP"),
        ("uploaders", "STRING"),
        ("overwrites", "INTEGER"),
        ("fingerprint", "STRING"),
        ("removed_at", "TIMESTAMP"),
        ("uri", "STRING"),
    ]
    files = [(f"{how}_files", "STRING") for how in ("different", "missing", "extra")]
    behind = ["versions_behind_dev", "versions", "versions_total_bytes", "differing_versions"]
    removed = ("removed_at", "TIMESTAMP")

    assert columns(client, dataset, "registrations") == [*table, removed]
    assert columns(client, dataset, "artifacts") == [
        *table,
        ("first_upload_timestamp", "TIMESTAMP"),
        ("overwrites", "INTEGER"),
        removed,
    ]
    assert columns(client, dataset, "model_versions") == [*version, *contents, *compared, *files]
    assert columns(client, dataset, "latest_models") == [
        *version,
        *contents,
        *compared,
        *files,
        *((name, "INTEGER") for name in behind),
    ]
    assert columns(client, dataset, "promotions") == [
        *version[:2],
        *((f"{where}_upload_timestamp", "TIMESTAMP") for where in ("dev", "staging", "prod")),
        *compared,
        *((f"{where}_last_upload_timestamp", "TIMESTAMP") for where in ("dev", "staging", "prod")),
        *((f"{where}_removed_at", "TIMESTAMP") for where in ("dev", "staging", "prod")),
    ]


def test_each_view_names_only_those_before_it_and_the_table_is_read_once() -> None:
    files = {
        path.stem[2:]: path.read_text() for path in (ROOT / "deploy/bigquery").glob("[4-8]-*.sql")
    }

    assert set(files) == set(VIEWS)
    before = {"${table}", "removals"}
    for view in VIEWS:
        function, its_view = files[view].split("CREATE OR REPLACE VIEW")
        place = r"FROM `\$\{project\}\.\$\{dataset\}\.(.*?)`"
        assert {*re.findall(place, function)} <= before
        assert re.findall(place + r"\(NULL\)", its_view) == [f"{view}_at"]
        before = before - {"${table}"} | {f"{view}_at"}


def test_an_artifact_is_its_newest_write_however_events_came(model: Model) -> None:
    model.insert(
        written(5, uploader="bob", registered_at=at(6), **B),
        written(0, uploader="ada", registered_at=at(7), **A),  # its event came late
        written(0, uploader="ada", registered_at=at(9), **A),  # and again
    )

    [row] = model.view("artifacts")
    assert pick(row, "uploader crc32c generation overwrites") == ("bob", "BBBBBB==", 1005, 1)
    assert row["first_upload_timestamp"] == NOON


def test_an_artifact_written_once_has_no_overwrites(model: Model) -> None:
    model.insert(written(0), written(0, registered_at=at(3)))

    assert [row["overwrites"] for row in model.view("artifacts")] == [0]


def test_two_writes_in_one_millisecond_differ_by_generation(model: Model) -> None:
    model.insert(written(0, uploader="late", generation=2), written(0, generation=1))

    assert [row["uploader"] for row in model.view("artifacts")] == ["late"]


def test_rows_from_before_the_lineage_columns_count_as_well(model: Model) -> None:
    old = {"upload_timestamp": at(0), "file_size_bytes": 10}
    model.insert(
        {**old, "registered_at": at(1)},
        {**old, "registered_at": at(2)},  # the same write, delivered twice
        {**old, "upload_timestamp": at(3)},
        {**old, "upload_timestamp": None, "gcs_path": "v1/other", "registered_at": at(4)},
        written(5, **A),
    )

    first, other = sorted(model.view("artifacts"), key=lambda row: row["gcs_path"])
    assert pick(first, "overwrites generation crc32c") == (2, 1005, "AAAAAA==")
    assert pick(other, "overwrites generation crc32c upload_timestamp") == (0, None, None, None)
    assert other["first_upload_timestamp"] == NOON + timedelta(minutes=4)
    [version] = model.view("model_versions")
    assert pick(version, "files fingerprint") == (2, None)


def test_a_model_version_is_what_is_there_now(model: Model) -> None:
    model.insert(
        written(0, gcs_path="v1/a", uploader="bob", file_size_bytes=1),
        written(1, gcs_path="v1/b", uploader="ada", file_size_bytes=20),
        written(2, gcs_path="v1/c/d", uploader="ada", file_size_bytes=300),
        written(3, gcs_path="v1/e", file_size_bytes=4000),
        written(9, gcs_path="v1/a", uploader="bob", file_size_bytes=2),
    )

    [row] = model.view("model_versions")
    assert pick(row, "environment files total_bytes overwrites") == ("dev", 4, 4322, 1)
    assert row["uploaders"] == ["ada", "bob"]
    assert row["first_upload_timestamp"] == NOON
    assert row["last_upload_timestamp"] == NOON + timedelta(minutes=9)


def test_without_an_uploader_there_are_none(model: Model) -> None:
    model.insert(written(0))

    assert [row["uploaders"] for row in model.view("model_versions")] == [[]]


COMPOSITE = {**A, "md5_hash": None}


# What is in dev, what is in staging, and how the two compare.
STAGING: list[tuple[list[Values], list[Values], str | None]] = [
    ([file("m", A)], [file("m", A)], "identical"),
    ([file("m", A)], [file("m", B)], "different"),
    ([file("m", A)], [file("m", {**A, "file_size_bytes": 11})], "different"),  # another size
    ([file("m", A)], [file("n", A)], "different"),  # another name
    ([file("m", A)], [file("m", A), file("n", A)], "different"),  # one more
    ([file("m", A), file("n", A)], [file("m", A)], "incomplete"),  # one is missing
    ([file("m", A), file("n", A)], [file("m", B)], "different"),  # and one is another
    ([file("m", A), file(".DS_Store", B)], [file("m", A), file("x/._m", B)], "identical"),
    ([file("m", A), file("_SUCCESS", B)], [file("m", A), file("Thumbs.db", B)], "identical"),
    ([file("m", A), file("__MACOSX/m", B)], [file("m", A)], "identical"),
    ([file("m", A), file("a/.ipynb_checkpoints/m", B)], [file("m", A)], "identical"),
    ([file("m", A), file("a_$folder$", {**B, "file_size_bytes": 0})], [file("m", A)], "identical"),
    ([file("m", A), file("a_$folder$", B)], [file("m", A)], "incomplete"),  # it has content
    ([file("m", A), file("n", B)], [file("n", B), file("m", A)], "identical"),  # in any order
    ([file("m", A), file("n", B)], [file("m", B), file("n", A)], "different"),  # swapped
    ([file("a b", A)], [file("b", A), file("a", A)], "different"),
    ([file("x/m", A)], [file("x/m", A, "v01")], "identical"),  # the folder is no difference
    ([file("m", A), file("m", A, "v01")], [file("m", A)], "identical"),  # twice the same
    ([file("m", A), file("m", B, "v01")], [file("m", A)], "different"),
    ([file("m", {**A, "md5_hash": "x"})], [file("m", A)], "identical"),  # sent in parts once
    ([file("m", {**A, "crc32c": None})], [file("m", A)], "unknown"),
    ([file("m", {**A, "crc32c": None})], [file("m", {**A, "crc32c": None})], "unknown"),
    ([file("m", A)], [file("m", {**A, "file_size_bytes": None})], "unknown"),
    ([file("m\nn", A)], [file("m\nn", A)], "identical"),
    ([], [file("m", A)], "skipped"),
    ([file("m", A)], [], None),
]


@pytest.fixture(scope="module")
def promoted(client: bigquery.Client, dataset: str) -> list[Model]:
    """A model for each of STAGING, all inserted before a view is read: that saves 10 s."""
    models = [Model(client, dataset) for _ in STAGING]
    for model, (dev, staging, _) in zip(models, STAGING, strict=True):
        model.insert(*in_environments(dev=dev, staging=staging))
    return models


@pytest.mark.parametrize("case", range(len(STAGING)))
def test_staging_is_compared_with_dev_by_its_files(promoted: list[Model], case: int) -> None:
    model, (_, staging, expected) = promoted[case], STAGING[case]

    [promotion] = model.view("promotions")
    assert pick(promotion, "staging_vs_dev prod_vs_staging") == (expected, None)
    by_environment = {row["environment"]: row for row in model.view("model_versions")}
    fingerprints = [row["fingerprint"] for row in by_environment.values()]
    if expected in {"identical", "incomplete", "different"}:
        assert (len(set(fingerprints)) == 1) == (expected == "identical")
    if staging:
        assert by_environment["staging"]["staging_vs_dev"] == expected


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ({"dev": A, "staging": A, "prod": A}, ("identical", "identical")),
        ({"dev": A, "staging": A, "prod": B}, ("identical", "different")),
        ({"dev": A, "staging": B, "prod": A}, ("different", "different")),
        ({"dev": A, "prod": A}, (None, "skipped")),  # past staging
        ({"prod": A}, (None, "skipped")),
        ({"staging": A, "prod": A}, ("skipped", "identical")),
    ],
)
def test_prod_is_compared_with_staging(
    model: Model, contents: dict[str, Values], expected: tuple[str | None, str | None]
) -> None:
    model.insert(*in_environments(**{where: [file("m", a)] for where, a in contents.items()}))

    [promotion] = model.view("promotions")
    assert pick(promotion, "staging_vs_dev prod_vs_staging") == expected


def test_a_promotion_is_dated_when_the_first_file_came(model: Model) -> None:
    model.insert(
        written(1, **A),
        written(0, gcs_path="v1/other"),
        written(7, environment="staging"),
        written(30, environment="staging"),  # overwritten since
    )

    [row] = model.view("promotions")
    assert row["dev_upload_timestamp"] == NOON
    assert row["staging_upload_timestamp"] == NOON + timedelta(minutes=7)
    assert row["prod_upload_timestamp"] is None


def test_an_overwritten_file_is_compared_as_it_is_now(model: Model) -> None:
    model.insert(
        written(0, **A),
        written(1, environment="staging", **A),
        written(2, environment="prod", **A),
        written(3, environment="prod", **B),
    )

    assert [row["prod_vs_staging"] for row in model.view("promotions")] == ["different"]


def test_the_latest_model_is_the_highest_version_and_versions_are_counted(model: Model) -> None:
    highest = 2**63 - 1
    versions = {"dev": [1, 2, 5, 9, highest], "staging": [2], "prod": [10]}
    model.insert(
        *(
            written(0, model_version=version, environment=where, file_size_bytes=7)
            for where, those in versions.items()
            for version in those
        )
    )

    rows = {
        row["environment"]: pick(
            row, "model_version versions_behind_dev versions versions_total_bytes"
        )
        for row in model.view("latest_models")
    }
    assert rows == {"dev": (highest, 0, 5, 35), "staging": (2, 3, 1, 7), "prod": (10, 1, 1, 7)}


def test_the_latest_version_is_not_the_last_upload(model: Model) -> None:
    model.insert(written(0, model_version=10), written(5, model_version=9))

    assert [row["model_version"] for row in model.view("latest_models")] == [10]


def test_a_model_that_never_was_in_dev_is_behind_nothing(model: Model) -> None:
    model.insert(written(0, environment="prod"))

    assert [row["versions_behind_dev"] for row in model.view("latest_models")] == [0]


def test_the_views_say_what_a_plain_program_says(client: bigquery.Client, dataset: str) -> None:
    """Now, and at times before."""
    chance = random.Random(20260301)  # noqa: S311
    models = {(model := Model(client, dataset)).name: model for _ in range(60)}
    rows = {name: random_rows(name, chance) for name in models}
    removals = {name: random_removals(rows[name], chance) for name in models}

    def as_json(made: dict[str, list[Values]]) -> list[Values]:
        return [
            {key: str(v) if isinstance(v, datetime) else v for key, v in row.items()}
            for of_model in made.values()
            for row in of_model
        ]

    insert(client, dataset, as_json(rows))
    given = as_json(removals)
    assert not client.insert_rows_json(f"{dataset}.removals", given, row_ids=[None] * len(given))
    key = lambda row: (row["model_version"], row.get("environment", ""))  # noqa: E731
    for minutes in (None, 20, 50, 100):
        time = None if minutes is None else NOON + timedelta(minutes=minutes)
        argument = "NULL" if time is None else f"TIMESTAMP '{time:%F %T}+00'"
        found: dict[str, dict[str, list[Values]]] = defaultdict(lambda: defaultdict(list))
        for view in ("model_versions", "promotions", "latest_models"):
            query = f"SELECT * FROM {dataset}.{view}_at({argument})"  # noqa: S608
            for row in client.query_and_wait(query):
                found[row.model_name][view].append(dict(row))
        for name in models:
            for view, expected in expected_of(rows[name], removals[name], time).items():
                actual = sorted(found[name][view], key=key)
                assert expected == [
                    {column: row[column] for column in (expected or actual)[0]} for row in actual
                ], (name, view, minutes)
