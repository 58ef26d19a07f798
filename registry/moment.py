"""Times as people write them: on the command line, and in an address of the page."""

import re
from datetime import UTC, datetime, timedelta

from registry.errors import InvalidMoment, shorten

_PERIODS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse(text: str, now: datetime) -> datetime:
    """
    Read a date, a time in ISO 8601, or a period before `now`.

    A date is its beginning, as in `TIMESTAMP '2026-11-01'`. Without a zone it is in UTC. A period
    ends with the minute before `now`, so that those who ask within a minute ask the same.

    >>> now = datetime(2026, 11, 8, 12, tzinfo=UTC)
    >>> [str(parse(text, now)) for text in ("2026-11-01", "2026-11-01T12:00+02:00", "7d")]
    ['2026-11-01 00:00:00+00:00', '2026-11-01 10:00:00+00:00', '2026-11-01 12:00:00+00:00']

    Raises:
        InvalidMoment: It is none of these.
    """
    try:
        if period := re.fullmatch(r"([0-9]+)([mhdw])", text):
            return now.replace(second=0, microsecond=0) - timedelta(
                **{_PERIODS[period[2]]: int(period[1])}
            )
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidMoment(
            f"expected a date, a time in ISO 8601, or a period such as 90m, 12h, 7d, 2w,"
            f" found {shorten(text)}"
        ) from error


def parse_past(text: str, now: datetime) -> datetime:
    """
    Read the same, but not the future: nobody knows what will be there.

    Raises:
        InvalidMoment: It is none of these, or later than `now`.
    """
    time = parse(text, now)
    if time > now:
        raise InvalidMoment(f"expected a time that is not in the future, found {shorten(text)}")
    return time
