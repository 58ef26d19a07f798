"""`show`: the versions of a model."""

import functools
from collections.abc import Sequence

import click

from registry import terminal
from registry.condition import Condition
from registry.options import WHERE, Model, Question, ask
from registry.rows import Artifact, ModelVersion, ModelVersionFiles


@click.command()
@click.argument("model", type=Model())
@click.option("--files", is_flag=True, help="Each file, with its checksum.")
@WHERE
@ask
def show(question: Question, model: str, conditions: Sequence[Condition], *, files: bool) -> None:
    """
    Show the versions of MODEL, in each environment, the highest first, and last what was removed.

    A row is a version in an environment, as in the view model_versions. With --files, JSON also has
    its rows of the view artifacts, and a row of the table and of CSV is a file. With --where, only
    versions that fit are there, and none that was removed.

    \b
    Examples:
      model-registry show fraud-detection
      model-registry show fraud-detection --files --environment prod
      model-registry show fraud-detection --where 'accuracy>=0.9'
      model-registry show fraud-detection --at 2026-09-01
    """  # noqa: D301
    inventory, wanted = question.inventory, question.where(conditions)
    if not files:
        versions = inventory.model_versions(model, wanted)
        question.answer(versions, ModelVersion, lambda: terminal.versions(versions))
        question.expect_model(versions, model)
        return
    contents = inventory.model_version_files(model, wanted)
    artifacts = [artifact for version in contents for artifact in version.artifacts]
    artifacts = artifacts[: wanted.limit]
    table = functools.partial(terminal.files, artifacts)
    if question.format == "json":
        question.answer(contents, ModelVersionFiles, table)
    else:
        question.answer(artifacts, Artifact, table)
    question.expect_model(contents, model)
