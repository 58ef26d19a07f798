"""The form of the page `/compare`: what it asks, and the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from registry.artifact import read_version
from registry.comparison import Compared, Difference, Side, compare, sides
from registry.environment import Environment
from registry.errors import shorten
from registry.rows import ComparedFile

# Returns the files of two versions of a model in some environments.
type Ask = Callable[[str, int, int, Sequence[str]], Sequence[ComparedFile]]


class _Problem(Exception):
    """What is wrong with what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareForm:
    """
    What was typed or chosen for it, and the rows that differ or what is wrong.

    Without a second version, the first one is compared in two environments. Without environments,
    both are taken from the first one that has both.
    """

    typed: Mapping[str, str]
    sides: Sequence[Side] = ()
    rows: Sequence[Compared] = ()
    status: HTTPStatus = HTTPStatus.OK
    problem: str = ""

    @classmethod
    def of(cls, args: Mapping[str, str], ask: Ask) -> Self:
        """Answer what an address asks: `model`, `first`, `second`, `from` and `to`."""
        typed = {name: args.get(name, "") for name in ("model", "first", "second", "from", "to")}
        versions = [typed[name] for name in ("first", "second") if typed[name]]
        environments = [typed[name] for name in ("from", "to") if typed[name]]
        if not versions or len(versions + environments) == 1:
            return cls(typed=typed)  # there is more to type
        try:
            first, second = _versions(typed)
            places = _places(typed, first == second)
        except _Problem as error:
            return cls(typed=typed, status=HTTPStatus.BAD_REQUEST, problem=str(error))
        files = ask(typed["model"], first, second, sorted({*places}) or [*Environment])
        found = (
            (Side(first, places[0]), Side(second, places[1]))
            if places
            else sides(files, first, second, [*Environment])
        )
        for side in found:
            if problem := side.problem(files):
                said = f"Expected {side}, {problem}."
                return cls(typed=typed, status=HTTPStatus.NOT_FOUND, problem=said)
        compared = {
            **typed,
            "first": f"v{found[0].version}",
            "from": found[0].environment,
            "second": f"v{found[1].version}",
            "to": found[1].environment,
        }
        rows = compare(found[0].of(files), found[1].of(files))
        return cls(typed=compared, sides=found, rows=rows)

    @property
    def counts(self) -> dict[str, int]:
        """How many files are same, changed and so on."""
        kinds = [row.difference for row in self.rows if row.kind == "file"]
        return {kind: kinds.count(kind) for kind in Difference if kind in kinds}

    @property
    def files(self) -> list[Compared]:
        """The files that are not the same."""
        return [
            row for row in self.rows if row.kind == "file" and row.difference != Difference.SAME
        ]

    @property
    def metadata(self) -> list[Compared]:
        """The keys of the metadata, those that differ first."""
        found = [row for row in self.rows if row.kind == "metadata"]
        return sorted(found, key=lambda row: row.difference == Difference.SAME)


def _versions(typed: Mapping[str, str]) -> tuple[int, int]:
    if not typed["model"]:
        raise _Problem("Expected a model, found none.")
    first, second = typed["first"] or typed["second"], typed["second"] or typed["first"]
    return _version(first), _version(second)


def _version(text: str) -> int:
    version = read_version(text)
    if version is None:
        raise _Problem(f"Expected a version such as v3, found {shorten(text)}.")
    return version


def _places(typed: Mapping[str, str], is_one_version: bool) -> Sequence[str]:  # noqa: FBT001 - read once, above
    """Return where both are; nothing if that was not asked."""
    first, second = typed["from"] or typed["to"], typed["to"] or typed["from"]
    for place in filter(None, (first, second)):
        if place not in {*Environment}:
            raise _Problem(f"Expected dev, staging or prod, found {shorten(place)}.")
    if is_one_version and first == second:
        raise _Problem("Expected two versions, or one version in two environments.")
    return (first, second) if first else ()
