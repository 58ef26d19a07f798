"""`compare`: two versions of a model, or a version in two environments."""

import sys
from collections.abc import Sequence
from datetime import datetime

import click

from registry import output
from registry.comparison import Compared, are_same, compare
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
    settings_of,
    with_version_of_path,
)
from registry.question import Question
from registry.rows import ComparedFile

DIFFERENT = 1

type _Side = tuple[int, str]

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
        first, second = (versions[0], between[0]), (versions[0], between[1])
    else:
        where = _both_are_in(files, versions, places)
        first, second = (versions[0], where), (versions[1], where)
    for side in (first, second):
        _expect(model, side, files)
    rows = compare(_of(files, first), _of(files, second))
    title = f"{_name(model, first)} → {_name(model, second)}"
    output.print_rows(format, rows, Compared, lambda: differences(rows, title))
    if not are_same(rows):
        sys.exit(DIFFERENT)


def _of(files: Sequence[ComparedFile], side: _Side) -> list[ComparedFile]:
    return [file for file in files if (file.model_version, file.environment) == side]


def _both_are_in(
    files: Sequence[ComparedFile], versions: Sequence[int], places: Sequence[str]
) -> str:
    """Return the first environment that has both versions; without one, the first."""
    there = {(file.model_version, file.environment) for file in files}
    both = [place for place in places if all((version, place) in there for version in versions)]
    return [*both, *places][0]


def _name(model: str, side: _Side) -> str:
    return f"{output.printable(model)}/v{side[0]} in {side[1]}"


def _expect(model: str, side: _Side, files: Sequence[ComparedFile]) -> None:
    """Exit 1 if a version is not where it should be."""
    if _of(files, side):
        return
    places = sorted({file.environment for file in files if file.model_version == side[0]})
    found = f"it in {', '.join(places)}" if places else "no files of it"
    click.echo(f"Error: expected {_name(model, side)}, found {found}", err=True)
    sys.exit(NOT_FOUND)
