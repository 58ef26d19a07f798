"""`show`: the versions of a model."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NoReturn

import click

from registry import terminal
from registry.condition import Condition
from registry.errors import Refused
from registry.options import OPTIONAL_VERSION, WHERE, Model
from registry.question import Question, ask
from registry.resolution import nearest
from registry.rows import Artifact, ModelVersion, ModelVersionFiles


@click.command()
@click.argument("model", type=Model())
@OPTIONAL_VERSION
@click.option("--files", is_flag=True, help="Each file, with its checksum.")
@WHERE
@ask
def show(
    question: Question,
    model: str,
    version: int | None,
    conditions: Sequence[Condition],
    *,
    files: bool,
) -> None:
    """
    Show the versions of MODEL, or one of them, in each environment.

    The highest comes first, and last what was removed.

    A row is a version in an environment, as in the view model_versions. With --files, JSON also has
    its rows of the view artifacts, and a row of the table and of CSV is a file. With --where, only
    versions that fit are there, and none that was removed.

    \b
    Examples:
      model-registry show fraud-detection
      model-registry show fraud-detection v3
      model-registry show fraud-detection --files --environment prod
      model-registry show fraud-detection --where 'accuracy>=0.9'
      model-registry show fraud-detection --at 2026-09-01
    """  # noqa: D301
    inventory, wanted = question.inventory, question.where(conditions)
    every = dataclasses.replace(wanted, limit=None)  # the limit counts rows of that version
    if not files:
        found = inventory.model_versions(model, wanted if version is None else every)
        versions = [row for row in found if version in {None, row.model_version}][: wanted.limit]
        question.answer(versions, ModelVersion, lambda: terminal.versions(versions))
        if not versions:
            _say_which(question, model, version, found)
        return
    if version is None:
        contents = inventory.model_version_files(model, wanted)
    else:
        asked = inventory.model_version_files(model, wanted, newest=version, versions=1)
        contents = [row for row in asked if row.model_version == version]
    artifacts = [artifact for row in contents for artifact in row.artifacts]
    artifacts = artifacts[: wanted.limit]
    table = functools.partial(terminal.files, artifacts)
    if question.format == "json":
        question.answer(contents, ModelVersionFiles, table)
    else:
        question.answer(artifacts, Artifact, table)
    if not contents:
        _say_which(question, model, version, inventory.model_versions(model, every))


def _say_which(
    question: Question, model: str, version: int | None, others: Sequence[ModelVersion]
) -> NoReturn:
    """Exit 1, and name the versions that are there, or the model that may be meant."""
    question.expect_model(others, model)
    found = nearest((row.model_version for row in others), version or 0)
    raise Refused(f"expected {model} v{version}, found {found}")
