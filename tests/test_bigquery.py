"""The schema in deploy/bigquery/, on the BigQuery emulator."""

from collections.abc import Callable, Iterator

import pytest
from google.cloud import bigquery

from tests import ROOT
from tests.servers.emulator import apply_sql, make_registry, sql_of

COLUMNS = [
    ("model_name", "STRING", "REQUIRED"),
    ("model_version", "INTEGER", "REQUIRED"),
    ("environment", "STRING", "REQUIRED"),
    ("gcs_bucket", "STRING", "REQUIRED"),
    ("gcs_path", "STRING", "REQUIRED"),
    ("file_size_bytes", "INTEGER", "NULLABLE"),
    ("upload_timestamp", "TIMESTAMP", "NULLABLE"),
    ("uploader", "STRING", "NULLABLE"),
    ("registered_at", "TIMESTAMP", "REQUIRED"),
    ("generation", "INTEGER", "NULLABLE"),
    ("crc32c", "STRING", "NULLABLE"),
    ("md5_hash", "STRING", "NULLABLE"),
    ("metadata", "JSON", "NULLABLE"),
]
Insert = Callable[..., None]


@pytest.fixture
def dataset(client: bigquery.Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty dataset of the test's own."""
    name = request.node.name
    client.create_dataset(name)
    yield name
    client.delete_dataset(name, delete_contents=True)


@pytest.fixture
def insert(client: bigquery.Client, dataset: str) -> Insert:
    """Make the table and its view; return a function which adds a row to it."""
    for name in ("models", "removals", "registrations"):
        apply_sql(client, name, dataset=dataset)

    def row(**columns: object) -> None:
        values = {
            "model_name": "m",
            "model_version": 1,
            "environment": "dev",
            "gcs_bucket": "b-dev",
            "gcs_path": "m/v1/f",
            "registered_at": "2026-03-01T12:00:00Z",
            **columns,
        }
        assert not client.insert_rows_json(f"{dataset}.models", [values], row_ids=[None])

    return row


def columns(client: bigquery.Client, table: str) -> list[tuple[str, str, str]]:
    return [(f.name, f.field_type, f.mode) for f in client.get_table(table).schema]


def registered(client: bigquery.Client, dataset: str) -> list[str]:
    """Return the times at which what the view shows was registered."""
    query = f"SELECT registered_at FROM {dataset}.registrations ORDER BY 1"  # noqa: S608
    return [row.registered_at.strftime("%H:%M") for row in client.query_and_wait(query)]


def test_the_table_is_as_the_contract_says_also_after_a_second_run(
    client: bigquery.Client, dataset: str
) -> None:
    for _ in range(2):
        apply_sql(client, "models", dataset=dataset)

    table = client.get_table(f"{dataset}.models")
    assert columns(client, f"{dataset}.models") == COLUMNS
    assert (table.time_partitioning.type_, table.time_partitioning.field) == (
        "DAY",
        "registered_at",
    )
    assert table.clustering_fields == ["model_name", "environment", "model_version"]


def test_a_new_table_has_all_its_columns_at_once(client: bigquery.Client, dataset: str) -> None:
    """A column that is added later takes minutes to reach BigQuery's streaming."""
    client.query_and_wait(sql_of("models", dataset=dataset).partition("ALTER TABLE")[0])

    assert columns(client, f"{dataset}.models") == COLUMNS


def test_a_table_of_nine_columns_is_brought_up_to_date_with_its_rows(
    client: bigquery.Client, dataset: str
) -> None:
    nine = ", ".join(
        f"{name} {'INT64' if kind == 'INTEGER' else kind}{' NOT NULL' * (mode == 'REQUIRED')}"
        for name, kind, mode in COLUMNS[:9]
    )
    client.query_and_wait(f"CREATE TABLE {dataset}.models ({nine})")
    client.query_and_wait(
        f"INSERT {dataset}.models VALUES"  # noqa: S608
        " ('m', 1, 'dev', 'b-dev', 'm/v1/f', 7, NULL, 'ada', TIMESTAMP '2026-03-01 12:00:00+00')"
    )

    for name in ("models", "removals", "registrations"):
        apply_sql(client, name, dataset=dataset)

    assert columns(client, f"{dataset}.models") == COLUMNS
    [row] = client.query_and_wait(f"SELECT * FROM {dataset}.registrations")  # noqa: S608
    assert (row.uploader, row.generation, row.metadata) == ("ada", None, None)


def test_the_table_may_have_another_name(client: bigquery.Client, dataset: str) -> None:
    for name in ("models", "removals", "registrations"):
        apply_sql(client, name, dataset=dataset, table="uploads")

    assert columns(client, f"{dataset}.uploads") == COLUMNS


def test_the_view_has_the_tables_columns_and_when_it_was_removed(
    client: bigquery.Client, registry: str
) -> None:
    names = [name for name, _, _ in columns(client, f"{registry}.registrations")]

    assert names == [*(name for name, _, _ in COLUMNS), "removed_at"]


def test_an_event_that_came_twice_is_one_registration_the_first(
    client: bigquery.Client, dataset: str, insert: Insert
) -> None:
    insert(generation=1, registered_at="2026-03-01T12:02:00Z")
    insert(generation=1, registered_at="2026-03-01T12:00:00Z")

    assert registered(client, dataset) == ["12:00"]


def test_another_generation_path_or_bucket_is_another_registration(
    client: bigquery.Client, dataset: str, insert: Insert
) -> None:
    insert(generation=1)
    insert(generation=2)
    insert(generation=1, gcs_path="m/v1/g")
    insert(generation=1, gcs_bucket="c-dev")

    assert len(registered(client, dataset)) == 4


def test_rows_without_a_generation_differ_by_the_time_of_their_upload(
    client: bigquery.Client, dataset: str, insert: Insert
) -> None:
    insert(upload_timestamp="2026-03-01T11:00:00Z", registered_at="2026-03-01T12:00:00Z")
    insert(upload_timestamp="2026-03-01T11:00:00Z", registered_at="2026-03-01T12:01:00Z")
    insert(upload_timestamp="2026-03-01T11:30:00Z", registered_at="2026-03-01T12:02:00Z")

    assert registered(client, dataset) == ["12:00", "12:02"]


def test_a_row_without_a_generation_is_the_registration_of_the_row_that_has_it(
    client: bigquery.Client, dataset: str, insert: Insert
) -> None:
    """A reconciliation has completed it; or its event came before and after the ALTER."""
    insert(upload_timestamp="2026-03-01T11:00:00.123456Z", registered_at="2026-03-01T12:00:00Z")
    insert(upload_timestamp="2026-03-01T11:00:00.123Z", generation=1, crc32c="AAAAAA==")
    insert(upload_timestamp="2026-03-01T11:30:00Z", registered_at="2026-03-01T12:02:00Z")

    assert registered(client, dataset) == ["12:00", "12:02"]
    query = f"SELECT generation, crc32c FROM {dataset}.registrations ORDER BY 1"  # noqa: S608
    assert [row.values() for row in client.query_and_wait(query)] == [(None, None), (1, "AAAAAA==")]


def test_with_a_generation_the_time_of_the_upload_does_not_matter(
    client: bigquery.Client, dataset: str, insert: Insert
) -> None:
    insert(generation=1, upload_timestamp="2026-03-01T11:00:00Z")
    insert(generation=1, upload_timestamp="2026-03-01T11:30:00Z")

    assert len(registered(client, dataset)) == 1


def test_a_version_of_thousands_of_files_has_a_fingerprint(
    client: bigquery.Client, dataset: str
) -> None:
    """Here and not in test_views.py: on GoogleSQL so many rows take minutes."""
    make_registry(client, dataset)
    for environment, last in (("dev", "AAAAAA=="), ("staging", "AAAAAA=="), ("prod", "AAAAAB==")):
        client.query_and_wait(
            f"INSERT {dataset}.models (model_name, model_version, environment,"  # noqa: S608
            " gcs_bucket, gcs_path, file_size_bytes, registered_at, generation, crc32c)"
            f" SELECT 'm', 1, '{environment}', 'b-{environment}',"
            " CONCAT('m/v1/shard-', CAST(i AS STRING)), i, TIMESTAMP '2026-03-01 12:00:00+00', i,"
            f" IF(i = 5000, '{last}', 'AAAAAA==')"
            " FROM UNNEST(GENERATE_ARRAY(1, 5000)) AS i"
        )

    [promotion] = client.query_and_wait(f"SELECT * FROM {dataset}.promotions")  # noqa: S608
    assert (promotion.staging_vs_dev, promotion.prod_vs_staging) == ("identical", "different")
    versions = client.query_and_wait(f"SELECT files FROM {dataset}.model_versions")  # noqa: S608
    assert [row.files for row in versions] == [5000] * 3


def test_no_name_of_a_project_or_a_dataset_is_written_into_the_files() -> None:
    for path in (ROOT / "deploy/bigquery").rglob("*.sql"):
        for name in ("soufianesys", "ml_registry", ".models`"):
            assert name not in path.read_text()
