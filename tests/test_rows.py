"""What a row says in words."""

import pytest

from registry.rows import LatestModel
from tests.page_states import make


@pytest.mark.parametrize(
    ("environment", "differing", "expected"),
    [
        ("prod", [], ""),
        ("prod", [9], ""),  # the latest has its own comparison
        ("prod", [9, 7], "not as in staging: v7"),
        ("staging", [5, 4, 3, 2, 1], "not as in dev: v5, v4, v3, v2, v1"),
        ("prod", [8, 7, 6, 5, 4, 3, 2], "not as in staging: v8, v7, v6, v5, v4 and 2 more"),
    ],
)
def test_the_other_versions_that_differ_are_named(
    environment: str, differing: list[int], expected: str
) -> None:
    latest = make(
        LatestModel, model_version=9, environment=environment, differing_versions=differing
    )

    assert latest.others_differing == expected
