"""The command line: what the views answer, as a table, JSON or CSV."""

import contextlib
import csv
import dataclasses
import functools
import itertools
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import humanize
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from registry import reconciliation
from registry.bigquery import connect
from registry.errors import InvalidSettings, RegistryError
from registry.inventory import (
    Artifact,
    Comparison,
    Filter,
    Generation,
    Inventory,
    LatestModel,
    ModelVersion,
    ModelVersionFiles,
    Promotion,
    Row,
    to_json,
)
from registry.reconciliation import Difference, Finding
from registry.settings import DEFAULT_TABLE, Environment, Settings
from registry.table import RegistryTable

NOT_FOUND = 1
FAILED = 2
INTERRUPTED = 130
UNREAD = 141

FOLDED_WIDTH = 12
LINE_EVERY = 100_000

_PERIODS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_STYLES = {
    Comparison.IDENTICAL: "green",
    Comparison.DIFFERENT: "bold red",
    Comparison.UNKNOWN: "yellow",
    Comparison.SKIPPED: "bold yellow",
}


class _Failure(click.ClickException):
    """The question could not be asked."""

    exit_code = FAILED


class _Commands(click.Group):
    """Commands whose errors are one line."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InvalidSettings as error:
            raise _Failure(f"{error}: see --project and --table") from error
        except RegistryError as error:
            raise _Failure(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # whoever read what it printed has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)


class _Console(Console):
    """A console of which a reader who has gone is told like any other."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _Since(click.ParamType[datetime]):
    """A time, or how long ago it was."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            if period := re.fullmatch(r"([0-9]+)([mhdw])", value):
                ago = timedelta(**{_PERIODS[period[2]]: int(period[1])})
                return datetime.now(UTC) - ago
            time = datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"expected a date, a time in ISO 8601, or a period such as 90m, 12h, 7d, 2w,"
                f" found {value!r}",
                param,
                ctx,
            )


class _Name(click.ParamType[str]):
    """Text, as every name of an object is."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"expected text in UTF-8, found {value!r}", param, ctx)
        return value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is asked for with the options which all commands share."""

    inventory: Inventory
    wanted: Filter
    format: str

    def answer(self, rows: Sequence[Row], kind: type[Row], table: Callable[[], Table]) -> None:
        """Print rows of a kind; of none, what there would be to see."""
        if self.format == "json":
            click.echo(to_json(rows))
        elif self.format == "csv":
            columns = [field.name for field in dataclasses.fields(kind)]
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_csv(getattr(row, name)) for name in columns] for row in rows)
        elif rows:
            drawn, console = table(), _Console(highlight=False)
            # Lines of a file have no end; on a narrow terminal they break, and nothing is left out.
            if not console.is_terminal:
                console.width = 10_000
            console.width = max(console.width, drawn.min_width or 0)
            console.print(drawn)
        else:
            click.echo("Nothing of that kind is registered.", err=True)
        sys.stdout.flush()

    def expect(self, rows: Sequence[Row], name: str) -> None:
        """End, after the answer, if what was named is not there."""
        if not rows:
            click.echo(
                f"Error: expected registrations of {_printable(name)}, found none that fit",
                err=True,
            )
            sys.exit(NOT_FOUND)


def _csv(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and sys.stdout.isatty():
        return _printable(value)
    return json.dumps(value) if isinstance(value, list | dict) else value


def _printable(text: str) -> str:
    """Escape what would move a terminal's cursor, or turn its writing around."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def _text(text: str | None, style: str = "") -> Text:
    """Give what an uploader wrote, and no markup."""
    return Text(_printable(text or "-"), style)


def _time(time: datetime | None) -> Text:
    return Text(f"{time:%Y-%m-%d %H:%M}" if time else "-")


def _ago(time: datetime) -> str:
    return f"{humanize.naturaldelta(datetime.now(UTC) - time)} ago"


def _size(size: int | None) -> Text:
    return Text("-" if size is None else humanize.naturalsize(size))


def _comparison(value: str | None) -> Text:
    return Text(value, _STYLES[Comparison(value)]) if value else Text("-")


