"""`models`: the latest version of each model."""

import dataclasses
from collections.abc import Sequence

import click

from registry import terminal
from registry.condition import Condition
from registry.environment import Environment
from registry.options import WHERE
from registry.question import Question, ask
from registry.rows import LatestModel


@click.command()
@WHERE
@ask
def models(question: Question, conditions: Sequence[Condition]) -> None:
    """
    Show the latest version of each model in each environment.

    For each: its size, when it was uploaded and by whom, whether it is the same as in the
    environment before, how many versions in dev are higher, and which other versions there differ
    from the environment before, or never were in it. In JSON and CSV a row is a model in
    an environment, as in the view latest_models; in the table a row is a model. With --where,
    an environment's latest version is there if it fits; no older one stands in for it.

    \b
    Examples:
      model-registry models
      model-registry models --environment prod --since 30d
      model-registry models --where framework=xgboost --where 'accuracy>=0.9'
      model-registry models | jq '.[] | select(.prod_vs_staging == "different")'
    """  # noqa: D301
    wanted = asked = question.where(conditions)
    if question.format == "table" and wanted.limit:
        asked = dataclasses.replace(wanted, limit=wanted.limit * len(Environment))
    rows = question.inventory.latest_models(asked)
    question.answer(
        rows, LatestModel, lambda: terminal.matrix(rows, wanted.environments, wanted.limit)
    )
