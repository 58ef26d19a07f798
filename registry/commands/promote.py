"""`promote`: a model version gets into the next environment."""

import functools
import sys

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

_BEFORE = {Environment.STAGING: Environment.DEV, Environment.PROD: Environment.STAGING}
_ORDER = list(Environment)


@click.command()
@click.argument("model", type=Model())
@VERSION
@click.option(
    "--to",
    "target",
    type=click.Choice([environment.value for environment in _BEFORE]),
    required=True,
    multiple=True,
    callback=only_one,
    help="Where it is copied to.",
)
@click.option(
    "--from",
    "source",
    type=click.Choice([environment.value for environment in Environment]),
    multiple=True,
    callback=only_one,
    help="Where it is copied from.  [default: the environment before]",
)
@click.option("--anyway", is_flag=True, help="Also if the source differs from the one before it.")
@click.option("--dry-run", is_flag=True, help="Only print the plan, as commands; copy nothing.")
@WAIT
@PROJECT
@TABLE
def promote(  # noqa: PLR0913 - one for each option
    *,
    model: str,
    version: int,
    target: str,
    source: str | None,
    anyway: bool,
    dry_run: bool,
    wait: float,
    project: str,
    table: str,
) -> None:
    """
    Copy VERSION of MODEL into the next environment, and wait until the registry says it is there.

    Cloud Storage copies the files itself, with their names and metadata; the metadata of a copy
    also say promoted_from, and promoted_by where the account is known. Nothing is ever overwritten.
    You can interrupt it: the version is incomplete until you run it again.

    \b
    Exit codes:
      0  the registry says identical; with --dry-run: it can be promoted
      1  it cannot be promoted as it is, or the registry has not seen all yet
      2  it could not be done: options, credentials, permissions, network

    \b
    Examples:
      model-registry promote fraud-detection v3 --to staging --dry-run
      model-registry promote fraud-detection v3 --to staging
      model-registry promote fraud-detection v3 --to prod
    """  # noqa: D301
    from registry import promotion, version_files  # noqa: PLC0415 - Cloud Storage's client imports slowly
    from registry.bucket import Bucket  # noqa: PLC0415

    goal = Environment(target)
    start = Environment(source) if source else _BEFORE[goal]
    if _ORDER.index(start) >= _ORDER.index(goal):
        raise click.UsageError(
            f"expected --from an environment before {goal}, found {start}: the order is"
            f" {', '.join(_ORDER)}"
        )
    settings = settings_of(project, table)
    inventory = inventory_of(settings)
    bucket = functools.cache(functools.partial(Bucket.connect, settings))
    planned = promotion.prepare(
        inventory, bucket, model=model, version=version, source=start, target=goal, anyway=anyway
    )
    name = output.printable(f"{model} v{version}")
    done = len(planned.files) - len(planned.copies)
    click.echo(
        f"{name}, {start} to {goal}: {len(planned.copies):,} of {len(planned.files):,} files to"
        f" copy, {sum(one.size for one in planned.copies):,} bytes; {done:,} are there already",
        err=True,
    )
    if len(places := version_files.places(planned.files)) > 1:
        click.echo(
            f"{name} is in {len(places)} folders: {output.printable(', '.join(places))}. Each file"
            " keeps its name.",
            err=True,
        )
    if dry_run:
        for stored in planned.copies:
            added = planned.metadata(stored, bucket(planned.targets[stored.bucket]).account)
            to = f"gs://{planned.targets[stored.bucket]}/{stored.name}"
            click.echo(
                gcloud.storage(
                    *("cp", "--if-generation-match=0"),
                    f"--update-custom-metadata={_dictionary(added)}",
                    version_files.address(stored),
                    to,
                    name=stored.name,
                )
            )
        return
    console = Console(stderr=True)
    with output.counting("files copied", len(planned.copies), console) as on_object:
        promotion.promote(planned, bucket, on_object)
    click.echo("All checksums are the same. Waiting for the registry.", err=True)
    promotion.wait_until_identical(planned, inventory, wait)
    click.echo(f"{name} in {goal} is identical to {start}.")
    sys.stdout.flush()


def _dictionary(pairs: dict[str, str]) -> str:
    """Write pairs as gcloud reads them: a comma in a value needs another delimiter."""
    written = [f"{key}={value}" for key, value in pairs.items()]
    text = "".join(written)
    longer = (":" * length for length in range(3, len(text) + 1))
    delimiter = next(one for one in (",", *longer) if one not in text)
    return ",".join(written) if delimiter == "," else f"^{delimiter}^{delimiter.join(written)}"
