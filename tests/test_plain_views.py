"""The views in deploy/bigquery/ against the same in plain Python, on both engines."""

import random
from collections.abc import Mapping, Sequence

import pytest
from google.cloud import bigquery

from tests.histories import Values, Views, at
from tests.plain_views import expected_of, random_history

MODELS = 40
# Now, and some time before, with everything that was recorded later.
TIMES = [None, at(151.5), at(70)]


@pytest.fixture(scope="module")
def client(either_client: bigquery.Client) -> bigquery.Client:
    """Each test runs on both engines."""
    return either_client


def test_the_views_say_what_a_plain_program_says(client: bigquery.Client, dataset: str) -> None:
    chance = random.Random(20260301)  # noqa: S311
    histories = {f"model-{number}": random_history(chance) for number in range(MODELS)}
    views = Views(client, dataset, histories)

    for time in TIMES:
        for model, rows in histories.items():
            for view, expected in expected_of(rows, time or at(1e6)).items():
                found = [
                    {name: row[name] for name in (expected or [row])[0]}
                    for row in views(view, model, time)
                ]
                assert _sorted(found, model) == _sorted(expected, model), (model, view, time)


def _sorted(rows: Sequence[Mapping[str, object]], model: str) -> list[Values]:
    """Put rows in an order of their own, with paths as the history has them."""
    plain = [
        {k: v.removeprefix(f"{model}/") if isinstance(v, str) else v for k, v in row.items()}
        for row in rows
    ]
    return sorted(plain, key=lambda row: str(sorted(row.items())))
