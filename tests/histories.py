"""Histories of models in a registry, written in few words, and what the views say of them."""

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import bigquery

from tests.conftest import insert

type Values = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHECKSUMS = {letter: f"{letter * 6}==" for letter in "ABCDEF"} | {"?": None}


def at(minutes: float) -> datetime:
    """Return a time of the histories: so many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def written(minutes: float, **columns: object) -> Values:
    """Make the row of one write; its generation follows from its time."""
    return {
        "upload_timestamp": at(minutes),
        "generation": 1000 + int(minutes),
        "registered_at": at(minutes),
    } | columns


def removed(minutes: float | None, of: float, recorded: float, **columns: object) -> Values:
    """Make the row that the generation written at `of` was removed; None: it is there again."""
    return {
        "generation": 1000 + int(of),
        "upload_timestamp": at(of),
        "removed_at": None if minutes is None else at(minutes),
        "recorded_at": at(recorded),
        "recorded_by": "archived",
    } | columns


def facts(lines: Sequence[str | Values]) -> list[Values]:
    """
    Return the rows of a history, of both tables.

    A line says when, where, which file below `v1/` or with its version, and what: a letter for the
    content that was written, `?` for one without a checksum, a letter and a size; `gone`; or
    `back`, if the same generation was found again. A row may stand for itself.

    >>> facts(["0 dev a A", "5 dev a gone"])[1]["removed_at"] == at(5)
    True
    """
    rows = []
    last: dict[tuple[str, str], float] = {}
    for line in lines:
        if not isinstance(line, str):
            rows.append(line)
            continue
        time, environment, name, what = line.split(maxsplit=3)
        minutes = float(time)
        path = name if name.startswith("v") and "/" in name else f"v1/{name}"
        where = {"environment": environment, "gcs_path": path}
        if what in {"gone", "back"}:
            gone_at = minutes if what == "gone" else None
            rows.append(removed(gone_at, last[environment, path], minutes) | where)
        else:
            last[environment, path] = minutes
            content = {"crc32c": CHECKSUMS[what[0]], "file_size_bytes": int(what[1:] or 10)}
            rows.append(written(minutes) | content | where)
    return rows


class Views:
    """The views of a dataset that holds histories, each read once for each time."""

    def __init__(
        self,
        client: bigquery.Client,
        dataset: str,
        histories: Mapping[str, Sequence[str | Values]],
    ) -> None:
        """Insert the histories, each of a model of that name."""
        self._client, self._dataset = client, dataset
        tables: dict[str, list[Values]] = {"models": [], "removals": []}
        for model, lines in histories.items():
            for row in facts(lines):
                table = "removals" if "removed_at" in row else "models"
                tables[table].append(_of_model(model, row, removals=table == "removals"))
        insert(client, dataset, tables["models"])
        rows = tables["removals"]
        table = f"{dataset}.removals"
        assert not rows or not client.insert_rows_json(table, rows, row_ids=[None] * len(rows))
        self._read = functools.cache(self._read_now)

    def __call__(
        self, view: str, model: str, time: datetime | None = None, **filters: object
    ) -> list[Values]:
        """Return what a view says of a model, now or as of a time, in order."""
        rows = self._read(view, time)[model]
        return [row for row in rows if filters.items() <= row.items()]

    def _read_now(self, view: str, time: datetime | None) -> dict[str, list[Values]]:
        source = view if time is None else f"{view}_at(TIMESTAMP '{time}')"
        found: dict[str, list[Values]] = defaultdict(list)
        for row in self._client.query_and_wait(f"SELECT * FROM {self._dataset}.{source}"):  # noqa: S608
            found[row["model_name"]].append(dict(row))
        for rows in found.values():
            rows.sort(key=_order)
        return found


def _of_model(model: str, row: Values, *, removals: bool) -> Values:
    """Complete a row; its path is below the model's name."""
    row = {key: str(v) if isinstance(v, datetime) else v for key, v in row.items()}
    path = f"{model}/{row.pop('gcs_path', 'v1/model.pkl')}"
    environment = row.get("environment", "dev")
    if removals:
        row.pop("environment", None)
        return {"gcs_bucket": f"ml-models-{environment}", "gcs_path": path, **row}
    version = int(path.split("/")[1].removeprefix("v"))
    return {"model_name": model, "model_version": version, "gcs_path": path, **row}


def _order(row: Values) -> tuple[Any, ...]:
    names = ("environment", "changed_at", "change", "gcs_path", "upload_timestamp")
    return row["model_version"], *(str(row.get(name, "")) for name in names)


def pick(row: Mapping[str, Any], names: str) -> tuple[Any, ...]:
    """Return the values of some columns."""
    return tuple(row[name] for name in names.split())
