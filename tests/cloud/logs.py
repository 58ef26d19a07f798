"""
Log entries as Cloud Run makes them of printed lines, and the filters that choose among them.

Of the Logging query language it reads what our filters use; anything else is a ValueError. An OR
binds stronger than an AND, and a comparison fails if the field is missing, also with `!=`:
https://docs.cloud.google.com/logging/docs/view/logging-query-language
"""

import re
from collections.abc import Callable

from tests.cloud.call import get
from tests.cloud.project import Json

type Match = Callable[[Json], bool]

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[()]|=~|!~|!=|>=|=|[\w./-]+)')
SEVERITIES = ["DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"]


def entry(line: Json, function: str) -> Json:
    """Wrap a line that a function prints: the severity moves, the rest stays."""
    labels = {"service_name": function, "location": "us-central1", "project_id": "soufianesys"}
    return {
        "insertId": "69a42c8000017a5e6a9f7c31",
        "jsonPayload": {key: value for key, value in line.items() if key != "severity"},
        "resource": {"type": "cloud_run_revision", "labels": labels},
        "timestamp": "2026-03-01T12:00:02.096862Z",
        "severity": line["severity"],
        "logName": "projects/soufianesys/logs/run.googleapis.com%2Fstdout",
    }


def matcher(text: str) -> Match:
    """Return what a filter says of an entry."""
    words, at = [], 0
    while at < len(text.rstrip()):
        found = TOKEN.match(text, at)
        if not found:
            raise ValueError(f"expected a word, found {text[at:]!r}")
        words.append(found[1])
        at = found.end()
    reader = Reader(words)
    match = reader.all_of(reader.comparison)
    if reader.words:
        raise ValueError(f"expected the end, found {reader.words}")
    return match


class Reader:
    """Reads a filter's words, the first one first."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def next(self) -> str:
        if not self.words:
            raise ValueError("expected a word, found the end")
        return self.words.pop(0)

    def goes_on_with(self, word: str) -> bool:
        if self.words[:1] != [word]:
            return False
        self.words.pop(0)
        return True

    def all_of(self, one: Callable[[], Match]) -> Match:
        parts = [self.any_of(one)]
        while self.goes_on_with("AND") or self.words[:1] not in ([], [")"]):
            parts.append(self.any_of(one))
        return lambda entry: all(part(entry) for part in parts)

    def any_of(self, one: Callable[[], Match]) -> Match:
        parts = [self.maybe_not(one)]
        while self.goes_on_with("OR"):
            parts.append(self.maybe_not(one))
        return lambda entry: any(part(entry) for part in parts)

    def maybe_not(self, one: Callable[[], Match]) -> Match:
        if self.goes_on_with("NOT"):
            negated = self.maybe_not(one)
            return lambda entry: not negated(entry)
        if not self.goes_on_with("("):
            return one()
        match = self.all_of(one)
        if not self.goes_on_with(")"):
            raise ValueError("expected ), found another word or the end")
        return match

    def comparison(self) -> Match:
        field, operator = self.next(), self.next()
        if not re.fullmatch(r"[a-z]\w*(\.\w+)*", field) or operator not in OPERATORS:
            raise ValueError(f"expected a comparison, found {field} {operator}")
        return self.maybe_not(lambda: self.value(field, operator))

    def value(self, field: str, operator: str) -> Match:
        word = self.next()
        if word in {"AND", "OR", ")"} or word in OPERATORS:
            raise ValueError(f"expected a value, found {word}")
        wanted = re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word

        def match(entry: Json) -> bool:
            found = get(entry, field)
            return found is not None and OPERATORS[operator](str(found), wanted)

        return match


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda found, wanted: found.casefold() == wanted.casefold(),
    "!=": lambda found, wanted: found.casefold() != wanted.casefold(),
    "=~": lambda found, wanted: bool(re.search(wanted, found)),
    "!~": lambda found, wanted: not re.search(wanted, found),
    ">=": lambda found, wanted: SEVERITIES.index(found) >= SEVERITIES.index(wanted),
}
