"""Conditions as people write them."""

import pytest

from registry.condition import Condition, parse_search
from registry.errors import InvalidCondition


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("framework=xgboost", ("framework", "=", "xgboost")),
        ("framework==xgboost", ("framework", "=", "xgboost")),
        ("accuracy>=0.9", ("accuracy", ">=", "0.9")),
        (" accuracy < 0.9 ", ("accuracy", "<", "0.9")),
        ("a!=b", ("a", "!=", "b")),
        ("a<=-1e-3", ("a", "<=", "-1e-3")),
        ("a>.5", ("a", ">", ".5")),
        ('a>"+5."', ("a", ">", "+5.")),
        ("a=", ("a", "=", "")),
        ("a=b=c", ("a", "=", "b=c")),  # the first one counts
        ("training.loss=1", ("training.loss", "=", "1")),
        ("my key=my value", ("my key", "=", "my value")),
        ("it's=`x` \u00e9", ("it's", "=", "`x` \u00e9")),
        (r'"a=\"b"="<x>"', ('a="b', "=", "<x>")),
        ('a=x"y', ("a", "=", 'x"y')),
    ],
)
def test_a_condition_is_read(text: str, expected: tuple[str, str, str]) -> None:
    assert Condition.parse(text) == Condition(*expected)


@pytest.mark.parametrize(
    "text", ["", "xgboost", "=xgboost", "a=<b", "a=>b", "a=!b", "a<>b", '"a=b']
)
def test_what_is_no_condition_is_an_error(text: str) -> None:
    with pytest.raises(InvalidCondition, match=r"expected key=value, .*, found '"):
        Condition.parse(text)


@pytest.mark.parametrize(
    "text", ["trained>=2026-01-01", "a<high", "a<=0,9", "a>", 'a>" 1"', "a>=NaN", "a>.", "a>0x10"]
)
def test_only_a_number_is_more_or_less(text: str) -> None:
    with pytest.raises(InvalidCondition, match=r"expected a number after [<>]=?, found .*: other"):
        Condition.parse(text)


def test_what_is_in_quotes_is_text_as_in_json() -> None:
    with pytest.raises(InvalidCondition, match="expected text in quotes as in JSON, found"):
        Condition.parse(r'a="\x"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("fraud", []),
        ("<img ", []),  # nothing is compared
        ("ada lovelace, eve", []),
        ("a=1", ["a=1"]),
        (" a=1 b>=2 ", ["a=1", "b>=2"]),
        ("a=1,b=2 , c=3", ["a=1", "b=2", "c=3"]),
        ("a = 1 and b < 2 AND c=x", ["a=1", "b<2", "c=x"]),
        ('"a b"="c, d and e" f=1', ["a b=c, d and e", "f=1"]),
        ("andy=1 and and=2", ["andy=1", "and=2"]),
    ],
)
def test_a_search_has_conditions_or_is_text(text: str, expected: list[str]) -> None:
    assert [str(condition) for condition in parse_search(text)] == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [("fraud a=1", "fraud a=1"), ("a=1 fraud", "fraud"), ("a=1 and", "and"), ("a=", "a=")],
)
def test_text_among_conditions_is_an_error(text: str, found: str) -> None:
    with pytest.raises(InvalidCondition, match=f"expected key=value.*, found '{found}'"):
        parse_search(text)
