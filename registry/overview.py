"""What the overview shows: models by environments, sorted, searched, totalled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from registry.environment import Environment
from registry.rows import Comparison, LatestModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A row of the overview: the latest version in each environment that has one."""

    name: str
    latest: dict[str, LatestModel]

    @classmethod
    def of(cls, rows: Sequence[LatestModel]) -> list["Model"]:
        """Return the models that rows describe; the rows are in the order of names."""
        return [
            cls(name=name, latest={row.environment: row for row in same})
            for name, same in groupby(rows, key=lambda row: row.model_name)
        ]

    @property
    def last_upload(self) -> datetime:
        """When any of them last got an upload."""
        return max(row.last_upload_timestamp for row in self.latest.values())

    @property
    def total_bytes(self) -> int:
        """The size of all versions in all environments."""
        return sum(row.versions_total_bytes or 0 for row in self.latest.values())

    @property
    def differing(self) -> Sequence[int]:
        """The versions in prod that differ from staging's, or never were in staging."""
        prod = self.latest.get(Environment.PROD)
        return () if prod is None else prod.differing_versions

    @property
    def needs_attention(self) -> bool:
        """Whether prod has a version that may not be what staging has: what the page marks."""
        prod = self.latest.get(Environment.PROD)
        return bool(self.differing) or (
            prod is not None and prod.comparison in {Comparison.INCOMPLETE, Comparison.UNKNOWN}
        )

    def next_of(self, row: LatestModel) -> int | None:
        """Return the highest version in dev if it is higher than that of a row."""
        dev = self.latest.get(Environment.DEV)
        return dev.model_version if dev and row.versions_behind_dev else None

    def uploaded(self, environment: str) -> datetime | None:
        """When the latest version there last got an upload."""
        row = self.latest.get(environment)
        return None if row is None else row.last_upload_timestamp

    def mentions(self, text: str) -> bool:
        """Whether its name or an uploader contains a text, in upper or lower case."""
        people = (who for row in self.latest.values() for who in row.uploaders)
        return any(text.casefold() in word.casefold() for word in (self.name, *people))


_SORTS: dict[str, Callable[[Model], Any]] = {
    "model": lambda model: model.name.casefold(),
    "dev": lambda model: model.uploaded("dev"),
    "staging": lambda model: model.uploaded("staging"),
    "prod": lambda model: model.uploaded("prod"),
    "uploaded": lambda model: model.last_upload,
    "size": lambda model: model.total_bytes,
}


class Total(NamedTuple):
    """The totals of an environment."""

    environment: str
    models: int
    versions: int
    total_bytes: int


def sort_models(models: list[Model], sort: str) -> list[Model]:
    """Sort by a column, descending with a dash before its name; rows without a value come last."""
    key = _SORTS.get(sort.removeprefix("-"))
    if key is None:
        return models
    with_value = [model for model in models if key(model) is not None]
    without = [model for model in models if key(model) is None]
    return sorted(with_value, key=key, reverse=sort.startswith("-")) + without


def totals(rows: Sequence[LatestModel]) -> list[Total]:
    """Add up each environment."""
    by_environment = {
        where.value: [row for row in rows if row.environment == where] for where in Environment
    }
    return [
        Total(
            environment=where,
            models=len(there),
            versions=sum(row.versions for row in there),
            total_bytes=sum(row.versions_total_bytes or 0 for row in there),
        )
        for where, there in by_environment.items()
    ]
