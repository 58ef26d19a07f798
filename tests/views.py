"""A model of its own in the tables, and what the views say of it."""

import itertools
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from google.cloud import bigquery

from tests.conftest import insert
from tests.plain_views import NOON, Values

A, B = {"crc32c": "AAAAAA==", "file_size_bytes": 10}, {"crc32c": "BBBBBB==", "file_size_bytes": 10}
_names = itertools.count()


def at(minutes: int) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


def written(minutes: int, **columns: object) -> Values:
    """Make the row of one write; its generation follows from its time."""
    return {"upload_timestamp": at(minutes), "generation": 1000 + minutes, **columns}


class Model:
    """A model of its own, in the module's table, so that no test needs an empty one."""

    def __init__(self, client: bigquery.Client, dataset: str) -> None:
        self.name = f"model-{next(_names)}"
        self._client, self._dataset = client, dataset

    def insert(self, *rows: Values) -> None:
        """Add rows; paths are below the model's name."""
        insert(
            self._client,
            self._dataset,
            [
                {"model_name": self.name}
                | row
                | ({"gcs_path": f"{self.name}/{row['gcs_path']}"} if "gcs_path" in row else {})
                for row in rows
            ],
        )

    def view(self, name: str, **filters: object) -> list[Values]:
        """Read what a view says of this model, by version and environment."""
        query = f"SELECT * FROM {self._dataset}.{name} WHERE model_name = '{self.name}'"  # noqa: S608
        rows = [dict(row) for row in self._client.query_and_wait(query)]
        rows = [row for row in rows if filters.items() <= row.items()]
        return sorted(rows, key=lambda row: (row["model_version"], row.get("environment", "")))


class Gone:
    """The table of removals."""

    def __init__(self, client: bigquery.Client, dataset: str) -> None:
        self._client, self._dataset = client, dataset

    def insert(self, *rows: Values) -> None:
        """Add removals; one is that of the first write in dev."""
        first = {"gcs_bucket": "ml-models-dev", "generation": 1000, "removed_at": at(50)}
        given = [{**first, "recorded_at": at(51), "recorded_by": "archived", **row} for row in rows]
        table = f"{self._dataset}.removals"
        assert not self._client.insert_rows_json(table, given, row_ids=[None] * len(given))


def pick(row: Mapping[str, Any], names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names.split())


def in_environments(**contents: list[Values]) -> Iterator[Values]:
    """Make rows of files in environments."""
    for environment, files in contents.items():
        for minutes, file in enumerate(files):
            yield written(minutes, environment=environment, **file)


def file(name: str, content: Values, version: str = "v1") -> Values:
    return {"gcs_path": f"{version}/{name}", **content}
