"""`reconcile`: the registry catches up with buckets."""

import functools
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.console import Console

from registry import output, reconciliation
from registry.clients import connect
from registry.environment import Environment
from registry.finding import FindingRow, Summary
from registry.options import (
    BUCKET_PREFIX,
    FORMAT,
    NOT_FOUND,
    PROJECT,
    SINCE,
    TABLE,
    Name,
    inventory_of,
    settings_of,
)
from registry.table import RegistryTable


@click.command()
@click.argument(
    "environments",
    metavar="ENVIRONMENT...",
    nargs=-1,
    required=True,
    type=click.Choice([environment.value for environment in Environment]),
)
@click.option("--dry-run", is_flag=True, help="Only print what differs; write nothing.")
@click.option("--prefix", type=Name(), default="", help="Only names that begin like this: MODEL/.")
@click.option(
    "--all-generations", is_flag=True, help="Also what was overwritten, if the bucket keeps it."
)
@BUCKET_PREFIX
@PROJECT
@TABLE
@SINCE
@FORMAT
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
      model-registry reconcile dev --dry-run
      model-registry reconcile dev staging prod
      model-registry reconcile prod --prefix fraud-detection/ --all-generations
    """  # noqa: D301
    from registry.bucket import Bucket  # noqa: PLC0415 - it imports slowly, and only this needs it

    settings = settings_of(project, table)
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
                    inventory_of(settings, client),
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
