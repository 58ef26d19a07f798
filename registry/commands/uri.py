"""`uri`: where a version is, for scripts."""

import sys
from datetime import datetime

import click

from registry import output
from registry.environment import Environment
from registry.errors import Refused
from registry.inventory import Filter, Inventory
from registry.options import (
    AT,
    ENVIRONMENT,
    INCOMPLETE,
    OPTIONAL_VERSION,
    PROJECT,
    TABLE,
    Model,
    inventory_of,
    settings_of,
)
from registry.question import Question
from registry.resolution import resolve
from registry.rows import Artifact, ModelVersionFolders


def find(  # noqa: PLR0913 - what it works with, and what is asked
    inventory: Inventory,
    model: str,
    version: int | None,
    environment: Environment,
    *,
    incomplete: bool,
    as_of: datetime | None = None,
) -> ModelVersionFolders:
    """
    Ask which version is meant. Exits 1 if there is no such model.

    Raises:
        Refused: It is not there, or not complete.
        QueryFailed: BigQuery does not answer.
    """
    rows = inventory.model_version_folders(model, as_of)
    question = Question(inventory=inventory, wanted=Filter(as_of=as_of), format="table")
    question.expect_model(rows, model)
    return resolve(rows, model, version, environment, incomplete=incomplete)


def files_of(
    inventory: Inventory, found: ModelVersionFolders, as_of: datetime | None = None
) -> list[Artifact]:
    """
    Ask for the files of a version that are there, by path.

    Raises:
        Refused: Files came or went since it was found: it may not be complete any more.
        QueryFailed: BigQuery does not answer.
    """
    wanted = Filter(environments=[found.environment], as_of=as_of)
    number = found.model_version
    versions = inventory.model_version_files(found.model_name, wanted, newest=number, versions=1)
    files = [
        artifact
        for version in versions
        if version.model_version == number
        for artifact in version.artifacts
        if artifact.removed_at is None
    ]
    if len(files) != found.files:
        raise Refused(
            f"expected {found.files} files of {found.model_name} v{number} in {found.environment},"
            f" found {len(files)} a moment later: run it again"
        )
    return files


@click.command("uri")
@click.argument("model", type=Model())
@OPTIONAL_VERSION
@ENVIRONMENT
@click.option("--files", is_flag=True, help="A line for each file instead of the folder.")
@INCOMPLETE
@AT
@PROJECT
@TABLE
def uri(  # noqa: PLR0913 - one for each option
    *,
    model: str,
    version: int | None,
    environment: Environment,
    files: bool,
    incomplete: bool,
    as_of: datetime | None,
    project: str,
    table: str,
) -> None:
    """
    Print the folder of VERSION of MODEL in an environment, and nothing else.

    Without VERSION it is the highest version that is there. A version that lacks files which the
    environment before has is refused.

    \b
    Exit codes:
      0  the address was printed
      1  it is not there, not complete, or in several folders; nothing was printed
      2  the question could not be asked

    \b
    Examples:
      model-registry uri fraud-detection --environment prod
      model-registry uri fraud-detection v3 --environment prod --files
      model-registry uri fraud-detection --environment prod --at 2026-09-01
    """  # noqa: D301
    settings = settings_of(project, table)
    inventory = inventory_of(settings)
    found = find(inventory, model, version, environment, incomplete=incomplete, as_of=as_of)
    if files:
        paths = files_of(inventory, found, as_of)
        lines = [f"gs://{one.gcs_bucket}/{one.gcs_path}" for one in paths]
    elif len(found.folders) == 1:
        lines = [found.uri]
    else:
        raise Refused(
            f"expected {model} v{found.model_version} in one folder, found it in"
            f" {' and '.join(sorted(found.folders))}: add --files, which prints each file"
        )
    for line in lines:  # no name has a line break: Cloud Storage forbids it
        # click.echo() would leave out what looks like a colour.
        sys.stdout.write(f"{output.printable(line) if sys.stdout.isatty() else line}\n")
    sys.stdout.flush()
