"""Removals, what was there at a time, and what happened: in the views, on both engines."""

from datetime import timedelta

import pytest
from google.cloud import bigquery

from tests.plain_views import NOON
from tests.views import A, B, Gone, Model, at, file, in_environments, pick, written


@pytest.fixture(scope="module")
def client(either_client: bigquery.Client) -> bigquery.Client:
    """Each test runs on both engines."""
    return either_client


@pytest.fixture
def model(client: bigquery.Client, dataset: str) -> Model:
    """A model without registrations."""
    return Model(client, dataset)


@pytest.fixture
def gone(client: bigquery.Client, dataset: str) -> Gone:
    """The removals of the module's registry."""
    return Gone(client, dataset)


def test_a_file_that_was_removed_does_not_count(model: Model, gone: Gone) -> None:
    model.insert(
        written(0, gcs_path="v1/a", uploader="ada", file_size_bytes=1, crc32c="A"),
        written(0, gcs_path="v1/b", uploader="bob", file_size_bytes=20, crc32c="B"),
        written(1, gcs_path="v1/a", environment="staging", file_size_bytes=1, crc32c="A"),
    )
    [before] = model.view("promotions")
    path = f"{model.name}/v1/b"
    gone.insert({"gcs_path": path}, {"gcs_path": path, "removed_at": at(55)})

    artifacts = {row["gcs_path"][-1]: row for row in model.view("artifacts")}
    assert {name: row["removed_at"] for name, row in artifacts.items() if name == "b"} == {
        "b": NOON + timedelta(minutes=50)
    }
    [dev] = model.view("model_versions", environment="dev")
    assert pick(dev, "files total_bytes uploaders removed_at") == (1, 1, ["ada"], None)
    [after] = model.view("promotions")
    assert (before["staging_vs_dev"], after["staging_vs_dev"]) == ("incomplete", "identical")


def test_a_version_that_was_removed_is_gone_and_compared_by_what_it_was(
    model: Model, gone: Gone
) -> None:
    model.insert(
        written(0, **A),
        written(0, model_version=2, **B),
        written(1, environment="staging", **A),
    )
    gone.insert({"gcs_path": f"{model.name}/v1/model.pkl"})

    version, _, _ = model.view("model_versions")
    assert pick(version, "environment files total_bytes") == ("dev", 0, 0)
    assert version["removed_at"] == NOON + timedelta(minutes=50)
    assert [row["staging_vs_dev"] for row in model.view("promotions")] == ["identical", None]
    latest = model.view("latest_models")
    assert [pick(row, "environment model_version versions") for row in latest] == [
        ("staging", 1, 1),
        ("dev", 2, 1),
    ]


def test_a_model_that_was_removed_from_an_environment_is_not_the_latest_there(
    model: Model, gone: Gone
) -> None:
    model.insert(written(0))
    gone.insert({"gcs_path": f"{model.name}/v1/model.pkl"})

    assert model.view("latest_models") == []


def test_with_a_newer_generation_an_artifact_is_there_again(model: Model, gone: Gone) -> None:
    model.insert(written(0), written(9))
    gone.insert({"gcs_path": f"{model.name}/v1/model.pkl"})

    assert [row["removed_at"] for row in model.view("artifacts")] == [None]


def test_a_row_from_before_the_generations_can_be_removed_too(model: Model, gone: Gone) -> None:
    model.insert({"upload_timestamp": at(0)})
    gone.insert(
        {
            "gcs_path": f"{model.name}/v1/model.pkl",
            "generation": None,
            "upload_timestamp": at(0),
        }
    )

    assert [row["files"] for row in model.view("model_versions")] == [0]


# --- Removals, and what was there at a time -------------------------------------------------------


def test_what_was_there_is_known_for_any_time(model: Model, gone: Gone) -> None:
    model.insert(written(0, **A), written(20, **B))
    path = f"{model.name}/v1/model.pkl"
    gone.insert(
        {"gcs_path": path, "removed_at": at(20)},
        {"gcs_path": path, "generation": 1020, "upload_timestamp": at(20), "removed_at": at(40)},
    )

    def there(minutes: int) -> list[tuple[object, ...]]:
        view = f"model_versions_at(TIMESTAMP '{at(minutes)}')"
        return [pick(row, "files overwrites removed_at") for row in model.view(view)]

    assert there(-1) == []
    assert there(10) == [(1, 0, None)]
    assert there(20) == there(30) == [(1, 1, None)]
    assert there(40) == there(400) == [(0, 1, NOON + timedelta(minutes=40))]


def test_the_earliest_removal_counts_and_a_later_fact_takes_it_back(
    model: Model, gone: Gone
) -> None:
    model.insert(written(0))
    path = {"gcs_path": f"{model.name}/v1/model.pkl"}
    gone.insert(
        path | {"removed_at": at(30), "recorded_by": "reconciliation"},
        path | {"removed_at": at(10)},
    )
    [removed] = model.view("artifacts")
    gone.insert(path | {"removed_at": None, "recorded_at": at(60)})
    [back] = model.view("artifacts")
    [meanwhile] = model.view(f"artifacts_at(TIMESTAMP '{at(45)}')")
    gone.insert(path | {"removed_at": at(90), "recorded_at": at(91)})
    [again] = model.view("artifacts")

    assert removed["removed_at"] == meanwhile["removed_at"] == NOON + timedelta(minutes=10)
    assert back["removed_at"] is None
    assert again["removed_at"] == NOON + timedelta(minutes=90)


