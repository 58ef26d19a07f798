"""How rows become tables, JSON and CSV, and how progress is shown."""

import contextlib
import csv
import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import click
import humanize
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from registry.finding import Difference, FindingRow
from registry.rows import (
    Artifact,
    Comparison,
    Generation,
    LatestModel,
    ModelVersion,
    Promotion,
    Row,
    to_json,
)

FOLDED_WIDTH = 12
LINE_EVERY = 100_000

_STYLES = {
    Comparison.IDENTICAL: "green",
    Comparison.DIFFERENT: "bold red",
    Comparison.UNKNOWN: "yellow",
    Comparison.SKIPPED: "bold yellow",
}


class Screen(Console):
    """A console that raises BrokenPipeError, as print() does."""

    def on_broken_pipe(self) -> None:
        """Say that nobody reads any more."""
        raise BrokenPipeError


def print_rows[R: Row](
    format: str,  # noqa: A002 - the option's name
    rows: Sequence[R],
    kind: type[R],
    table: Callable[[], Table],
) -> None:
    """Print rows of a kind; without any, an empty list or a message."""
    if format == "table":
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
    screen.print(kind, _text(f"gs://{row.gcs_bucket}/{row.gcs_path}{reason}"), soft_wrap=True)


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


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor or turn its writing direction."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def _print_table(table: Table) -> None:
    screen = Screen(highlight=False)
    # A file's lines have no limit. On a narrow terminal lines break, and nothing is left out.
    if not screen.is_terminal:
        screen.width = 10_000
    screen.width = max(screen.width, table.min_width or 0)
    screen.print(table)


def _csv(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and sys.stdout.isatty():
        return printable(value)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _text(text: str | None, style: str = "") -> Text:
    """Return what an uploader wrote, without reading markup in it."""
    return Text(printable(text or "-"), style)


def _time(time: datetime | None) -> Text:
    return Text(f"{time:%Y-%m-%d %H:%M}" if time else "-")


def _ago(time: datetime) -> str:
    return f"{humanize.naturaldelta(datetime.now(UTC) - time)} ago"


def _size(size: int | None) -> Text:
    return Text("-" if size is None else humanize.naturalsize(size))


def _comparison(value: str | None) -> Text:
    return Text(value, _STYLES[Comparison(value)]) if value else Text("-")


def _table[R](
    rows: Iterable[R], columns: Mapping[str, Callable[[R], Text]], folded: Sequence[str]
) -> Table:
    """Make a table whose columns keep their width, except for the folded ones."""
    table = Table(
        *(Column(name, no_wrap=name not in folded, overflow="fold") for name in columns),
        header_style="bold",
    )
    widths = [len(name) for name in columns]
    for row in rows:
        cells = [cell(row) for cell in columns.values()]
        table.add_row(*cells)
        longest = [max(map(cell_len, cell.plain.splitlines()), default=0) for cell in cells]
        widths = [max(pair) for pair in zip(widths, longest, strict=True)]
    table.min_width = 1 + sum(
        3 + (min(width, FOLDED_WIDTH) if name in folded else width)
        for name, width in zip(columns, widths, strict=True)
    )
    return table


def matrix(rows: Sequence[LatestModel], environments: Sequence[str], limit: int | None) -> Table:
    """Make a table of models by environments."""
    latest = {(row.model_name, row.environment): row for row in rows}
    names = list(dict.fromkeys(row.model_name for row in rows))[:limit]

    def column(environment: str) -> Callable[[str], Text]:
        return lambda name: _cell(latest.get((name, environment)))

    table = _table(
        names,
        {
            "model": lambda name: _text(name, "bold"),
            **{where: column(where) for where in environments},
        },
        folded=["model"],
    )
    table.show_lines = True
    return table


def _cell(latest: LatestModel | None) -> Text:
    if latest is None:
        return Text("-", "dim")
    cell = Text(f"v{latest.model_version}", "bold")
    cell.append(f"  {_size(latest.total_bytes)}", "not bold")
    if latest.versions_behind_dev:
        cell.append(f"  {latest.versions_behind_dev} behind dev", "not bold dim")
    who = ", ".join(latest.uploaders) or "unknown"
    cell.append(f"\n{_ago(latest.last_upload_timestamp)}, {printable(who)}", "not bold")
    if latest.comparison:
        different = latest.comparison == Comparison.DIFFERENT
        verdict = latest.verdict.upper() if different else latest.verdict
        cell.append(f"\n{verdict}", f"not bold {_STYLES[latest.comparison]}")
    return cell


def _version(row: ModelVersion | Artifact) -> Text:
    gone = f" gone since {row.removed_at:%Y-%m-%d}" if row.removed_at else ""
    return Text(f"v{row.model_version}", "bold").append(gone, "not bold yellow")


def versions(rows: Sequence[ModelVersion]) -> Table:
    """Make a table of a model's versions in each environment."""
    columns: Mapping[str, Callable[[ModelVersion], Text]] = {
        "version": _version,
        "environment": lambda row: Text(row.environment),
        "uploaded": lambda row: _time(row.last_upload_timestamp),
        "size": lambda row: _size(row.total_bytes),
        "files": lambda row: Text(str(row.files)),
        "by": lambda row: _text(", ".join(row.uploaders)),
        "overwrites": lambda row: Text(str(row.overwrites)),
        "as before": lambda row: _comparison(row.comparison),
    }
    return _table(rows, columns, folded=["by"])


def files(rows: Sequence[Artifact]) -> Table:
    """Make a table of files."""
    columns: Mapping[str, Callable[[Artifact], Text]] = {
        "version": _version,
        "environment": lambda row: Text(row.environment),
        "file": lambda row: _text(row.file_name),
        "size": lambda row: _size(row.file_size_bytes),
        "crc32c": lambda row: _text(row.crc32c),
        "uploaded": lambda row: _time(row.upload_timestamp),
        "by": lambda row: _text(row.uploader),
        "overwrites": lambda row: Text(str(row.overwrites)),
    }
    return _table(rows, columns, folded=["file", "by"])


def promotions(rows: Sequence[Promotion]) -> Table:
    """Make a table of when versions reached each environment."""
    columns: Mapping[str, Callable[[Promotion], Text]] = {
        "model": lambda row: _text(row.model_name, "bold"),
        "version": lambda row: Text(f"v{row.model_version}"),
        "dev": lambda row: _time(row.dev_upload_timestamp),
        "staging": lambda row: _time(row.staging_upload_timestamp),
        "vs dev": lambda row: _comparison(row.staging_vs_dev),
        "prod": lambda row: _time(row.prod_upload_timestamp),
        "vs staging": lambda row: _comparison(row.prod_vs_staging),
    }
    return _table(rows, columns, folded=["model"])


def generations(rows: Sequence[Generation]) -> Table:
    """Make a table of an artifact's generations."""
    columns: Mapping[str, Callable[[Generation], Text]] = {
        "generation": lambda row: Text(
            "-" if row.generation is None else str(row.generation), "bold"
        ),
        "uploaded": lambda row: _time(row.upload_timestamp),
        "registered": lambda row: _time(row.registered_at),
        "size": lambda row: _size(row.file_size_bytes),
        "crc32c": lambda row: _text(row.crc32c),
        "by": lambda row: _text(row.uploader),
        "metadata": lambda row: _text(json.dumps(row.metadata) if row.metadata else None),
    }
    return _table(rows, columns, folded=["by", "metadata"])
