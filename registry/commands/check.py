"""`check`: whether an upload is registered."""

import functools
import itertools
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
from rich.text import Text

from registry import output
from registry.artifact import ArtifactPath
from registry.check import CheckRow, Status, check, check_folder
from registry.environment import Environment
from registry.errors import InvalidArtifactPath, ListingFailed, NoCredentials, Refused
from registry.event import StorageObject
from registry.inventory import Filter, Inventory
from registry.options import (
    BUCKET_PREFIX,
    FORMAT,
    NOT_FOUND,
    PROJECT,
    TABLE,
    Name,
    inventory_of,
    only_one,
    settings_of,
)
from registry.rows import Generation
from registry.settings import Settings

UNASKED = 2
_STYLES = {Status.REGISTERED: "green", Status.ON_ITS_WAY: "yellow", Status.GROWING: "yellow"}


@click.command("check")
@click.argument("url", type=Name(), metavar="gs://BUCKET/PATH")
@click.option(
    "-e",
    "--env",
    "--environment",
    "environment",
    type=click.Choice([environment.value for environment in Environment]),
    multiple=True,
    default=[Environment.DEV.value],
    callback=only_one,
    show_default=True,
    help="Where a name without gs:// is.",
)
@BUCKET_PREFIX
@PROJECT
@TABLE
@FORMAT
def check_upload(  # noqa: PLR0913 - one for each option
    *,
    url: str,
    environment: str,
    bucket_prefix: str,
    project: str,
    table: str,
    format: str,  # noqa: A002 - the option's name
) -> None:
    """
    Say whether an upload is registered, and if not, why not and what to do.

    Asks the registry and the bucket. A name without gs:// is one in the bucket of --environment.
    Of a version's folder each file is checked.

    \b
    Exit codes:
      0  registered, as it is in the bucket now
      1  not registered, or not as it is now
      2  the registry or the bucket could not be asked

    \b
    Examples:
      model-registry check gs://ml-models-dev/fraud-detection/v3/model.pkl
      model-registry check fraud-detection/v3/ --environment prod
    """  # noqa: D301
    bucket, name = _parsed(url, f"{bucket_prefix}-{environment}")
    if name.count("/") == 1 and _version_of(f"{name}/"):  # no file has such a name
        name += "/"
    settings = settings_of(project, table)
    inventory = inventory_of(settings)
    now = datetime.now(UTC)
    if name.endswith("/") and (folder := _version_of(name)):
        known = _known_in(inventory, bucket, name, folder)
        listed = _listed(settings, bucket, [name], None)
        rows = check_folder(bucket, listed, known, now)
    else:
        without_generation = re.sub(r"#[0-9]+\Z", "", name)  # gcloud adds one to a name like this
        names = dict.fromkeys([name, without_generation])
        registered = {one: _known(inventory, bucket, one) for one in names}
        listed = _listed(settings, bucket, names, 1)
        live = {one.name: one for one in listed or ()}
        name = next((one for one in names if registered[one] or one in live), without_generation)
        rows = [
            check(bucket, name, live.get(name), registered[name], now, asked=listed is not None)
        ]
    whole = [row for row in rows if row.status == Status.REGISTERED]
    with output.writing(
        format, CheckRow, functools.partial(_draw, output.Screen(highlight=False))
    ) as write:
        for row in rows:
            if format != "table" or len(rows) == 1 or row.status != Status.REGISTERED:
                write(row)
    if not rows:
        raise Refused(f"expected files in gs://{bucket}/{name}, found none")
    if len(rows) > 1:
        click.echo(f"{len(whole):,} of {len(rows):,} files are registered", err=True)
    if len(whole) < len(rows):
        sys.exit(NOT_FOUND)
    if listed is None:
        sys.exit(UNASKED)


def _parsed(url: str, default_bucket: str) -> tuple[str, str]:
    """Return the bucket and the name."""
    if not url.startswith("gs://"):
        return default_bucket, url
    bucket, _, name = url.removeprefix("gs://").partition("/")
    if not bucket or not name:
        raise click.BadParameter(f"expected gs://<bucket>/<path>, found {url!r}")
    return bucket, name


def _version_of(name: str) -> ArtifactPath | None:
    """Return of which version it is a folder; None if it is none."""
    try:
        return ArtifactPath.parse(f"{name}file")
    except InvalidArtifactPath:
        return None


def _known(inventory: Inventory, bucket: str, name: str) -> Sequence[Generation]:
    try:
        return inventory.generations(bucket, name)
    except InvalidArtifactPath:
        return []


def _known_in(
    inventory: Inventory, bucket: str, name: str, folder: ArtifactPath
) -> Sequence[Generation]:
    versions = inventory.model_version_files(
        folder.model_name, Filter(), newest=folder.model_version, versions=1
    )
    return [
        artifact
        for version in versions
        for artifact in version.artifacts
        if artifact.gcs_bucket == bucket and artifact.gcs_path.startswith(name)
    ]


def _listed(
    settings: Settings, bucket: str, prefixes: Iterable[str], limit: int | None
) -> Sequence[StorageObject] | None:
    """Return the first objects that begin like each of these; None if they cannot be listed."""
    from registry.bucket import Bucket  # noqa: PLC0415 - it imports slowly, and only this needs it

    try:
        objects = Bucket.connect(settings, bucket).objects
        with output.waiting("Cloud Storage"):
            return [one for prefix in prefixes for one in itertools.islice(objects(prefix), limit)]
    except (ListingFailed, NoCredentials) as error:
        message = " ".join(str(error).split())
        click.echo(f"The bucket could not be asked: {output.printable(message)}", err=True)
        return None


def _draw(screen: output.Screen, row: CheckRow) -> None:
    """Print a row on a screen, as one line."""
    status = Text(f"{row.status:<18}", _STYLES.get(Status(row.status), "bold red"))
    name = Text(output.printable(f"gs://{row.gcs_bucket}/{row.gcs_path}: {row.reason}"))
    output.print_line(screen, status, name)
