"""A question to the inventory, as its options say it, and how the answer is given."""

import dataclasses
import difflib
import functools
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NoReturn

import click

from registry import output
from registry.condition import Condition
from registry.environment import Environment
from registry.grid import Grid
from registry.inventory import Filter, Inventory
from registry.options import (
    AT,
    FORMAT,
    NOT_FOUND,
    PROJECT,
    SINCE,
    TABLE,
    inventory_of,
    settings_of,
    with_version_of_path,
)
from registry.rows import Change, Promotion, Row


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the options say that all questions share."""

    inventory: Inventory
    wanted: Filter
    format: str

    def answer[R: Row](self, rows: Sequence[R], kind: type[R], table: Callable[[], Grid]) -> None:
        """Print the rows."""
        output.print_rows(self.format, rows, kind, table)

    def where(self, conditions: Sequence[Condition]) -> Filter:
        """Return what is wanted, with conditions."""
        return dataclasses.replace(self.wanted, where=conditions)

    def of_version_of_path[R: (Promotion, Change)](
        self, ask: Callable[[Filter], Sequence[R]]
    ) -> Sequence[R]:
        """Return the answer; only what is of the version in the path of MODEL, if it has one."""
        versions = with_version_of_path([])
        if not versions:
            return ask(self.wanted)
        every = dataclasses.replace(self.wanted, limit=None)  # the limit counts rows of the version
        return [row for row in ask(every) if row.model_version in versions][: self.wanted.limit]

    def expect(self, rows: Sequence[Row], name: str) -> None:
        """Exit 1 if nothing is registered under that name."""
        if not rows:
            _say_none(name)

    def expect_model(self, rows: Sequence[Row], name: str) -> None:
        """Exit 1 if nothing of that model is registered, and name the model that may be meant."""
        if not rows:
            meant = closest(name, self.inventory.model_names(self.wanted.as_of))
            _say_none(name, f": did you mean '{output.printable(meant)}'?" if meant else "")


def _say_none(name: str, meant: str = "") -> NoReturn:
    click.echo(
        f"Error: expected registrations of {output.printable(name)}, found none that fit{meant}",
        err=True,
    )
    sys.exit(NOT_FOUND)


def closest(name: str, names: Sequence[str]) -> str | None:
    """Return the name that may be meant; None if that one is there, or none is like it."""
    if name in names:
        return None
    by_folded = {one.casefold(): one for one in names}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[found[0]] if found else None


def ask(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all questions share; the command gets them as a question."""

    @PROJECT
    @TABLE
    @click.option(
        "-e",
        "--env",
        "--environment",
        "environments",
        type=click.Choice([environment.value for environment in Environment]),
        multiple=True,
        help="Only this one; can be given several times.",
    )
    @SINCE
    @AT
    @click.option("--limit", type=click.IntRange(1, 1_000_000_000), help="At most so many rows.")
    @FORMAT
    @functools.wraps(command)
    def wrapped(  # noqa: PLR0913 - one for each option
        *,
        project: str,
        table: str,
        environments: Sequence[str],
        since: datetime,
        as_of: datetime | None,
        limit: int | None,
        format: str,  # noqa: A002 - the option's name
        **arguments: Any,  # noqa: ANN401 - the command's own
    ) -> None:
        settings = settings_of(project, table)
        command(
            Question(
                inventory=inventory_of(settings),
                wanted=Filter(
                    environments=environments or tuple(Environment),
                    since=since,
                    limit=limit,
                    as_of=as_of,
                ),
                format=format,
            ),
            **arguments,
        )

    return wrapped
