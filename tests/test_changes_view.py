"""What happened to a version, as the view changes says it, on both engines."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from google.cloud import bigquery

from tests.histories import CHECKSUMS, Values, Views, at, pick, written
from tests.servers.emulator import client_of, make_registry

# The first write of a was removed.
GONE = {
    "gcs_path": "v1/a",
    "generation": 1000,
    "upload_timestamp": at(0),
    "removed_at": at(60),
    "recorded_at": at(98),
    "recorded_by": "archived",
}
A = {"crc32c": CHECKSUMS["A"], "file_size_bytes": 10}
# What happened, and what is said: when, what, how many files, how many bytes.
HISTORIES: dict[str, tuple[list[str | Values], list[tuple[float, str, int, int]]]] = {
    "arrived": (["0 dev a A", "2 dev b A20"], [(0, "arrived", 2, 30)]),
    "overwritten": (
        ["0 dev a A", "60 dev a gone", "60 dev a B7"],
        [(0, "arrived", 1, 10), (60, "overwritten", 1, 7)],
    ),
    "events-in-any-order": (
        ["60 dev a B7", GONE, written(0, **A, gcs_path="v1/a", registered_at=at(99))],
        [(0, "arrived", 1, 10), (60, "overwritten", 1, 7)],
    ),
    "same-bytes-of-another-size": (
        ["0 dev a A", "60 dev a A11"],
        [(0, "arrived", 1, 10), (60, "overwritten", 1, 11)],
    ),
    # Nobody knows whether these bytes are the same: it is said as what matters more.
    "overwritten-without-a-checksum": (
        ["0 dev a ?", "60 dev a ?"],
        [(0, "arrived", 1, 10), (60, "overwritten", 1, 10)],
    ),
    "rewritten": (
        ["0 dev a A", "60 dev a gone", "60 dev a A"],
        [(0, "arrived", 1, 10), (60, "rewritten", 1, 10)],
    ),
    "one-of-two-is-new": (
        ["0 dev a A", "1 dev b A", "60 dev a A", "61 dev b B"],
        [(0, "arrived", 2, 20), (60, "rewritten", 1, 10), (61, "overwritten", 1, 10)],
    ),
    "completed": (
        ["0 dev a A", "60 dev b A", "61 dev c A"],
        [(0, "arrived", 1, 10), (60, "completed", 2, 20)],
    ),
    # Nothing was there that it could complete.
    "another-file-after-all-were-removed": (
        ["0 dev a A", "60 dev a gone", "90 dev b A", "120 dev c A"],
        [
            *((0, "arrived", 1, 10), (60, "removed", 1, 10)),
            *((90, "arrived", 1, 10), (120, "completed", 1, 10)),
        ],
    ),
    "moved": (
        ["0 dev b A", "60 dev a A", "60 dev b gone"],
        [(0, "arrived", 1, 10), (60, "completed", 1, 10), (60, "removed", 1, 10)],
    ),
    "removed": (
        ["0 dev a A", "0 dev b A", "60 dev a gone", "61 dev b gone", "62 dev b gone"],
        [(0, "arrived", 2, 20), (60, "removed", 2, 20)],
    ),
    # A restored object is a new generation.
    "restored": (
        ["0 dev a A", "60 dev a gone", "90 dev a A"],
        [(0, "arrived", 1, 10), (60, "removed", 1, 10), (90, "reappeared", 1, 10)],
    ),
    "same-generation-is-back": (
        ["0 dev a A", "60 dev a gone", "90 dev a back", "120 dev a gone"],
        [
            *((0, "arrived", 1, 10), (60, "removed", 1, 10)),
            *((90, "reappeared", 1, 10), (120, "removed", 1, 10)),
        ],
    ),
    # The older generation is deleted a month later, as a lifecycle rule does.
    "older-generation-is-deleted": (
        ["0 dev a A", "60 dev a gone", "43200 dev a gone", "60 dev a B"],
        [(0, "arrived", 1, 10), (60, "overwritten", 1, 10)],
    ),
    "removed-before-it-is-registered": (
        [
            GONE,
            written(0, **A, gcs_path="v1/a", registered_at=at(99)),
        ],
        [(0, "arrived", 1, 10), (60, "removed", 1, 10)],
    ),
    "old-rows": (
        [
            {"upload_timestamp": at(0), **A, "gcs_path": "v1/a"},
            {"upload_timestamp": at(60), **A, "gcs_path": "v1/a"},
            GONE | {"generation": None, "upload_timestamp": at(60), "removed_at": at(90)},
        ],
        [(0, "arrived", 1, 10), (60, "rewritten", 1, 10), (90, "removed", 1, 10)],
    ),
    # Each within ten minutes of the one before, in more than an hour.
    "slow-upload": (
        [f"{minutes} dev f{minutes} A" for minutes in range(0, 91, 10)],
        [(0, "arrived", 10, 100)],
    ),
    # The file counts once, as it then was.
    "overwritten-thrice": (
        ["0 dev a A", "60 dev a B", "62 dev a C", "64 dev a D7", "75 dev a A"],
        [(0, "arrived", 1, 10), (60, "overwritten", 1, 7), (75, "overwritten", 1, 10)],
    ),
    "v3-and-v03": (
        ["0 dev v3/a A", "1 dev v03/a A"],
        [(0, "arrived", 2, 20)],
    ),
}
WHO: dict[str, Sequence[str | Values]] = {
    "who": [
        written(0, **A, gcs_path="v1/a", uploader="bob"),
        written(1, **A, gcs_path="v1/b", uploader="ada", metadata='{"git_commit": "3f9c2d1"}'),
        written(2, **A, gcs_path="v1/c", uploader="", metadata='{"git_commit": {}}'),
        written(3, **A, gcs_path="v1/d", metadata='["git_commit"]'),
        written(0, **A, gcs_path="v1/a", environment="prod"),
        written(0, **A, gcs_path="v2/a"),
    ],
}


@pytest.fixture(scope="module")
def client(either_client: bigquery.Client) -> bigquery.Client:
    """Each test runs on both engines."""
    return either_client


@pytest.fixture(scope="module")
def views(client: bigquery.Client, dataset: str) -> Views:
    """What the views say of HISTORIES and WHO."""
    return Views(client, dataset, {name: lines for name, (lines, _) in HISTORIES.items()} | WHO)


def said(rows: list[Values]) -> list[tuple[object, ...]]:
    return [pick(row, "changed_at change files total_bytes") for row in rows]


@pytest.mark.parametrize("model", HISTORIES)
def test_each_thing_that_happened_is_a_row(model: str, views: Views) -> None:
    _, expected = HISTORIES[model]

    assert said(views("changes", model)) == [(at(time), *rest) for time, *rest in expected]


def test_a_change_says_who_and_from_which_commit_and_when_it_ended(views: Views) -> None:
    first, other_environment, other_version = views("changes", "who")

    assert pick(first, "model_version environment files") == (1, "dev", 4)
    assert pick(first, "uploaders git_commit") == (["ada", "bob"], "3f9c2d1")
    assert pick(first, "changed_at ended_at") == (at(0), at(3))
    assert pick(other_environment, "environment uploaders git_commit") == ("prod", [], None)
    assert other_version["model_version"] == 2


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (at(-1), []),
        (at(61), ["arrived", "removed"]),
        (at(90), ["arrived", "removed", "reappeared"]),
    ],
)
def test_changes_as_of_a_time(time: datetime, expected: list[str], views: Views) -> None:
    rows = views("changes", "same-generation-is-back", time)

    assert [row["change"] for row in rows] == expected


def test_of_two_things_that_belong_together_one_may_be_later(views: Views) -> None:
    """At a time in between, only the first is known."""
    assert said(views("changes", "removed", at(60.5))) == [
        (at(0), "arrived", 2, 20),
        (at(60), "removed", 1, 10),
    ]


def test_the_upload_of_a_folder_is_one_change(bigquery_url: str) -> None:
    """Only the emulator takes so many rows in a moment."""
    client = client_of(bigquery_url)
    make_registry(client, "folder")
    client.query_and_wait("""
        INSERT INTO folder.models (
          model_name, model_version, environment, gcs_bucket, gcs_path, file_size_bytes,
          upload_timestamp, registered_at, generation, crc32c
        )
        SELECT
          'm', 1, 'dev', 'b-dev', FORMAT('m/v1/%d', i), 10,
          TIMESTAMP_ADD(TIMESTAMP '2026-03-01T12:00:00Z', INTERVAL i SECOND), CURRENT_TIMESTAMP(),
          i, 'AAAAAA=='
        FROM UNNEST(GENERATE_ARRAY(0, 4999)) AS i
    """)

    [row] = client.query_and_wait("SELECT * FROM folder.changes")
    assert pick(row, "change files total_bytes") == ("arrived", 5000, 50_000)
    assert row["ended_at"] - row["changed_at"] == timedelta(seconds=4999)
