"""`promotions`: when versions reached each environment."""

import functools

import click

from registry import terminal
from registry.options import Model
from registry.question import Question, ask
from registry.rows import Promotion


@click.command()
@click.argument("model", type=Model(), required=False)
@ask
def promotions(question: Question, model: str | None) -> None:
    """
    Show when each version of MODEL, or of all models, reached each environment.

    Also when it was last uploaded there, when it was removed, and whether it is the same as in the
    environment before: identical, incomplete (some files are missing), different, unknown (a
    checksum is missing), or skipped (it never was there). --environment and --since select what was
    last uploaded to one of these environments since then. A row is a row of the view promotions.

    \b
    Examples:
      model-registry promotions fraud-detection
      model-registry promotions --environment prod --since 7d
    """  # noqa: D301
    ask_inventory = functools.partial(question.inventory.promotions, model)
    rows = question.of_version_of_path(ask_inventory)
    question.answer(rows, Promotion, lambda: terminal.promotions(rows))
    if model is not None:
        question.expect_model(rows, model)
