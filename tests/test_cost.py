"""What the registry costs is reckoned right, and deploy/README.md has the result."""

import re
import sys

import pytest

from tests import ROOT
from tests.benchmarks import cost

SQL = ROOT / "deploy/bigquery"


def test_the_readme_has_what_the_script_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cost"])

    cost.main()

    assert capsys.readouterr().out in (ROOT / "deploy/README.md").read_text()


def test_a_million_uploads_cost_what_they_do_by_hand() -> None:
    found = cost.uploads(cost.steady())

    assert found.cpu == pytest.approx(2.40)  # 100,000 s, each upload rounded up to 0.1 s
    assert found.memory == pytest.approx(0.0625)  # a quarter of a GiB for as long
    assert found.requests == pytest.approx(0.40)
    assert found.bigquery == pytest.approx(0.0488 + 0.0057, abs=0.0002)  # 977 MB, and 290 MB kept
    assert found.events == pytest.approx(0.0946, abs=0.0001)  # 2 x 1.3 GB of 1,100 GB for 40 USD
    assert found.logs == pytest.approx(1.164, abs=0.001)  # 2.33 GiB


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (cost.hourly(), 1_100_000),  # 0.51 s to start and half a one to stop, every time
        (cost.bursts(), 100 * 5 * (6.1 + 0.5)),  # 2,000 uploads an instance at 360/s, and a start
    ],
)
def test_starts_stops_and_bursts_are_billed(seconds: float, expected: float) -> None:
    assert seconds == pytest.approx(expected)


def test_a_night_of_a_million_objects_costs_what_it_does_by_hand() -> None:
    found = cost.reconciliation(1_000_000)

    assert found.cpu == pytest.approx(30 * (0.51 + 1 + 73 + 1000 * 0.2 + 0.59) * 0.000024)
    assert found.other == pytest.approx(30 * 1000 * 0.000005 + 0.10)


def test_a_small_table_counts_as_ten_megabytes() -> None:
    assert 1000 * cost.query("`promotions`", 10_000) == pytest.approx(0.1192, abs=0.0001)


@pytest.mark.parametrize(
    ("amount", "expected"), [(0, "0"), (0.0004, "<0.001"), (0.0625, "0.062"), (12, "12.00")]
)
def test_amounts_have_the_digits_that_matter(amount: float, expected: str) -> None:
    assert cost.usd(amount) == expected


@pytest.mark.parametrize(
    ("file", "columns"), [("2-models", cost.MODELS), ("3-removals", cost.REMOVALS)]
)
def test_the_columns_are_those_of_the_tables(file: str, columns: dict[str, int]) -> None:
    [definition] = re.findall(
        r"CREATE TABLE .*?\n\)\n", (SQL / f"{file}.sql").read_text(), re.DOTALL
    )

    assert re.findall(r"^  (\w+) [A-Z]", definition, re.MULTILINE) == list(columns)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("5-changes", "`changes`"),
        ("6-model_versions", "`model_versions`"),
        ("7-promotions", "`promotions`"),
        ("8-latest_models", "`latest_models`, the page"),
    ],
)
def test_a_view_does_not_name_what_it_is_said_not_to_read(file: str, name: str) -> None:
    words = re.findall(r"\w+", re.sub(r"--.*", "", (SQL / f"{file}.sql").read_text()))

    assert not (set(cost.MODELS) - cost.READ[name]) & set(words)


def test_the_views_do_not_read_who_recorded_a_removal() -> None:
    texts = [path.read_text() for path in SQL.glob("[4-8]-*.sql")]

    assert not [
        name
        for name in set(cost.REMOVALS) - cost.READ_OF_REMOVALS
        for text in texts
        if name in text
    ]
