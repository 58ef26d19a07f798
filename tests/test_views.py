"""The views in deploy/bigquery/, on both engines: what is there, and what was there at a time."""

import re
from collections.abc import Sequence
from datetime import datetime

import pytest
from google.cloud import bigquery

from tests import ROOT
from tests.histories import Values, Views, at, pick, written
from tests.servers.emulator import VIEWS

OLD = {"upload_timestamp": at(0), "file_size_bytes": 10}
HIGHEST = 2**63 - 1
HISTORIES: dict[str, Sequence[str | Values]] = {
    "late-events": [
        written(5, uploader="bob", registered_at=at(6), crc32c="B"),
        written(0, uploader="ada", registered_at=at(7), crc32c="A"),  # its event came late
        written(0, uploader="ada", registered_at=at(9), crc32c="A"),  # and again
    ],
    "twice": [written(0), written(0, registered_at=at(3))],
    "one-millisecond": [
        written(0, uploader="late", generation=2),
        written(0, uploader="early", generation=1),
    ],
    "old-rows": [
        {**OLD, "registered_at": at(1)},
        {**OLD, "registered_at": at(2)},  # the same write, delivered twice
        {**OLD, "upload_timestamp": at(3)},
        {**OLD, "upload_timestamp": None, "gcs_path": "v1/other", "registered_at": at(4)},
        written(5, crc32c="A"),
    ],
    "completed": [
        {**OLD, "registered_at": at(1), "uploader": ""},
        written(0, registered_at=at(9), crc32c="A", metadata='{"uploader": ""}'),
    ],
    "another-uploader": [
        written(0, crc32c="A", registered_at=at(1), uploader=None),
        # Its metadata was set later, and a reconciliation saw it.
        written(0, crc32c="A", registered_at=at(900), uploader="ada"),
        # An event without a checksum comes late.
        written(0, crc32c=None, registered_at=at(950), uploader=None),
    ],
    "contents": [
        written(0, gcs_path="v1/a", uploader="bob", file_size_bytes=1),
        written(1, gcs_path="v1/b", uploader="ada", file_size_bytes=20),
        written(2, gcs_path="v1/c/d", uploader="ada", file_size_bytes=300),
        written(3, gcs_path="v1/e", uploader="", file_size_bytes=4000),
        written(9, gcs_path="v1/a", uploader="bob", file_size_bytes=2),
    ],
    "nobody": ["0 dev a A"],
    "v3-and-v03": ["0 dev v03/a A", "1 dev v3/b A", "2 dev v03/a gone"],
    "dated": [
        "1 dev a A",
        "0 dev b A",
        "7 staging a A",
        "30 staging a B",
        "8 prod a A",
        "9 prod a gone",
    ],
    "highest": [
        *(f"0 dev v{version}/a A7" for version in (1, 2, 5, 9, HIGHEST)),
        "0 staging v2/a A7",
        "0 prod v10/a A7",
    ],
    "earlier-version-last": ["0 dev v10/a A", "5 dev v9/a A"],
    "only-prod": ["0 prod a A"],
    # Version 3 is the highest in prod, and 2 differs.
    "older-differs": [
        *(f"0 {where} v{n}/a A" for n in (1, 2, 3) for where in ("dev", "staging", "prod")),
        "1 prod v4/a A",
        "9 prod v2/a B",
    ],
    "partly-copied": [
        *(f"0 {where} v1/{name} A" for name in "abc" for where in ("dev", "staging")),
        "1 prod v1/a A",
    ],
    "removed-file": [
        written(0, gcs_path="v1/a", uploader="ada", file_size_bytes=1),
        "1 dev b A20",
        "50 dev b gone",
        "55 dev b gone",
    ],
    "removed": ["0 prod v1/a A", "0 prod v2/a A", "50 prod v2/a gone"],
    "all-removed": ["0 dev a A", "50 dev a gone"],
    "written-again": ["0 dev a A", "5 dev a gone", "9 dev a B"],
    # A folder was renamed away and back: the generation is the same.
    "back": ["0 dev a A", "5 dev a gone", "9 dev a back"],
    "back-and-gone": ["0 dev a A", "5 dev a gone", "9 dev a back", "12 dev a gone"],
    "found-before-its-event": [
        "0 dev a A",
        "300 dev a gone",  # by a reconciliation
        "5 dev a gone",
    ],
    "old-and-removed": [
        OLD,
        {"generation": None, "upload_timestamp": at(0), "removed_at": at(5), "recorded_at": at(5)}
        | {"recorded_by": "reconciliation"},
    ],
    "old-completed-and-removed": [
        OLD,
        written(0, registered_at=at(90)),
        {"generation": None, "upload_timestamp": at(0), "removed_at": at(5), "recorded_at": at(5)}
        | {"recorded_by": "reconciliation"},
    ],
    "removed-before-registered": [
        {"removed_at": at(5), "recorded_at": at(5), "recorded_by": "deleted"}
        | {"generation": 1000, "upload_timestamp": at(0)},
        written(0, registered_at=at(60)),
    ],
}


