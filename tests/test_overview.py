"""What the overview says of a model, without BigQuery."""

import pytest

from registry.overview import Model
from registry.rows import LatestModel
from tests.page_states import app_of, make
from tests.test_page import text_of


@pytest.mark.parametrize(
    ("comparison", "differing", "expected"),
    [
        ("identical", [], False),
        ("identical", [3], True),  # an older version
        ("different", [5], True),
        ("skipped", [5], True),
        ("incomplete", [], True),
        ("unknown", [], True),  # it may be anything
    ],
)
def test_what_is_marked_in_prod_needs_attention(
    comparison: str, differing: list[int], *, expected: bool
) -> None:
    prod = make(
        LatestModel, environment="prod", prod_vs_staging=comparison, differing_versions=differing
    )

    [model] = Model.of([prod])
    assert model.needs_attention == expected


@pytest.mark.parametrize(
    ("comparison", "differing", "expected"),
    [
        ("identical", [], "v5 5.0 MB 2026-02-26 12:00 by ada 3 days ago"),
        ("skipped", [5], "by ada never was in staging 3 days ago"),
        ("skipped", [5, 3], "by ada not as in staging: v5 , v3 3 days ago"),
        ("different", [5], "by ada differs from staging 3 days ago"),
        ("incomplete", [3], "by ada incomplete copy of staging not as in staging: v3 3 days ago"),
        ("unknown", range(9), "not as in staging: v0 , v1 , v2 , v3 , v4 and 4 more 3 days ago"),
    ],
)
def test_each_version_is_marked_once(comparison: str, differing: list[int], expected: str) -> None:
    prod = make(
        LatestModel,
        model_version=5,
        environment="prod",
        prod_vs_staging=comparison,
        differing_versions=[*differing],
    )

    assert expected in text_of(app_of([prod]).test_client().get("/"))
