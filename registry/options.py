"""Options that commands share, and how they read what people type."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from click.shell_completion import CompletionItem
from google.cloud import bigquery

from registry import completion, gcloud, moment, output
from registry.artifact import read_version
from registry.clients import connect
from registry.condition import Condition
from registry.environment import Environment
from registry.errors import InvalidCondition, InvalidMoment, shorten
from registry.inventory import Inventory
from registry.settings import DEFAULT_BUCKET_PREFIX, DEFAULT_TABLE, Settings

NOT_FOUND = 1
_VERSION_OF_PATH = "registry.version_of_path"


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
    """
    A model's name, also as part of a path: `fraud/`, `fraud/v3`, `gs://bucket/fraud/v3/`.

    The version of the path is kept for `with_version_of_path()`.
    """

    name = "model"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it."""
        text = super().convert(value, param, ctx)
        bucket_and_path = text.removeprefix("gs://")
        path = text if bucket_and_path == text else bucket_and_path.partition("/")[2]
        model, version, *_ = [*path.split("/"), ""]
        if not model:
            self.fail(f"expected a model's name, found {value!r}", param, ctx)
        if version:
            kept = click.get_current_context().meta
            kept[_VERSION_OF_PATH] = Version().convert(version, param, ctx)
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
        version = read_version(value)
        if version is None:
            self.fail(f"expected a version such as v3, found {shorten(value)}", param, ctx)
        return version


def with_version_of_path(versions: Sequence[int]) -> Sequence[int]:
    """
    Return the versions that were typed, or the one in the path that MODEL is.

    Raises:
        UsageError: There are both, and they are not the same.
    """
    version = click.get_current_context().meta.get(_VERSION_OF_PATH)
    if version is None or version in versions:
        return versions
    if versions:
        found = " and ".join(f"v{one}" for one in versions)
        raise click.UsageError(
            f"expected v{version}, which is in the path of MODEL, found {found}: type one of them"
        )
    return [version]


def _version(_: click.Context, __: click.Parameter, typed: int | None) -> int | None:
    found = with_version_of_path([] if typed is None else [typed])
    return found[0] if found else None


def _one_version(ctx: click.Context, param: click.Parameter, typed: int | None) -> int:
    found = _version(ctx, param, typed)
    if found is None:
        raise click.MissingParameter(ctx=ctx, param=param)
    return found


VERSION = click.argument(
    "version", type=Version(), required=False, metavar="VERSION", callback=_one_version
)
OPTIONAL_VERSION = click.argument("version", type=Version(), required=False, callback=_version)


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


def only_one(_: click.Context, __: click.Parameter, values: Sequence[str]) -> Environment | None:
    """Return the environment; of an option that is there twice, Click would take the last one."""
    if len(values) > 1:
        raise click.BadParameter(f"expected one environment, found {len(values)}")
    return Environment(values[0]) if values else None


ENVIRONMENT = click.option(
    "-e",
    "--env",
    "--environment",
    "environment",
    type=click.Choice([environment.value for environment in Environment]),
    multiple=True,
    required=True,
    callback=only_one,
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
