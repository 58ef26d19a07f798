"""`get`: the files of a version, in a folder on this machine."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import humanize
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from registry import output
from registry.commands.uri import files_of, find
from registry.environment import Environment
from registry.options import (
    ENVIRONMENT,
    INCOMPLETE,
    PROJECT,
    TABLE,
    Model,
    Version,
    inventory_of,
    settings_of,
    with_version_of_path,
)
from registry.placement import place


@click.command("get")
@click.argument("model", type=Model())
@click.argument("versions", type=Version(), nargs=-1, metavar="[VERSION]")
@click.argument("folder", type=click.Path(), metavar="DIR")
@ENVIRONMENT
@INCOMPLETE
@PROJECT
@TABLE
def get(  # noqa: PLR0913 - one for each option
    *,
    model: str,
    versions: Sequence[int],
    folder: str,
    environment: Environment,
    incomplete: bool,
    project: str,
    table: str,
) -> None:
    """
    Download VERSION of MODEL into the folder DIR, which must be empty or not be there.

    Without VERSION it is the highest version that is there. The files get a folder next to DIR,
    which gets its name when every checksum is right: DIR is never half a model. Run it again after
    anything went wrong: it continues. If DIR already holds exactly this version, nothing is done.

    \b
    Exit codes:
      0  DIR holds the version
      1  it is not there or not complete, or DIR holds other files
      2  it could not be downloaded: permissions, network, disk

    \b
    Examples:
      model-registry get fraud-detection --environment prod models/fraud
      model-registry get fraud-detection v3 --environment prod models/fraud-v3
    """  # noqa: D301
    versions = with_version_of_path(versions)
    from registry.download import Source, download  # noqa: PLC0415 - it imports slowly, and only this needs it

    if len(versions) > 1:
        raise click.UsageError(f"expected one version, found {len(versions)}")
    if not versions and re.fullmatch(r"v?[0-9]+", folder):
        raise click.UsageError(
            f"expected a folder after the version, found none: ./{folder} is one"
        )
    settings = settings_of(project, table)
    inventory = inventory_of(settings)
    version = next(iter(versions), None)
    found = find(inventory, model, version, environment, incomplete=incomplete)
    files = place(files_of(inventory, found))
    size = sum(one.size for one in files)
    with _progress(size) as on_bytes:
        done = download(
            files,
            Path(folder),
            functools.cache(functools.partial(Source.connect, settings)),
            on_bytes=on_bytes,
            on_wait=lambda: click.echo("Another run downloads it. Waiting for that one.", err=True),
        )
    what = f"{model} v{found.model_version} in {environment}"
    verb = "is now" if done else "already was"
    click.echo(
        output.printable(
            f"{what} {verb} in {folder}: {len(files):,} files, {humanize.naturalsize(size)}"
        )
    )


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show how many bytes are there; only on a terminal."""
    console = Console(stderr=True)
    if not console.is_interactive:
        yield lambda _: None
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield functools.partial(bar.advance, task)
