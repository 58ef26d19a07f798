"""Conditions on custom metadata, as people write them: `framework=xgboost`, `accuracy>=0.9`."""

import json
import re
from dataclasses import dataclass
from typing import Self

from registry.errors import InvalidCondition, shorten

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_OPERATOR = r"<=|>=|!=|==?|<|>"
_CONDITION = re.compile(
    rf"\s*({_QUOTED}|[^\s=!<>\"][^=!<>]*?)\s*({_OPERATOR})\s*({_QUOTED}|[^\s=!<>\"].*?|)\s*",
    re.DOTALL,
)
# Among others, a value ends with a space or a comma.
_LISTED = re.compile(
    rf"(?:{_QUOTED}|[^\s,=!<>\"]+)\s*(?:{_OPERATOR})\s*(?:{_QUOTED}|[^\s,=!<>\"]+)", re.DOTALL
)
_SEPARATOR = re.compile(r"\s*,\s*|\s+and\s+|\s+", re.IGNORECASE)
_COMPARES = re.compile(rf"[^\s,=!<>]\s*(?:{_OPERATOR})")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_EXPECTED = "expected key=value, or !=, <, <=, >, >= between them"


@dataclass(frozen=True, slots=True)
class Condition:
    """
    What the custom metadata of a file of a model version has to say.

    Numbers are compared as numbers if both sides are numbers. Other text can only be equal or not,
    so that after `<`, `<=`, `>` and `>=` there is a number.
    """

    key: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a condition. A key or a value in double quotes is read as JSON reads it.

        >>> Condition.parse('"training.loss" <= 0.1')
        Condition(key='training.loss', operator='<=', value='0.1')

        Raises:
            InvalidCondition: It is none.
        """
        found = _CONDITION.fullmatch(text)
        if not found:
            raise InvalidCondition(f"{_EXPECTED}, found {shorten(text)}")
        key, operator, value = _unquoted(found[1]), found[2], _unquoted(found[3])
        if operator[0] in "<>" and not is_number(value):  # nothing would ever fit
            raise InvalidCondition(
                f"expected a number after {operator}, found {shorten(value)}:"
                " other text is compared with = or !="
            )
        return cls(key, "=" if operator == "==" else operator, value)

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.key}{self.operator}{self.value}"


def is_number(text: str) -> bool:
    """Return whether a value is a number, as programs write them."""
    return bool(_NUMBER.fullmatch(text))


def parse_search(text: str) -> tuple[Condition, ...]:
    """
    Read conditions with spaces, commas or `and` between them; none from a text without operators.

    >>> [str(one) for one in parse_search("framework=xgboost and accuracy >= 0.9")]
    ['framework=xgboost', 'accuracy>=0.9']
    >>> parse_search("fraud")
    ()

    Raises:
        InvalidCondition: It has an operator, and something that is no condition.
    """
    if not _COMPARES.search(text):
        return ()
    conditions, position, rest = [], 0, text.strip()
    while position < len(rest):
        found = _LISTED.match(rest, position)
        if not found:
            raise InvalidCondition(
                f"{_EXPECTED}, with spaces between conditions, found {shorten(rest[position:])}"
            )
        conditions.append(Condition.parse(found[0]))
        separator = _SEPARATOR.match(rest, found.end())
        position = separator.end() if separator else found.end()
    return tuple(conditions)


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text, strict=False))
    except ValueError as error:
        raise InvalidCondition(
            f"expected text in quotes as in JSON, found {shorten(text)}"
        ) from error
