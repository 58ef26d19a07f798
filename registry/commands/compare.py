"""`compare`: two versions of a model, or a version in two environments."""

import sys
from collections.abc import Sequence
from datetime import datetime

import click

from registry import output
from registry.comparison import Compared, Side, are_same, compare, sides
from registry.comparison_table import differences
from registry.environment import Environment
from registry.inventory import Filter
from registry.options import (
    AT,
    FORMAT,
    NOT_FOUND,
    PROJECT,
    TABLE,
    Model,
    Version,
    inventory_of,
    only_one,
    settings_of,
    with_version_of_path,
)
from registry.question import Question

DIFFERENT = 1

_ENVIRONMENT = click.Choice([environment.value for environment in Environment])


@click.command("compare")
@click.argument("model", type=Model())
@click.argument("versions", type=Version(), nargs=-1, metavar="VERSION [VERSION]")
@PROJECT
@TABLE
@click.option(
    "-e",
    "--env",
    "--environment",
    "environment",
    type=_ENVIRONMENT,
    multiple=True,
    callback=only_one,
    help="Where both versions are. [default: the first of dev, staging, prod that has both]",
)
@click.option(
    "--between",
    type=_ENVIRONMENT,
    nargs=2,
    metavar="FROM TO",
    help="Compare one version in two environments.",
)
@AT
@FORMAT
def compare_versions(  # noqa: PLR0913 - one for each option
    *,
    model: str,
    versions: Sequence[int],
    project: str,
    table: str,
    environment: str | None,
    between: Sequence[str] | None,
    as_of: datetime | None,
    format: str,  # noqa: A002 - the option's name
) -> None:
    """
    Compare two versions of MODEL, or one version in two environments.

    Shows the files that were added, removed or changed, and the custom metadata of all files of
    a version side by side, with the difference of numbers. JSON and CSV also have what is
    the same. Files that no model is made of, such as .DS_Store, are left out. A file without a size
    or a checksum is `unknown`, and never the same.

    \b
    Exit codes:
      0  the files are the same; the metadata may differ
      1  a file differs or is unknown, or one of the two is not there
      2  the question could not be asked

    \b
    Examples:
      model-registry compare fraud-detection v3 v4
      model-registry compare fraud-detection v3 v4 --environment prod
      model-registry compare fraud-detection v3 --between staging prod
    """  # noqa: D301
    if len(versions) == 1 and not between:  # compare fraud/v3 v4
        versions = [*with_version_of_path([]), *versions]
    else:
        versions = with_version_of_path(versions)
    expected = 1 if between else 2
    if len(versions) != expected:
        raise click.UsageError(
            f"expected {expected} version{'s' if expected > 1 else ''}"
            f" {'with' if between else 'without'} --between, found {len(versions)}"
        )
    if between and environment:
        raise click.UsageError("expected --between or --environment, found both")
    settings = settings_of(project, table)
    places = between or ([environment] if environment else list(Environment))
    wanted = Filter(environments=places, as_of=as_of)
    question = Question(inventory=inventory_of(settings), wanted=wanted, format=format)
    files = question.inventory.compared_files(model, versions[0], versions[-1], wanted)
    question.expect_model(files, model)
    if between:
        first, second = (Side(versions[0], place) for place in between)
    else:
        first, second = sides(files, versions[0], versions[1], places)
    name = output.printable(model)
    for side in (first, second):
        if problem := side.problem(files):
            click.echo(f"Error: expected {name}/{side}, {problem}", err=True)
            sys.exit(NOT_FOUND)
    rows = compare(first.of(files), second.of(files))
    title = f"{name}/{first} → {name}/{second}"
    output.print_rows(format, rows, Compared, lambda: differences(rows, title))
    if not are_same(rows):
        sys.exit(DIFFERENT)
