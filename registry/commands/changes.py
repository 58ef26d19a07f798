"""`changes`: what happened to versions."""

import functools

import click

from registry import terminal
from registry.options import Model
from registry.question import Question, ask
from registry.rows import Change


@click.command()
@click.argument("model", type=Model(), required=False)
@ask
def changes(question: Question, model: str | None) -> None:
    """
    Show what happened to the versions of MODEL, or of all models, the newest first.

    A version arrived in an environment, or was completed (more files), overwritten (other bytes),
    rewritten (the same bytes again) or removed, or it reappeared. A row is a row of the view
    changes. What happened within minutes is one row.

    \b
    Examples:
      model-registry changes --environment prod --since 7d
      model-registry changes fraud-detection --limit 20
      model-registry changes --at 2026-09-01 --since 7d
    """  # noqa: D301
    ask_inventory = functools.partial(question.inventory.changes, model)
    rows = question.of_version_of_path(ask_inventory)
    question.answer(rows, Change, lambda: terminal.changes(rows))
    if model is not None:
        question.expect_model(rows, model)