@pytest.fixture(scope="module")
def client(either_client: bigquery.Client) -> bigquery.Client:
    """Each test runs on both engines."""
    return either_client


@pytest.fixture(scope="module")
def views(client: bigquery.Client, dataset: str) -> Views:
    """What the views say of HISTORIES."""
    return Views(client, dataset, HISTORIES)


def columns(client: bigquery.Client, dataset: str, view: str) -> list[tuple[str, str]]:
    return [
        (field.name, field.field_type) for field in client.get_table(f"{dataset}.{view}").schema
    ]


def test_the_columns_are_public(client: bigquery.Client, dataset: str) -> None:
    table = columns(client, dataset, "models")
    version = [("model_name", "STRING"), ("model_version", "INTEGER"), ("environment", "STRING")]
    environments = ("dev", "staging", "prod")
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
        *compared,
        ("different_files", "STRING"),
        ("missing_files", "STRING"),
        ("extra_files", "STRING"),
    ]
    numbers = ["versions_behind_dev", "versions", "versions_total_bytes", "differing_versions"]

    assert columns(client, dataset, "registrations") == [*table, ("removed_at", "TIMESTAMP")]
    assert columns(client, dataset, "artifacts") == [
        *table,
        ("first_upload_timestamp", "TIMESTAMP"),
        ("overwrites", "INTEGER"),
        ("removed_at", "TIMESTAMP"),
    ]
    assert columns(client, dataset, "changes") == [
        ("changed_at", "TIMESTAMP"),
        *version,
        ("change", "STRING"),
        ("files", "INTEGER"),
        ("total_bytes", "INTEGER"),
        ("uploaders", "STRING"),
        ("ended_at", "TIMESTAMP"),
        ("git_commit", "STRING"),
    ]
    assert columns(client, dataset, "model_versions") == [*version, *contents]
    assert columns(client, dataset, "latest_models") == [
        *version,
        *contents,
        *((name, "INTEGER") for name in numbers),
    ]
    assert columns(client, dataset, "promotions") == [
        *version[:2],
        *((f"{where}_upload_timestamp", "TIMESTAMP") for where in environments),
        *compared,
        *((f"{where}_last_upload_timestamp", "TIMESTAMP") for where in environments),
        *((f"{where}_removed_at", "TIMESTAMP") for where in environments),
    ]


def test_each_view_is_its_function_at_no_time_and_reads_the_table_once() -> None:
    reads = {
        "registrations": ["removals", "${table}"],
        "artifacts": ["registrations_at"],
        "changes": ["registrations_at", "removals"],
        "model_versions": ["artifacts_at"],
        "promotions": ["model_versions_at"],
        "latest_models": ["model_versions_at"],
    }

    assert VIEWS == list(reads)
    for path in (ROOT / "deploy/bigquery").glob("[4-8]-*.sql"):
        view, source = path.stem[2:], r"(?:FROM|JOIN) `\$\{project\}\.\$\{dataset\}\.(.*?)`"
        text = path.read_text()
        assert re.findall(source, text) == [*reads[view], f"{view}_at"]
        assert text.endswith(f"{view}_at`(NULL);\n")


def test_an_artifact_is_its_newest_write_however_events_came(views: Views) -> None:
    [row] = views("artifacts", "late-events")

    assert pick(row, "uploader crc32c generation overwrites") == ("bob", "B", 1005, 1)
    assert row["first_upload_timestamp"] == at(0)


def test_an_artifact_written_once_has_no_overwrites(views: Views) -> None:
    assert [row["overwrites"] for row in views("artifacts", "twice")] == [0]


def test_two_writes_in_one_millisecond_differ_by_generation(views: Views) -> None:
    assert [row["uploader"] for row in views("artifacts", "one-millisecond")] == ["late"]


def test_rows_from_before_the_lineage_columns_count_as_well(views: Views) -> None:
    first, other = views("artifacts", "old-rows")

    assert pick(first, "overwrites generation crc32c") == (2, 1005, "A")
    assert pick(other, "overwrites generation crc32c upload_timestamp") == (0, None, None, None)
    assert other["first_upload_timestamp"] == at(4)
    [version] = views("model_versions", "old-rows")
    assert pick(version, "files fingerprint") == (2, None)


def test_a_registration_is_the_best_that_is_known_of_it(views: Views) -> None:
    [completed] = views("registrations", "completed")
    assert pick(completed, "generation crc32c uploader") == (1000, "A", None)
    assert completed["registered_at"] == at(1)  # the first that was known of it

    [changed] = views("registrations", "another-uploader")
    assert pick(changed, "uploader crc32c registered_at") == ("ada", "A", at(1))


def test_a_model_version_is_what_is_there_now(views: Views) -> None:
    [row] = views("model_versions", "contents")

    assert pick(row, "environment files total_bytes overwrites") == ("dev", 4, 4322, 1)
    assert row["uploaders"] == ["ada", "bob"]
    assert pick(row, "first_upload_timestamp last_upload_timestamp") == (at(0), at(9))
    assert row["uri"] == "gs://ml-models-dev/contents/v1/"