def _table(*columns: str, rows: Iterable[Sequence[Text]], folded: Sequence[str] = ()) -> Table:
    """Make a table whose columns keep their width, but for the folded ones."""
    table = Table(
        *(Column(name, no_wrap=name not in folded, overflow="fold") for name in columns),
        header_style="bold",
    )
    widths = [len(name) for name in columns]
    for row in rows:
        table.add_row(*row)
        longest = [max(map(cell_len, cell.plain.splitlines()), default=0) for cell in row]
        widths = [max(pair) for pair in zip(widths, longest, strict=True)]
    table.min_width = 1 + sum(
        3 + (min(width, FOLDED_WIDTH) if name in folded else width)
        for name, width in zip(columns, widths, strict=True)
    )
    return table


def _matrix(rows: Sequence[LatestModel], environments: Sequence[str], limit: int | None) -> Table:
    """Make a row for each model and a column for each environment."""
    latest = {(row.model_name, row.environment): row for row in rows}
    names = list(dict.fromkeys(row.model_name for row in rows))[:limit]
    table = _table(
        "model",
        *environments,
        folded=["model"],
        rows=(
            [_text(name, "bold"), *(_cell(latest.get((name, where))) for where in environments)]
            for name in names
        ),
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
    cell.append(f"\n{_ago(latest.last_upload_timestamp)}, {_printable(who)}", "not bold")
    if latest.comparison:
        different = latest.comparison == Comparison.DIFFERENT
        verdict = latest.verdict.upper() if different else latest.verdict
        cell.append(f"\n{verdict}", f"not bold {_STYLES[latest.comparison]}")
    return cell


def _version(row: ModelVersion | Artifact) -> Text:
    gone = f" gone since {row.gone_since:%Y-%m-%d}" if row.gone_since else ""
    return Text(f"v{row.model_version}", "bold").append(gone, "not bold yellow")


def _versions(rows: Sequence[ModelVersion]) -> Table:
    return _table(
        *("version", "environment", "uploaded", "size", "files", "by", "overwrites", "as before"),
        folded=["by"],
        rows=(
            [
                _version(row),
                Text(row.environment),
                _time(row.last_upload_timestamp),
                _size(row.total_bytes),
                Text(str(row.files)),
                _text(", ".join(row.uploaders)),
                Text(str(row.overwrites)),
                _comparison(row.comparison),
            ]
            for row in rows
        ),
    )


def _files(rows: Sequence[Artifact]) -> Table:
    return _table(
        *("version", "environment", "file", "size", "crc32c", "uploaded", "by", "overwrites"),
        folded=["file", "by"],
        rows=(
            [
                _version(row),
                Text(row.environment),
                _text(row.file_name),
                _size(row.file_size_bytes),
                _text(row.crc32c),
                _time(row.upload_timestamp),
                _text(row.uploader),
                Text(str(row.overwrites)),
            ]
            for row in rows
        ),
    )


def _promotions(rows: Sequence[Promotion]) -> Table:
    return _table(
        *("model", "version", "dev", "staging", "vs dev", "prod", "vs staging"),
        folded=["model"],
        rows=(
            [
                _text(row.model_name, "bold"),
                Text(f"v{row.model_version}"),
                _time(row.dev_upload_timestamp),
                _time(row.staging_upload_timestamp),
                _comparison(row.staging_vs_dev),
                _time(row.prod_upload_timestamp),
                _comparison(row.prod_vs_staging),
            ]
            for row in rows
        ),
    )


def _generations(rows: Sequence[Generation]) -> Table:
    return _table(
        *("generation", "uploaded", "registered", "size", "crc32c", "by", "metadata"),
        folded=["by", "metadata"],
        rows=(
            [
                Text("-" if row.generation is None else str(row.generation), "bold"),
                _time(row.upload_timestamp),
                _time(row.registered_at),
                _size(row.file_size_bytes),
                _text(row.crc32c),
                _text(row.uploader),
                _text(json.dumps(row.metadata) if row.metadata else None),
            ]
            for row in rows
        ),
    )


_PROJECT = click.option(
    "--project",
    envvar="GCP_PROJECT_ID",
    show_envvar=True,
    default="",
    help="The project that holds the table.",
)
_TABLE = click.option(
    "--table",
    envvar="REGISTRY_TABLE",
    default=DEFAULT_TABLE,
    show_default=True,
    show_envvar=True,
    help="<dataset>.<table>; the views are beside it.",
)
_SINCE = click.option(
    "--since",
    type=_Since(),
    default="1970-01-01",
    help="Only what was uploaded since: 2026-11-01, 2026-11-01T12:00:00Z, 90m, 12h, 7d, 2w.",
)
_FORMAT = click.option(
    "--format",
    type=click.Choice(["table", "json", "csv"]),
    default=lambda: "table" if sys.stdout.isatty() else "json",
    help="[default: table on a terminal, else json]",
)


def _settings(project: str, table: str) -> Settings:
    return Settings.from_environ({**os.environ, "GCP_PROJECT_ID": project, "REGISTRY_TABLE": table})


def _question(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options which all questions share; it is called with what they say."""

    @_PROJECT
    @_TABLE
    @click.option(
        "--environment",
        "environments",
        type=click.Choice([environment.value for environment in Environment]),
        multiple=True,
        help="Only this one; can be given more than once.",
    )
    @_SINCE
    @click.option("--limit", type=click.IntRange(1, 1_000_000_000), help="At most so many rows.")
    @_FORMAT
    @functools.wraps(command)
    def wrapped(  # noqa: PLR0913 - one for each option
        *,
        project: str,
        table: str,
        environments: Sequence[str],
        since: datetime,
        limit: int | None,
        format: str,  # noqa: A002 - the option's name
        **arguments: Any,  # noqa: ANN401 - the command's own
    ) -> None:
        settings = _settings(project, table)
        command(
            _Question(
                inventory=Inventory(connect(settings), settings.table),
                wanted=Filter(
                    environments=environments or tuple(Environment), since=since, limit=limit
                ),
                format=format,
            ),
            **arguments,
        )

    return wrapped


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """
    Ask the model registry what is where, since when, by whom, and whether it is the same file.

    \b
    Exit codes:
      0  the answer was printed; a list may be empty
      1  of the model or the artifact that was named, nothing is registered that fits
      2  the question could not be asked: options, credentials, permissions, no such table

    \b
    Examples:
      python -m registry models
      python -m registry models --environment prod --format json
      python -m registry show fraud-detection --files
      python -m registry promotions --environment prod --since 7d
      python -m registry history gs://ml-models-prod/fraud-detection/v3/model.pkl
      python -m registry reconcile dev --dry-run
    """  # noqa: D301 - \b keeps Click from filling the lines


@main.command()
@_question
def models(question: _Question) -> None:
    """
    Show the latest version of each model in each environment.

    With its size, when it was uploaded and by whom, whether it is the same as that version in the
    environment before, and how many versions in dev are higher. A row of JSON or CSV is a model in
    an environment, as in the view latest_models; a row of the table is a model.

    \b
    Examples:
      python -m registry models
      python -m registry models --environment prod --since 30d
      python -m registry models --format json | jq '.[] | select(.prod_vs_staging == "different")'
    """  # noqa: D301
    wanted, asked = question.wanted, question.wanted
    if question.format == "table" and wanted.limit:
        asked = dataclasses.replace(wanted, limit=wanted.limit * len(Environment))
    rows = question.inventory.latest_models(asked)
    question.answer(rows, LatestModel, lambda: _matrix(rows, wanted.environments, wanted.limit))


@main.command()
@click.argument("model", type=_Name())
@click.option("--files", is_flag=True, help="Each file, with its checksum.")
@_question
def show(question: _Question, model: str, *, files: bool) -> None:
    """
    Show the versions of MODEL, in each environment, the highest first.

    A row is a version in an environment, as in the view model_versions; with --files, JSON has its
    rows of the view artifacts as well, and a row of the table and of CSV is a file.

    \b
    Examples:
      python -m registry show fraud-detection
      python -m registry show fraud-detection --files --environment prod
    """  # noqa: D301
    inventory, wanted = question.inventory, question.wanted
    if not files:
        versions = inventory.model_versions(model, wanted)
        question.answer(versions, ModelVersion, lambda: _versions(versions))
        question.expect(versions, model)
        return
    contents = inventory.model_version_files(model, wanted)
    artifacts = [artifact for version in contents for artifact in version.artifacts]
    artifacts = artifacts[: wanted.limit]
    if question.format == "json":
        question.answer(contents, ModelVersionFiles, Table)
    else:
        question.answer(artifacts, Artifact, lambda: _files(artifacts))
    question.expect(contents, model)


@main.command()
@click.argument("model", type=_Name(), required=False)
@_question
def promotions(question: _Question, model: str | None) -> None:
    """
    Show when each version of MODEL, or of all models, reached each environment.

    And whether it is the same there as in the environment before: identical, different, unknown (a
    checksum is missing), or skipped (it never was there). --environment and --since ask for what
    reached one of those environments since. A row is a row of the view promotions.

    \b
    Examples:
      python -m registry promotions fraud-detection
      python -m registry promotions --environment prod --since 7d
    """  # noqa: D301
    rows = question.inventory.promotions(model, question.wanted)
    question.answer(rows, Promotion, lambda: _promotions(rows))
    if model is not None:
        question.expect(rows, model)


@main.command()
@click.argument("url", type=_Name(), metavar="gs://BUCKET/PATH")
@_question
def history(question: _Question, url: str) -> None:
    """
    Show every generation of an artifact, the newest first.

    A row is a row of the view registrations.

    \b
    Example:
      python -m registry history gs://ml-models-prod/fraud-detection/v3/model.pkl
    """  # noqa: D301
    bucket, slash, name = url.removeprefix("gs://").partition("/")
    if not url.startswith("gs://") or not bucket or not slash:
        raise click.BadParameter(f"expected gs://<bucket>/<path>, found {url!r}")
    rows = question.inventory.generations(bucket, name, question.wanted)
    question.answer(rows, Generation, lambda: _generations(rows))
    question.expect(rows, url)


@main.command()
@click.argument(
    "environments",
    metavar="ENVIRONMENT...",
    nargs=-1,
    required=True,
    type=click.Choice([environment.value for environment in Environment]),
)
@click.option("--dry-run", is_flag=True, help="Only say what differs; write nothing.")
@click.option("--prefix", type=_Name(), default="", help="Only names that begin so: MODEL/.")
@click.option(
    "--all-generations", is_flag=True, help="Also what was overwritten, as far as it is kept."
)
@click.option(
    "--bucket-prefix",
    envvar="BUCKET_PREFIX",
    default="ml-models",
    show_default=True,
    show_envvar=True,
    help="The buckets are <prefix>-<environment>.",
)
@_PROJECT
@_TABLE
@_SINCE
@_FORMAT
def reconcile(  # noqa: PLR0913 - one for each option
    *,
    environments: Sequence[str],
    dry_run: bool,
    prefix: str,
    all_generations: bool,
    bucket_prefix: str,
    project: str,
    table: str,
    since: datetime,
    format: str,  # noqa: A002 - the option's name
) -> None:
    """
    Compare the buckets of environments with the registry, and let it catch up.

    A finding is unregistered (in the bucket, not in the registry: its event was lost, or came
    before the function), vanished (the other way around) or outside the layout, with the reason.
    What is unregistered is registered, as its event would have been; what has vanished is
    recorded, and no longer shown as being there. Can be interrupted, and run again, at any time.

    \b
    Exit codes:
      0  nothing differs, or, without --dry-run, all that did is settled
      1  with --dry-run: something is unregistered or has vanished
      2  it could not be told, or not be done

    \b
    Examples:
      python -m registry reconcile dev --dry-run
      python -m registry reconcile dev staging prod
      python -m registry reconcile prod --prefix fraud-detection/ --all-generations
    """  # noqa: D301
    from registry.bucket import Bucket  # noqa: PLC0415 - takes a while, and nothing else needs it

    settings = _settings(project, table)
    client = connect(settings)
    differences = 0
    screen = _Console(highlight=False)
    progress: Console = screen
    if not sys.stdout.isatty():
        progress = Console(stderr=True)
    elif format != "table":  # which would mix with a line that moves
        progress = Console(stderr=True, force_terminal=False)
    with _findings(format, screen) as write:
        for environment in environments:
            bucket = Bucket.connect(settings, f"{bucket_prefix}-{environment}")
            counts: Counter[str] = Counter()
            with _progress(bucket.name, progress) as on_object:
                for finding in reconciliation.reconcile(
                    bucket,
                    Inventory(client, settings.table),
                    None if dry_run else RegistryTable(client, settings.table),
                    clock=lambda: datetime.now(UTC),
                    prefix=prefix,
                    since=since,
                    all_generations=all_generations,
                    on_object=on_object,
                ):
                    write(FindingRow.of(bucket.name, finding))
                    counts[finding.difference] += 1
            differences += counts[Difference.UNREGISTERED] + counts[Difference.VANISHED]
            told = ", ".join(f"{counts[kind]:,} {kind}" for kind in Difference)
            click.echo(f"gs://{bucket.name}: {told}", err=True)
    if dry_run and differences:
        sys.exit(NOT_FOUND)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow(Row):
    """A finding, as it is printed."""

    difference: str
    gcs_bucket: str
    gcs_path: str
    generation: int | None
    file_size_bytes: int | None
    upload_timestamp: datetime | None
    reason: str | None

    @classmethod
    def of(cls, bucket: str, finding: Finding) -> "FindingRow":
        """Flatten a finding."""
        return cls(
            difference=finding.difference.value,
            gcs_bucket=bucket,
            gcs_path=finding.name,
            generation=finding.generation,
            file_size_bytes=finding.stored.size if finding.stored else None,
            upload_timestamp=finding.time,
            reason=finding.reason,
        )


@contextlib.contextmanager
def _findings(
    format: str,  # noqa: A002
    console: Console,
) -> Iterator[Callable[[FindingRow], None]]:
    """Print findings as they come, so that a million of them take no memory."""
    columns = [field.name for field in dataclasses.fields(FindingRow)]
    separators = itertools.chain(["[\n"], itertools.repeat(",\n"))
    as_csv = csv.writer(sys.stdout, lineterminator="\n")

    def write(row: FindingRow) -> None:
        if format == "json":
            click.echo(next(separators) + to_json([row])[2:-2], nl=False)
        elif format == "csv":
            as_csv.writerow(_csv(getattr(row, column)) for column in columns)
        else:
            reason = f": {row.reason}" if row.reason else ""
            outside = row.difference == Difference.OUTSIDE_THE_LAYOUT
            told = Text(f"{row.difference:<18}", "yellow" if outside else "bold red")
            name = _text(f"gs://{row.gcs_bucket}/{row.gcs_path}{reason}")
            console.print(told, name, soft_wrap=True)

    if format == "csv":
        as_csv.writerow(columns)
    try:
        yield write
    finally:
        if format == "json":
            click.echo("[]" if next(separators)[0] == "[" else "\n]")
        sys.stdout.flush()


@contextlib.contextmanager
def _progress(bucket: str, console: Console) -> Iterator[Callable[[], None]]:
    """Show how many objects were compared: on a terminal at once, else a line now and then."""
    if console.is_terminal:
        with Progress(
            SpinnerColumn(),
            TextColumn(f"gs://{bucket}: {{task.completed:,.0f}} objects compared"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as progress:
            task = progress.add_task("", total=None)
            yield lambda: progress.advance(task)
    else:
        count = itertools.count(1)

        def on_object() -> None:
            if (compared := next(count)) % LINE_EVERY == 0:
                click.echo(f"gs://{bucket}: {compared:,} objects compared", err=True)

        yield on_object
