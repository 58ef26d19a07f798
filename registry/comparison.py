"""How the files and the metadata of two model versions differ."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import StrEnum

from registry.rows import ComparedFile, Row

# Numbers as programs write them. A larger exponent would make a difference of very many digits.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
_DIGITS = 20_000  # more than any two values have: all metadata of an object is 8 KiB at most


class Difference(StrEnum):
    """What is different about a file, or about a key of the metadata."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UNKNOWN = "unknown"  # a size or a checksum is missing, so nobody knows
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(Row):
    """
    A file, or a key of the metadata, in the first and in the second of two versions.

    Only a file has sizes and checksums. Only a key has values, and a `change` such as +0.02 if they
    are numbers that differ.
    """

    kind: str
    name: str
    difference: str
    size_from: int | None = None
    size_to: int | None = None
    crc32c_from: str | None = None
    crc32c_to: str | None = None
    values_from: Sequence[str] = ()
    values_to: Sequence[str] = ()
    change: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """A version in an environment."""

    version: int
    environment: str

    def __str__(self) -> str:
        """Return what people call it."""
        return f"v{self.version} in {self.environment}"

    def of(self, files: Sequence[ComparedFile]) -> list[ComparedFile]:
        """Return its files."""
        return [
            file
            for file in files
            if (file.model_version, file.environment) == (self.version, self.environment)
        ]

    def problem(self, files: Sequence[ComparedFile]) -> str | None:
        """Return what is there instead, if none of its files is."""
        if self.of(files):
            return None
        places = sorted({file.environment for file in files if file.model_version == self.version})
        return f"found it in {', '.join(places)}" if places else "found no files of it"


def sides(
    files: Sequence[ComparedFile], first: int, second: int, places: Sequence[str]
) -> tuple[Side, Side]:
    """Return two versions in the first of the places that has both; without one, in the first."""
    there = {(file.model_version, file.environment) for file in files}
    both = [place for place in places if {(first, place), (second, place)} <= there]
    where = [*both, *places][0]
    return Side(first, where), Side(second, where)


def compare(first: Sequence[ComparedFile], second: Sequence[ComparedFile]) -> list[Compared]:
    """Compare two versions: the files by name, then the metadata of all files by key."""
    return [*_files(first, second), *_metadata(first, second)]


def are_same(rows: Sequence[Compared]) -> bool:
    """
    Return whether the files are the same, as far as all checksums say so.

    The metadata does not count: each copy may have its own, such as who promoted it.
    """
    return all(row.difference == Difference.SAME for row in rows if row.kind == "file")


def _files(first: Sequence[ComparedFile], second: Sequence[ComparedFile]) -> list[Compared]:
    before, after = _contents(first), _contents(second)
    return [
        Compared(
            kind="file",
            name=name,
            difference=_file_difference(before[name], after[name]),
            size_from=before[name][0][0] if before[name] else None,
            size_to=after[name][0][0] if after[name] else None,
            crc32c_from=before[name][0][1] if before[name] else None,
            crc32c_to=after[name][0][1] if after[name] else None,
        )
        for name in sorted({*before, *after})
    ]


type _Content = tuple[int | None, str | None]


def _contents(files: Sequence[ComparedFile]) -> defaultdict[str, list[_Content]]:
    """Return what each name holds; it can have two contents, in v3/ and in v03/."""
    found: defaultdict[str, list[_Content]] = defaultdict(list)
    for file in files:
        if file.counts:
            found[file.file_name].append((file.file_size_bytes, file.crc32c))
    return found


def _file_difference(before: Sequence[_Content], after: Sequence[_Content]) -> Difference:
    if not before:
        return Difference.ADDED
    if not after:
        return Difference.REMOVED
    contents = {*before, *after}
    sizes = [{size for size, _ in side} for side in (before, after)]
    if sizes[0] != sizes[1] and not any(None in side for side in sizes):
        return Difference.CHANGED
    if any(None in content for content in contents):
        return Difference.UNKNOWN
    return Difference.SAME if {*before} == {*after} else Difference.CHANGED


def _metadata(first: Sequence[ComparedFile], second: Sequence[ComparedFile]) -> list[Compared]:
    before, after = _values(first), _values(second)
    rows = []
    for key in sorted({*before, *after}):
        values_from, values_to = sorted(before[key]), sorted(after[key])
        change = _change(values_from, values_to)
        rows.append(
            Compared(
                kind="metadata",
                name=key,
                difference=_key_difference(values_from, values_to, change),
                values_from=values_from,
                values_to=values_to,
                change=f"{change:+f}" if change else None,
            )
        )
    return rows


def _values(files: Sequence[ComparedFile]) -> defaultdict[str, set[str]]:
    """Return the values of each key: one, unless the files differ in it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        if file.counts and isinstance(file.metadata, Mapping):
            for key, value in file.metadata.items():
                found[key].add(value if isinstance(value, str) else json.dumps(value))
    return found


def _key_difference(
    before: Sequence[str], after: Sequence[str], change: Decimal | None
) -> Difference:
    if not before:
        return Difference.ADDED
    if not after:
        return Difference.REMOVED
    return Difference.SAME if before == after or change == 0 else Difference.CHANGED


def _change(before: Sequence[str], after: Sequence[str]) -> Decimal | None:
    """Return the exact difference of two numbers; None if one side is not one number."""
    if len(before) != 1 or len(after) != 1:
        return None
    if not (_NUMBER.fullmatch(before[0]) and _NUMBER.fullmatch(after[0])):
        return None
    with localcontext(prec=_DIGITS):
        return Decimal(after[0]) - Decimal(before[0])
