"""`withdraw`: a model version is taken out of an environment, or brought back."""

import functools
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from registry import gcloud, output
from registry.environment import Environment
from registry.options import (
    PROJECT,
    TABLE,
    VERSION,
    WAIT,
    Model,
    inventory_of,
    only_one,
    settings_of,
)

if TYPE_CHECKING:
    from registry.withdrawal import Kept


@click.command()
@click.argument("model", type=Model())
@VERSION
@click.option(
    "--from",
    "environment",
    type=click.Choice([environment.value for environment in Environment]),
    required=True,
    multiple=True,
    callback=only_one,
    help="Where it is removed.",
)
@click.option("--undo", is_flag=True, help="Bring back what the last withdrawal removed.")
@click.option(
    "--for-good", is_flag=True, help="Also if the bucket has neither versioning nor soft delete."
)
@click.option("--dry-run", is_flag=True, help="Only print the plan, as commands; remove nothing.")
@WAIT
@PROJECT
@TABLE
def withdraw(  # noqa: PLR0913 - one for each option
    *,
    model: str,
    version: int,
    environment: str,
    undo: bool,
    for_good: bool,
    dry_run: bool,
    wait: float,
    project: str,
    table: str,
) -> None:
    """
    Take VERSION of MODEL out of an environment: the version before is the latest again.

    The live objects are deleted, unless they were overwritten meanwhile. A bucket with versioning
    or soft delete keeps them, and --undo brings them back for as long as it does.

    \b
    Exit codes:
      0  the registry says that it is gone, or with --undo that it is there again
      1  it cannot be done as things are, or the registry has not seen all yet
      2  it could not be done: options, credentials, permissions, network

    \b
    Examples:
      model-registry withdraw fraud-detection v3 --from prod --dry-run
      model-registry withdraw fraud-detection v3 --from prod
      model-registry withdraw fraud-detection v3 --from prod --undo
    """  # noqa: D301
    from registry import version_files, withdrawal  # noqa: PLC0415 - Cloud Storage's client imports slowly
    from registry.bucket import Bucket  # noqa: PLC0415

    settings = settings_of(project, table)
    inventory = inventory_of(settings)
    bucket = functools.cache(functools.partial(Bucket.connect, settings))
    found = version_files.find(inventory, model, version, Environment(environment))
    name = output.printable(f"{model} v{version}")
    console = Console(stderr=True)
    if undo:
        back = withdrawal.kept(found, bucket, inventory)
        if dry_run:
            for one in back:
                click.echo(_undo_command(one))
            return
        with output.counting("files brought back", len(back), console) as on_object:
            version_files.each(lambda one: withdrawal.bring_back(one, bucket), back, on_object)
        names = {(one.bucket, one.name) for one in back}
    else:
        listed = withdrawal.live(found, bucket, for_good=for_good)
        if dry_run:
            for stored in listed:
                click.echo(
                    gcloud.storage(
                        "rm",
                        f"--if-generation-match={stored.generation}",
                        f"gs://{stored.bucket}/{stored.name}",
                        name=stored.name,
                    )
                )
            return
        with output.counting("files removed", len(listed), console) as on_object:
            version_files.each(lambda one: bucket(one.bucket).remove(one), listed, on_object)
        names = {(one.bucket, one.name) for one in listed} | withdrawal.registered(found)
    click.echo("Done. Waiting for the registry.", err=True)
    withdrawal.wait_until_seen(found, names, inventory, wait, there=undo)
    done = "is there again" if undo else "is gone"
    click.echo(f"{name} in {environment} {done}: {len(names):,} files.")
    sys.stdout.flush()


def _undo_command(one: "Kept") -> str:
    address = f"gs://{one.bucket}/{one.name}"
    kept = f"{address}#{one.generation}"
    if one.noncurrent is None:
        return gcloud.storage("restore", kept, name=one.name)
    return gcloud.storage("cp", "--if-generation-match=0", kept, address, name=one.name)