def test_what_is_removed_before_its_registration_is_gone(model: Model, gone: Gone) -> None:
    gone.insert({"gcs_path": f"{model.name}/v1/model.pkl"})
    model.insert(written(0, registered_at=at(600)))

    assert model.view("latest_models") == []


def test_tidying_up_makes_nothing_different(model: Model, gone: Gone) -> None:
    """Of two files in staging, prod has one. In the nights after, both vanish from staging."""
    model.insert(
        written(0, environment="staging", gcs_path="v1/a", **A),
        written(1, environment="staging", gcs_path="v1/b", **B),
        written(2, environment="prod", gcs_path="v1/a", **A),
    )
    said = [model.view("promotions")[0]["prod_vs_staging"]]
    for name, minutes in (("b", 1), ("a", 0)):
        gone.insert(
            {
                "gcs_bucket": "ml-models-staging",
                "gcs_path": f"{model.name}/v1/{name}",
                "generation": 1000 + minutes,
                "removed_at": at(2000 - 1500 * minutes),
            }
        )
        said.append(model.view("promotions")[0]["prod_vs_staging"])

    assert said == ["incomplete", "identical", "identical"]


def test_a_folder_that_was_moved_into_place_is_the_same(model: Model, gone: Gone) -> None:
    """A SavedModel is written under another name first; staging gets what is there then."""
    model.insert(
        written(0, gcs_path="v1/_temp/part-0", **A),
        written(1, gcs_path="v1/part-0", **A),
        written(5, environment="staging", gcs_path="v1/part-0", **A),
    )
    gone.insert({"gcs_path": f"{model.name}/v1/_temp/part-0", "removed_at": at(1)})

    [row] = model.view("promotions")
    assert row["staging_vs_dev"] == "identical"


def test_every_version_that_differs_is_named_and_so_are_its_files(model: Model) -> None:
    model.insert(
        *in_environments(
            staging=[file("m", A), file("n", A), file("o", A)],
            prod=[file("m", B), file("n", A), file("p", A)],
        ),
        written(9, model_version=2, environment="staging", gcs_path="v2/m", **A),
        written(10, model_version=2, environment="prod", gcs_path="v2/m", **A),
        written(11, model_version=3, environment="prod", gcs_path="v3/m", **A),
    )

    [row] = model.view("model_versions", environment="prod", model_version=1)
    files = "different_files missing_files extra_files"
    assert pick(row, f"prod_vs_staging {files}") == ("different", ["m"], ["o"], ["p"])
    [latest] = model.view("latest_models", environment="prod")
    assert pick(latest, "model_version differing_versions") == (3, [3, 1])


# --- What happened --------------------------------------------------------------------------------


def test_changes_are_told_apart_and_what_belongs_together_is_one(model: Model, gone: Gone) -> None:
    model.insert(
        written(0, gcs_path="v1/a", uploader="ada", **A),
        written(5, gcs_path="v1/b", uploader="bob", **A),  # within ten minutes
        written(40, gcs_path="v1/c", **A),  # a file that was missing
        written(100, gcs_path="v1/a", **B),
        written(200, gcs_path="v1/a", **B),  # the same bytes
        written(400, gcs_path="v1/b", **A),  # it was removed before
    )
    gone.insert(
        {"gcs_path": f"{model.name}/v1/a", "removed_at": at(100)},  # overwritten
        {"gcs_path": f"{model.name}/v1/a", "generation": 1100, "removed_at": at(200)},
        {"gcs_path": f"{model.name}/v1/b", "generation": 1005, "removed_at": at(300)},
        {"gcs_path": f"{model.name}/v1/c", "generation": 1040, "removed_at": at(305)},
        {"gcs_path": f"{model.name}/v1/c", "generation": 1040, "removed_at": at(305)},
        {
            "gcs_path": f"{model.name}/v1/c",
            "generation": 1040,
            "removed_at": None,
            "recorded_at": at(500),
        },
    )

    rows = sorted(model.view("changes"), key=lambda row: row["changed_at"])
    minutes = [
        tuple(int((row[end] - NOON).total_seconds()) // 60 for end in ("changed_at", "ended_at"))
        for row in rows
    ]
    assert [(row["change"], row["files"]) for row in rows] == [
        ("arrived", 2),
        ("completed", 1),
        ("overwritten", 1),
        ("rewritten", 1),
        ("removed", 2),
        ("reappeared", 1),
        ("reappeared", 1),
    ]
    assert minutes == [
        (0, 5),
        (40, 40),
        (100, 100),
        (200, 200),
        (300, 305),
        (400, 400),
        (500, 500),
    ]
    assert pick(rows[0], "total_bytes uploaders") == (20, ["ada", "bob"])
    before = model.view(f"changes_at(TIMESTAMP '{at(150)}')")
    assert {row["change"] for row in before} == {"arrived", "completed", "overwritten"}
