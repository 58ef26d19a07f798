"""`history`: every generation of an artifact."""

import re

import click

from registry import terminal
from registry.options import Name
from registry.question import Question, ask
from registry.rows import Generation


@click.command()
@click.argument("url", type=Name(), metavar="gs://BUCKET/PATH")
@ask
def history(question: Question, url: str) -> None:
    """
    Show every generation of an artifact, the newest first.

    Also since when each is no longer there: removed, or overwritten. A row is a row of the view
    registrations.

    \b
    Example:
      model-registry history gs://ml-models-prod/fraud-detection/v3/model.pkl
    """  # noqa: D301
    bucket, slash, name = url.removeprefix("gs://").partition("/")
    if not url.startswith("gs://") or not bucket or not slash:
        raise click.BadParameter(f"expected gs://<bucket>/<path>, found {url!r}")
    rows = question.inventory.generations(bucket, name, question.wanted)
    without = re.sub(r"#\d+$", "", name)
    if not rows and without != name:  # gcloud adds a generation to a name like this
        rows = question.inventory.generations(bucket, without, question.wanted)
    question.answer(rows, Generation, lambda: terminal.generations(rows))
    question.expect(rows, url)
