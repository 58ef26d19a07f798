"""The command line: commands and options."""

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from registry import moment, output, reconciliation, terminal
from registry.clients import connect
from registry.environment import Environment
from registry.errors import InvalidMoment, InvalidSettings, RegistryError
from registry.finding import FindingRow, Summary
from registry.inventory import Filter, Inventory
from registry.rows import (
    Artifact,
    Change,
    Generation,
    LatestModel,
    ModelVersion,
    ModelVersionFiles,
    Promotion,
    Row,
)
from registry.settings import DEFAULT_TABLE, Settings
from registry.table import RegistryTable

NOT_FOUND = 1
FAILED = 2
INTERRUPTED = 130
UNREAD = 141


class _Failure(click.ClickException):
    """The question could not be asked."""

    exit_code = FAILED


class _Commands(click.Group):
    """Commands that print an error as one line."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InvalidSettings as error:
            raise _Failure(f"{error}: see --project and --table") from error
        except RegistryError as error:
            raise _Failure(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # nobody reads the output any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)


class _At(click.ParamType[datetime]):
    """A time that is not in the future."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            return moment.parse_past(value, datetime.now(UTC))
        except InvalidMoment as error:
            self.fail(str(error), param, ctx)


class _Since(click.ParamType[datetime]):
    """A time, or a period before the time of --at, which is read first."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            at = ctx.params.get("as_of") if ctx else None  # Click's own mark without --at
            return moment.parse(value, at if isinstance(at, datetime) else datetime.now(UTC))
        except InvalidMoment as error:
            self.fail(str(error), param, ctx)


class _Name(click.ParamType[str]):
    """Text in UTF-8, as every object's name is."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"expected text in UTF-8, found {value!r}", param, ctx)
        return value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What the options say that all questions share."""

    inventory: Inventory
    wanted: Filter
    format: str

    def answer[R: Row](self, rows: Sequence[R], kind: type[R], table: Callable[[], Table]) -> None:
        """Print the rows."""
        output.print_rows(self.format, rows, kind, table)

    def expect(self, rows: Sequence[Row], name: str) -> None:
        """Exit 1 if nothing is registered under that name."""
        if not rows:
            click.echo(
                f"Error: expected registrations of {output.printable(name)}, found none that fit",
                err=True,
            )
            sys.exit(NOT_FOUND)


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
    help="<dataset>.<table>; the views are in the same dataset.",
)
_SINCE = click.option(
    "--since",
    type=_Since(),
    default="1970-01-01",
    help="Only what was uploaded since: 2026-11-01, 2026-11-01T12:00:00Z, 90m, 12h, 7d, 2w.",
)
_AT = click.option(
    "--at",
    "as_of",
    type=_At(),
    is_eager=True,
    help="What was true then: 2026-11-01 (00:00 UTC), 2026-11-01T12:00:00Z, 7d (a week ago).",
)
_FORMAT = click.option(
    "--format",
    type=click.Choice(["table", "json", "csv"]),
    default=lambda: "table" if sys.stdout.isatty() else "json",
    help="[default: table on a terminal, else json]",
)


def _settings(project: str, table: str) -> Settings:
    chosen = {"GCP_PROJECT_ID": project, "REGISTRY_TABLE": table, "THREADS": ""}
    return Settings.from_environ({**os.environ, **chosen})


def _question(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all questions share; the command gets them as a question."""

    @_PROJECT
    @_TABLE
    @click.option(
        "--environment",
        "environments",
        type=click.Choice([environment.value for environment in Environment]),
        multiple=True,
        help="Only this one; can be given several times.",
    )
    @_SINCE
    @_AT
    @click.option("--limit", type=click.IntRange(1, 1_000_000_000), help="At most so many rows.")
    @_FORMAT
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
        settings = _settings(project, table)
        command(
            _Question(
                inventory=Inventory(connect(settings), settings.table),
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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """
    Ask the model registry what is where, since when, by whom, and whether it is the same file.

    \b
    Exit codes:
      0  the answer was printed; a list may be empty
      1  nothing is registered under the name that was given
      2  the question could not be asked: options, credentials, permissions, no such table

    \b
    Examples:
      python -m registry models
      python -m registry models --environment prod --format json
      python -m registry show fraud-detection --files
      python -m registry promotions --environment prod --since 7d
      python -m registry changes --environment prod --since 7d
      python -m registry history gs://ml-models-prod/fraud-detection/v3/model.pkl
      python -m registry models --environment prod --at 2026-09-01
      python -m registry reconcile dev --dry-run
    """  # noqa: D301 - \b keeps Click from filling the lines


@main.command()
@_question
def models(question: _Question) -> None:
    """
    Show the latest version of each model in each environment.

    For each: its size, when it was uploaded and by whom, whether it is the same as in the
    environment before, how many versions in dev are higher, and which other versions there differ
    from the environment before, or never were in it. In JSON and CSV a row is a model in
    an environment, as in the view latest_models; in the table a row is a model.

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
    question.answer(
        rows, LatestModel, lambda: terminal.matrix(rows, wanted.environments, wanted.limit)
    )


@main.command()
@click.argument("model", type=_Name())
@click.option("--files", is_flag=True, help="Each file, with its checksum.")
@_question
def show(question: _Question, model: str, *, files: bool) -> None:
    """
    Show the versions of MODEL, in each environment, the highest first, and last what was removed.

    A row is a version in an environment, as in the view model_versions. With --files, JSON also has
    its rows of the view artifacts, and a row of the table and of CSV is a file.

    \b
    Examples:
      python -m registry show fraud-detection
      python -m registry show fraud-detection --files --environment prod
      python -m registry show fraud-detection --at 2026-09-01
    """  # noqa: D301
    inventory, wanted = question.inventory, question.wanted
    if not files:
        versions = inventory.model_versions(model, wanted)
        question.answer(versions, ModelVersion, lambda: terminal.versions(versions))
        question.expect(versions, model)
        return
    contents = inventory.model_version_files(model, wanted)
    artifacts = [artifact for version in contents for artifact in version.artifacts]
    artifacts = artifacts[: wanted.limit]
    if question.format == "json":
        question.answer(contents, ModelVersionFiles, Table)
    else:
        question.answer(artifacts, Artifact, lambda: terminal.files(artifacts))
    question.expect(contents, model)


@main.command()
@click.argument("model", type=_Name(), required=False)
@_question
def promotions(question: _Question, model: str | None) -> None:
    """
    Show when each version of MODEL, or of all models, reached each environment.

    Also when it was last uploaded there, when it was removed, and whether it is the same as in the
    environment before: identical, incomplete (some files are missing), different, unknown (a
    checksum is missing), or skipped (it never was there). --environment and --since select what was
    last uploaded to one of these environments since then. A row is a row of the view promotions.

    \b
    Examples:
      python -m registry promotions fraud-detection
      python -m registry promotions --environment prod --since 7d
    """  # noqa: D301
    rows = question.inventory.promotions(model, question.wanted)
    question.answer(rows, Promotion, lambda: terminal.promotions(rows))
    if model is not None:
        question.expect(rows, model)


@main.command()
@click.argument("model", type=_Name(), required=False)
@_question
def changes(question: _Question, model: str | None) -> None:
    """
    Show what happened to the versions of MODEL, or of all models, the newest first.

    A version arrived in an environment, or was completed (more files), overwritten (other bytes),
    rewritten (the same bytes again) or removed, or it reappeared. A row is a row of the view
    changes. What happened within minutes is one row.

    \b
    Examples:
      python -m registry changes --environment prod --since 7d
      python -m registry changes fraud-detection --limit 20
      python -m registry changes --at 2026-09-01 --since 7d
    """  # noqa: D301
    rows = question.inventory.changes(model, question.wanted)
    question.answer(rows, Change, lambda: terminal.changes(rows))
    if model is not None:
        question.expect(rows, model)


@main.command()
@click.argument("url", type=_Name(), metavar="gs://BUCKET/PATH")
@_question
def history(question: _Question, url: str) -> None:
    """
    Show every generation of an artifact, the newest first.

    Also since when each is no longer there: removed, or overwritten. A row is a row of the view
    registrations.

    \b
    Example:
      python -m registry history gs://ml-models-prod/fraud-detection/v3/model.pkl
    """  # noqa: D301
    bucket, slash, name = url.removeprefix("gs://").partition("/")
    if not url.startswith("gs://") or not bucket or not slash:
        raise click.BadParameter(f"expected gs://<bucket>/<path>, found {url!r}")
    rows = question.inventory.generations(bucket, name, question.wanted)
    question.answer(rows, Generation, lambda: terminal.generations(rows))
    question.expect(rows, url)


@main.command()
@click.argument(
    "environments",
    metavar="ENVIRONMENT...",
    nargs=-1,
    required=True,
    type=click.Choice([environment.value for environment in Environment]),
)
@click.option("--dry-run", is_flag=True, help="Only print what differs; write nothing.")
@click.option("--prefix", type=_Name(), default="", help="Only names that begin like this: MODEL/.")
@click.option(
    "--all-generations", is_flag=True, help="Also what was overwritten, if the bucket keeps it."
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
    Compare the buckets of environments with the registry, and correct the registry.

    A finding is unregistered (in the bucket, not in the registry: its event was lost, or came
    before the function), changed (the bucket says something else: what, from, to), removed (in the
    registry, no longer in the bucket), reappeared (the other way round) or outside the layout, with
    the reason. What is unregistered or changed gets registered, what was removed or has reappeared
    is recorded. You can interrupt it, and run it again, at any time.

    \b
    Exit codes:
      0  nothing differs; or, without --dry-run, all differences were corrected
      1  with --dry-run: something differs, not only names outside the layout
      2  it could not be compared, or not be corrected

    \b
    Examples:
      python -m registry reconcile dev --dry-run
      python -m registry reconcile dev staging prod
      python -m registry reconcile prod --prefix fraud-detection/ --all-generations
    """  # noqa: D301
    from registry.bucket import Bucket  # noqa: PLC0415 - it imports slowly, and only this needs it

    settings = _settings(project, table)
    client = connect(settings)
    differences = 0
    screen = output.Screen(highlight=False)
    progress: Console = screen
    if not sys.stdout.isatty():
        progress = Console(stderr=True)
    elif format != "table":  # the output would mix with a line that moves
        progress = Console(stderr=True, force_terminal=False)
    draw = functools.partial(output.draw_finding, screen)
    with output.writing(format, FindingRow, draw) as write:
        for environment in environments:
            bucket = Bucket.connect(settings, f"{bucket_prefix}-{environment}")
            summary = Summary()
            with output.progress(bucket.name, progress) as on_object:
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
                    summary.add(finding)
            differences += summary.differences
            counted = ", ".join(f"{count:,} {kind}" for kind, count in summary.by_kind().items())
            click.echo(f"gs://{bucket.name}: {counted}", err=True)
    if dry_run and differences:
        sys.exit(NOT_FOUND)
