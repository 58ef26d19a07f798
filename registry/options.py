"""Options that commands share, and how they read what people type."""

import dataclasses
import difflib
import functools
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem
from google.cloud import bigquery

from registry import completion, gcloud, moment, output
from registry.artifact import INT64_MAX
from registry.clients import connect
from registry.condition import Condition
from registry.environment import Environment
from registry.errors import InvalidCondition, InvalidMoment
from registry.grid import Grid
from registry.inventory import Filter, Inventory
from registry.rows import Row
from registry.settings import DEFAULT_BUCKET_PREFIX, DEFAULT_TABLE, Settings

NOT_FOUND = 1


class At(click.ParamType[datetime]):
    """A time that is not in the future."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it."""
        try:
            return moment.parse_past(value, datetime.now(UTC))
        except InvalidMoment as error:
            self.fail(str(error), param, ctx)


class Since(click.ParamType[datetime]):
    """A time, or a period before the time of --at, which is read first."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it."""
        try:
            at = ctx.params.get("as_of") if ctx else None  # Click's own mark without --at
            return moment.parse(value, at if isinstance(at, datetime) else datetime.now(UTC))
        except InvalidMoment as error:
            self.fail(str(error), param, ctx)


class Name(click.ParamType[str]):
    """Text in UTF-8, as every object's name is."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it."""
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"expected text in UTF-8, found {value!r}", param, ctx)
        return value


class Model(Name):
    """A model's name, also as part of a path: `fraud/`, `fraud/v3`, `gs://bucket/fraud/v3/`."""

    name = "model"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it."""
        text = super().convert(value, param, ctx)
        bucket_and_path = text.removeprefix("gs://")
        path = text if bucket_and_path == text else bucket_and_path.partition("/")[2]
        model = path.partition("/")[0]
        if not model:
            self.fail(f"expected a model's name, found {value!r}", param, ctx)
        return model

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - as Click calls it
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the models whose names begin like that; none if that would take long."""
        project, table = (ctx.params.get(name) or "" for name in ("project", "table"))

        def ask() -> Sequence[str]:
            settings = settings_of(project, table)
            return Inventory(connect(settings), settings.table).model_names()

        # A shell would read a line break in a name as the end of it.
        return [
            CompletionItem(name)
            for name in completion.soon(ask)
            if name.startswith(incomplete) and name.isprintable()
        ]


class Version(click.ParamType[int]):
    """A model version, as people write it: 3, v3, v03."""

    name = "version"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        digits = value.removeprefix("v")
        if not (digits.isascii() and digits.isdigit() and int(digits) <= INT64_MAX):
            self.fail(f"expected a version such as v3, found {value!r}", param, ctx)
        return int(digits)


class Where(click.ParamType[Condition]):
    """A condition on custom metadata."""

    name = "condition"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Condition:
        """Read it."""
        try:
            return Condition.parse(Name().convert(value, param, ctx))
        except InvalidCondition as error:
            self.fail(str(error), param, ctx)


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


PROJECT = click.option(
    "--project",
    envvar="GCP_PROJECT_ID",
    show_envvar=True,
    default="",
    help="The project that holds the table.  [default: GOOGLE_CLOUD_PROJECT, or gcloud's project]",
)
TABLE = click.option(
    "--table",
    envvar="REGISTRY_TABLE",
    default=DEFAULT_TABLE,
    show_default=True,
    show_envvar=True,
    help="<dataset>.<table>; the views are in the same dataset.",
)
BUCKET_PREFIX = click.option(
    "--bucket-prefix",
    envvar="BUCKET_PREFIX",
    default=DEFAULT_BUCKET_PREFIX,
    show_default=True,
    show_envvar=True,
    help="The buckets are <prefix>-<environment>.",
)
SINCE = click.option(
    "--since",
    type=Since(),
    default="1970-01-01",
    help="Only what was uploaded since: 2026-11-01, 2026-11-01T12:00:00Z, 90m, 12h, 7d, 2w.",
)
AT = click.option(
    "--at",
    "as_of",
    type=At(),
    is_eager=True,
    help="What was true then: 2026-11-01 (00:00 UTC), 2026-11-01T12:00:00Z, 7d (a week ago).",
)
WHERE = click.option(
    "--where",
    "conditions",
    type=Where(),
    multiple=True,
    help="Only what has such custom metadata: framework=xgboost, 'accuracy>=0.9'; also != < <= >."
    " Can be given several times: all have to fit, each on some file of the version that is there.",
)
WAIT = click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=60,
    show_default=True,
    help="How many seconds to wait for the registry.",
)


def _only_one(_: click.Context, __: click.Parameter, values: Sequence[str]) -> Environment:
    """Take the environment; Click would take the last of several."""
    if len(values) != 1:
        raise click.BadParameter(f"expected one environment, found {len(values)}")
    return Environment(values[0])


ENVIRONMENT = click.option(
    "-e",
    "--env",
    "--environment",
    "environment",
    type=click.Choice([environment.value for environment in Environment]),
    multiple=True,
    required=True,
    callback=_only_one,
    help="Where the version is.",
)
INCOMPLETE = click.option(
    "--incomplete",
    is_flag=True,
    help="Also a version that lacks files which the environment before has.",
)
FORMAT = click.option(
    "--format",
    type=click.Choice(["table", "json", "csv"]),
    default=lambda: "table" if sys.stdout.isatty() else "json",
    help="CSV is for programs, and has each value as it is: a spreadsheet may run one that begins"
    " with = + - or @ as a formula, so import it there as text.  [default: table on a terminal,"
    " else json]",
)


def settings_of(project: str, table: str) -> Settings:
    """Return the settings that the options say; what they leave out is in the environment."""
    project = project or gcloud.project(os.environ)
    chosen = {"GCP_PROJECT_ID": project, "REGISTRY_TABLE": table, "THREADS": ""}
    return Settings.from_environ({**os.environ, **chosen})


def inventory_of(settings: Settings, client: bigquery.Client | None = None) -> Inventory:
    """Return the inventory; who waits for its answers reads that we go on trying."""
    client = client or connect(settings)
    # The setup makes the default table together with the views.
    check_table = settings.table != DEFAULT_TABLE
    return Inventory(client, settings.table, output.waiting, check_table=check_table)


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
