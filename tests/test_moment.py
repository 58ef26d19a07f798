"""Times as people write them."""

from datetime import UTC, datetime

import pytest

from registry.errors import InvalidMoment
from registry.moment import parse, parse_past

NOW = datetime(2026, 11, 8, 12, 30, 59, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01", "2026-11-01T00:00:00"),  # its beginning
        ("2026-11-01T12:00", "2026-11-01T12:00:00"),  # without a zone, UTC
        ("2026-11-01 12:00:00Z", "2026-11-01T12:00:00"),
        ("2026-11-01T12:00:00.5+02:00", "2026-11-01T10:00:00.500000"),
        ("90m", "2026-11-08T11:00:00"),  # from the minute before now
        ("12h", "2026-11-08T00:30:00"),
        ("7d", "2026-11-01T12:30:00"),
        ("2w", "2026-10-25T12:30:00"),
        ("2026-11-08T12:30:59.000007", "2026-11-08T12:30:59.000007"),
    ],
)
def test_a_time_is_a_date_a_time_or_how_long_ago(text: str, expected: str) -> None:
    for read in (parse, parse_past):
        assert read(text, NOW).isoformat() == f"{expected}+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "7",  # of what?
        "7 d",
        "\u0667d",  # a digit, but not an ASCII one
        "-7d",
        "2026-02-30",
        "2026-11-01T12:00 02:00",  # a + of an address that was not written %2B
        "99999999999w",
        "9" * 5000 + "d",
        "0001-01-01T00:00+14:00",  # before the first year in UTC
        "' OR TRUE --",
    ],
)
def test_anything_else_is_refused_and_shown_shortened(text: str) -> None:
    with pytest.raises(InvalidMoment, match="expected a date, a time in ISO 8601, or") as refusal:
        parse(text, NOW)

    assert len(str(refusal.value)) < 400


def test_the_future_is_refused_where_only_the_past_is_known() -> None:
    with pytest.raises(InvalidMoment, match="not in the future, found '2026-11-08T12:31'"):
        parse_past("2026-11-08T12:31", NOW)

    assert parse("2026-11-08T12:31", NOW) > NOW
