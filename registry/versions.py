"""What the page of a model shows: each version once, with its environments and files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from registry.condition import is_number
from registry.environment import Environment
from registry.rows import NAMED_FILES, Artifact, ModelVersionFiles

# Metadata that people look for comes first, then numbers, then the rest.
_FIRST = ["git_commit", "commit", "run_id", "run"]
_ELSEWHERE = {"uploader"}  # shown with each environment

type Pair = tuple[str, str]
type PlacedPair = tuple[str, str, str]  # the last is where


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """
    A file in an environment, or its place there.

    `state` is same, changed, missing, extra, removed, or empty if there is nothing to say.
    """

    row: ModelVersionFiles
    artifact: Artifact | None
    state: str

    @property
    def words(self) -> str:
        """The state, as people say it."""
        known = {
            "same": "same",
            "changed": "changed",
            "missing": "missing here",
            "extra": "only here",
            "removed": "removed",
        }
        return known.get(self.state, "here" if self.artifact else "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """
    A file of a version in each environment, and metadata that not all files have.

    The third part of it says in which environments it is so, if not in all that have the file.
    """

    name: str
    cells: Sequence[Cell]
    metadata: Sequence[PlacedPair]

    @property
    def artifact(self) -> Artifact:
        """The file in the last environment that has it."""
        found = [cell.artifact for cell in self.cells if cell.artifact]
        live = [artifact for artifact in found if not artifact.removed_at]
        return (live or found)[-1]

    @property
    def is_odd(self) -> bool:
        """Whether it is not the same everywhere."""
        return any(cell.state in {"changed", "missing", "extra"} for cell in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version in its environments, in the order of promotion."""

    number: int
    rows: Sequence[ModelVersionFiles]

    @classmethod
    def of(cls, rows: Sequence[ModelVersionFiles]) -> list["Version"]:
        """Return the versions that rows describe, the highest first."""
        order = [environment.value for environment in Environment]
        in_order = sorted(rows, key=lambda row: (-row.model_version, order.index(row.environment)))
        return [
            cls(number=number, rows=list(same))
            for number, same in groupby(in_order, key=lambda row: row.model_version)
        ]

    @property
    def file_count(self) -> int:
        """The most files that an environment has."""
        return max(row.files for row in self.rows)

    @property
    def metadata(self) -> list[Pair]:
        """What is the same for all files that have metadata."""
        found = [
            set(pairs) for row in self.rows for file in row.artifacts if (pairs := _pairs(file))
        ]
        return _in_order(set.intersection(*found)) if found else []

    def files(self, limit: int) -> list[File]:
        """
        Return the first files by name, those that are not the same everywhere before the others.

        Each row has as many of its own first files, so that a file which it lacks is not there.
        """
        by_row = {
            row.environment: {file.file_name: file for file in row.artifacts} for row in self.rows
        }
        names = sorted({name for files in by_row.values() for name in files})[:limit]
        common = set(self.metadata)
        found = [
            File(
                name=name,
                cells=[self._cell(row, name, by_row) for row in self.rows],
                metadata=_by_environment(
                    {where: files[name] for where, files in by_row.items() if name in files},
                    common,
                ),
            )
            for name in names
        ]
        return sorted(found, key=lambda file: not file.is_odd)

    @staticmethod
    def _cell(
        row: ModelVersionFiles, name: str, by_row: Mapping[str, Mapping[str, Artifact]]
    ) -> Cell:
        file = by_row[row.environment].get(name)
        before = by_row.get(row.before or "", {}).get(name)
        return Cell(row=row, artifact=file, state=_state(row, file, before, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An environment: what is in it, or else what was last removed from it."""

    environment: Environment
    row: ModelVersionFiles | None

    @classmethod
    def of(cls, rows: Sequence[ModelVersionFiles]) -> list["Place"]:
        """Return each environment with its highest version."""
        found = []
        for environment in Environment:
            there = [row for row in rows if row.environment == environment]
            live = [row for row in there if row.removed_at is None]
            row = max(live or there, key=lambda row: row.model_version, default=None)
            found.append(cls(environment=environment, row=row))
        return found

    @property
    def current(self) -> ModelVersionFiles | None:
        """The version that is there."""
        return self.row if self.row and not self.row.removed_at else None


def _state(
    row: ModelVersionFiles, file: Artifact | None, before: Artifact | None, name: str
) -> str:
    """Return how a file is. The view names the first ten of each kind, so the rest is compared."""
    if file and file.removed_at:
        return "removed"
    is_same = bool(file and before and _content(file) == _content(before))
    for state, names, fits in (
        ("changed", row.different_files, file and before and not is_same),
        ("missing", row.missing_files, before and not file),
        ("extra", row.extra_files, file and not before),
    ):
        if name in names or (fits and len(names) == NAMED_FILES):
            return state
    return "same" if is_same else ""


def _content(file: Artifact) -> object:
    """Return what is equal if the content is; a missing checksum is equal to nothing."""
    return (file.file_size_bytes, file.crc32c) if file.crc32c else file


def _by_environment(files: Mapping[str, Artifact], common: set[Pair]) -> list[PlacedPair]:
    having: dict[Pair, list[str]] = {}
    for environment, file in files.items():
        for pair in _pairs(file):
            having.setdefault(pair, []).append(environment)
    return [
        (*pair, "" if len(having[pair]) == len(files) else ", ".join(having[pair]))
        for pair in _in_order(having.keys() - common)
    ]


def _pairs(file: Artifact) -> list[Pair]:
    metadata = file.metadata
    if metadata is None:
        return []
    if not isinstance(metadata, Mapping):
        return [("metadata", _text(metadata))]
    return [(key, _text(value)) for key, value in metadata.items() if key not in _ELSEWHERE]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _in_order(pairs: set[Pair]) -> list[Pair]:
    def key(pair: Pair) -> tuple[int, str]:
        if pair[0] in _FIRST:
            return _FIRST.index(pair[0]), ""
        return len(_FIRST) + (not is_number(pair[1])), pair[0]

    return sorted(pairs, key=lambda pair: (key(pair), pair))