def test_without_an_uploader_there_are_none(views: Views) -> None:
    assert [row["uploaders"] for row in views("model_versions", "nobody")] == [[]]


def test_the_uri_is_the_folder_that_is_there(views: Views) -> None:
    [row] = views("model_versions", "v3-and-v03")

    assert pick(row, "model_version uri") == (3, "gs://ml-models-dev/v3-and-v03/v3/")


def test_a_promotion_has_the_first_and_the_last_upload_and_the_removal(views: Views) -> None:
    [row] = views("promotions", "dated")

    dev, staging, prod = (
        pick(row, f"{where}_upload_timestamp {where}_last_upload_timestamp {where}_removed_at")
        for where in ("dev", "staging", "prod")
    )
    assert dev == (at(0), at(1), None)
    assert staging == (at(7), at(30), None)
    assert prod == (at(8), at(8), at(9))


def test_the_latest_model_is_the_highest_version_and_versions_are_counted(views: Views) -> None:
    names = "model_version versions_behind_dev versions versions_total_bytes"
    rows = {row["environment"]: pick(row, names) for row in views("latest_models", "highest")}

    assert rows == {"dev": (HIGHEST, 0, 5, 35), "staging": (2, 3, 1, 7), "prod": (10, 1, 1, 7)}


def test_the_latest_version_is_not_the_last_upload(views: Views) -> None:
    rows = views("latest_models", "earlier-version-last")

    assert [row["model_version"] for row in rows] == [10]


def test_a_model_that_never_was_in_dev_is_behind_nothing(views: Views) -> None:
    assert [row["versions_behind_dev"] for row in views("latest_models", "only-prod")] == [0]


def test_each_version_that_differs_is_named_also_if_it_is_not_the_highest(views: Views) -> None:
    prod, staging, dev = (
        views("latest_models", "older-differs", environment=where)[0]
        for where in ("prod", "staging", "dev")
    )

    assert pick(prod, "model_version prod_vs_staging differing_versions") == (4, "skipped", [4, 2])
    assert (staging["differing_versions"], dev["differing_versions"]) == ([], [])


def test_an_incomplete_version_is_the_latest_and_says_so(views: Views) -> None:
    [prod] = views("latest_models", "partly-copied", environment="prod")

    assert pick(prod, "model_version prod_vs_staging differing_versions") == (1, "incomplete", [])
    assert prod["missing_files"] == ["b", "c"]


def test_a_removed_file_does_not_count(views: Views) -> None:
    [_, b] = views("artifacts", "removed-file")
    assert b["removed_at"] == at(50)  # the earlier of two facts

    [dev] = views("model_versions", "removed-file")
    assert pick(dev, "files total_bytes uploaders removed_at") == (1, 1, ["ada"], None)


def test_a_removed_version_is_gone_everywhere(views: Views) -> None:
    _, version = views("model_versions", "removed")
    assert pick(version, "files total_bytes removed_at") == (0, 0, at(50))
    assert version["uri"] == "gs://ml-models-prod/removed/v2/"

    _, promotion = views("promotions", "removed")
    assert pick(promotion, "prod_vs_staging prod_removed_at") == (None, at(50))
    [latest] = views("latest_models", "removed")
    assert pick(latest, "model_version versions") == (1, 1)
    assert views("latest_models", "all-removed") == []


def test_with_a_newer_generation_an_artifact_is_there_again(views: Views) -> None:
    assert [row["removed_at"] for row in views("artifacts", "written-again")] == [None]


@pytest.mark.parametrize(
    ("model", "removed_at"),
    [
        ("back", None),
        ("back-and-gone", at(12)),
        ("found-before-its-event", at(5)),  # the event knows the time better
        ("old-and-removed", at(5)),
        ("old-completed-and-removed", at(5)),
        ("removed-before-registered", at(5)),
    ],
)
def test_a_removal_counts_in_any_order_until_it_is_taken_back(
    model: str, removed_at: datetime | None, views: Views
) -> None:
    assert [row["removed_at"] for row in views("registrations", model)] == [removed_at]
    assert [row["files"] for row in views("model_versions", model)] == [int(removed_at is None)]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (at(-1), []),
        (at(0), [("A", 0, None)]),  # its event came seven minutes later
        (at(4.9), [("A", 0, None)]),
        (at(5), [("B", 1, None)]),
    ],
)
def test_an_artifact_as_of_a_time(
    time: datetime, expected: list[tuple[object, ...]], views: Views
) -> None:
    rows = views("artifacts", "late-events", time)

    assert [pick(row, "crc32c overwrites removed_at") for row in rows] == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (at(4.9), (1, None)),
        (at(5), (0, at(5))),
        (at(8), (0, at(5))),
        (at(9), (1, None)),
        (at(12), (0, at(12))),
    ],
)
def test_a_version_as_of_a_time_is_gone_and_there_again(
    time: datetime, expected: tuple[int, datetime | None], views: Views
) -> None:
    [row] = views("model_versions", "back-and-gone", time)

    assert pick(row, "files removed_at") == expected
