"""How rows become JSON and CSV, how they reach a terminal, and how progress is shown."""

import contextlib
import csv
import dataclasses
import io
import itertools
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from registry.finding import Difference, FindingRow
from registry.grid import Grid
from registry.rows import Row, to_json

LINE_EVERY = 100_000
COUNT_EVERY = 1_000
PATIENCE_SECONDS = 1.75  # with the start of Python, the note is there within three seconds


class Screen(Console):
    """A console that raises BrokenPipeError, as print() does."""

    def on_broken_pipe(self) -> None:
        """Say that nobody reads any more."""
        raise BrokenPipeError


def print_rows[R: Row](
    format: str,  # noqa: A002 - the option's name
    rows: Sequence[R],
    kind: type[R],
    table: Callable[[], Grid],
) -> None:
    """Print rows of a kind; without any, an empty list or a message."""
    if format == "table":
        _escape_what_the_output_lacks()
        if rows:
            _print_table(table())
        else:
            click.echo("Nothing of that kind is registered.", err=True)
        sys.stdout.flush()
    else:
        with writing(format, kind, lambda _: None) as write:
            for row in rows:
                write(row)


@contextlib.contextmanager
def writing[R: Row](
    format: str,  # noqa: A002 - the option's name
    kind: type[R],
    draw: Callable[[R], None],
) -> Iterator[Callable[[R], None]]:
    """Print rows one by one, so that a million take no memory. `draw` prints one on a terminal."""
    columns = [field.name for field in dataclasses.fields(kind)]
    separators = itertools.chain(["[\n"], itertools.repeat(",\n"))
    as_csv = csv.writer(sys.stdout, lineterminator="\n")

    def write(row: R) -> None:
        if format == "json":
            click.echo(next(separators) + to_json([row])[2:-2], nl=False)
        elif format == "csv":
            as_csv.writerow(_csv(getattr(row, column)) for column in columns)
        else:
            draw(row)

    if format == "csv":
        as_csv.writerow(columns)
    else:
        _escape_what_the_output_lacks()
    try:
        yield write
    finally:
        if format == "json":
            click.echo("[]" if next(separators)[0] == "[" else "\n]")
        sys.stdout.flush()


def draw_finding(screen: Console, row: FindingRow) -> None:
    """Print a finding on a screen, as one line."""
    reason = f": {row.reason}" if row.reason else ""
    outside = row.difference == Difference.OUTSIDE_THE_LAYOUT
    kind = Text(f"{row.difference:<18}", "yellow" if outside else "bold red")
    name = Text(printable(f"gs://{row.gcs_bucket}/{row.gcs_path}{reason}"))
    print_line(screen, kind, name)


def print_line(screen: Console, *parts: Text) -> None:
    """Print a line; a terminal's width breaks it between words."""
    screen.print(*parts, soft_wrap=not screen.is_terminal)


@contextlib.contextmanager
def progress(bucket: str, console: Console) -> Iterator[Callable[[], None]]:
    """Show how many objects were compared: on a terminal all the time, else a line now and then."""
    if console.is_terminal:
        with Progress(
            SpinnerColumn(),
            TextColumn(f"gs://{bucket}: {{task.completed:,.0f}} objects compared"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as bar:
            task = bar.add_task("", total=None)
            yield lambda: bar.advance(task)
    else:
        count = itertools.count(1)

        def on_object() -> None:
            if (compared := next(count)) % LINE_EVERY == 0:
                click.echo(f"gs://{bucket}: {compared:,} objects compared", err=True)

        yield on_object


@contextlib.contextmanager
def counting(what: str, total: int, console: Console) -> Iterator[Callable[[], None]]:
    """Show how many of a known number are done: a bar on a terminal, else a line now and then."""
    if console.is_interactive:
        with Progress(
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + what),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as bar:
            task = bar.add_task("", total=total)
            yield lambda: bar.advance(task)
    else:
        count = itertools.count(1)

        def on_object() -> None:
            if (done := next(count)) % COUNT_EVERY == 0:
                click.echo(f"{done:,} of {total:,} {what}", err=True)

        yield on_object


@contextlib.contextmanager
def waiting(who: str = "BigQuery") -> Iterator[None]:
    """Say who has not answered yet, if that takes long."""
    note = f"{who} has not answered yet: still trying"
    timer = threading.Timer(PATIENCE_SECONDS, click.echo, [note], {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor or turn its writing direction."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def _escape_what_the_output_lacks() -> None:
    r"""
    Write as \u200b what the output's encoding does not have.

    Not in CSV: who reads it could not know that it is an escape. There it is an error.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _print_table(table: Grid) -> None:
    screen = Screen(highlight=False)
    if not screen.is_terminal:  # a file's lines have no limit
        screen.width = 10_000
    screen.print(table.on(screen))


def _csv(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and sys.stdout.isatty():
        return printable(value)
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value
