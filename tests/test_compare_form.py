"""What `/compare` asks, and what it answers."""

from collections.abc import Sequence
from http import HTTPStatus

import pytest

from registry.compare_form import CompareForm
from registry.rows import ComparedFile
from tests.test_compare import file

WHERE = [(3, "dev"), (3, "staging"), (4, "dev"), (4, "prod"), (0, "dev")]


def answer(address: str) -> tuple[CompareForm, list[object]]:
    """Ask about a model of one file in several versions; also returns what was asked of it."""
    asked: list[object] = []

    def files(*question: object) -> Sequence[ComparedFile]:
        asked.extend(question)
        return [file(model_version=number, environment=where) for number, where in WHERE]

    args = dict(pair.split("=") for pair in address.split("&") if pair)
    return CompareForm.of(args, files), asked


@pytest.mark.parametrize(
    ("address", "sides", "places"),
    [
        ("first=v3&second=v4", ["v3 in dev", "v4 in dev"], ["dev", "staging", "prod"]),
        ("first=3&second=v04&to=dev", ["v3 in dev", "v4 in dev"], ["dev"]),
        ("first=3&from=staging&second=4&to=prod", ["v3 in staging", "v4 in prod"], None),
        ("first=3&from=dev&to=staging", ["v3 in dev", "v3 in staging"], ["dev", "staging"]),
        ("second=3&from=dev&to=staging", ["v3 in dev", "v3 in staging"], ["dev", "staging"]),
        ("first=0&second=3", ["v0 in dev", "v3 in dev"], ["dev", "staging", "prod"]),
    ],
)
def test_versions_and_environments_are_chosen(
    address: str, sides: list[str], places: list[str] | None
) -> None:
    form, asked = answer(f"model=m&{address}")

    assert (form.status, form.problem) == (HTTPStatus.OK, "")
    assert [str(side) for side in form.sides] == sides
    assert asked[3] == (places or ["prod", "staging"])
    assert form.counts == {"same": 1}
    assert form.counts == {"same": 1}
    typed = [form.typed[name] for name in ("first", "from", "second", "to")]
    assert typed == [*sides[0].split(" in "), *sides[1].split(" in ")]


@pytest.mark.parametrize(
    "address",
    ["", "model=m", "model=m&from=dev&to=prod", "model=m&first=3", "model=m&second=3", "from=dev"],
)
def test_nothing_is_asked_before_there_are_two_to_compare(address: str) -> None:
    form, asked = answer(address)

    assert (form.status, form.problem, form.sides, asked) == (HTTPStatus.OK, "", (), [])


@pytest.mark.parametrize(
    ("address", "status", "problem"),
    [
        ("first=3&second=4", 400, "Expected a model, found none."),
        ("model=m&first=third&second=4", 400, "Expected a version such as v3, found 'third'."),
        (f"model=m&first={'9' * 5000}&to=dev", 400, "Expected a version such as v3, found '999"),
        ("model=m&first=3&from=live", 400, "Expected dev, staging or prod, found 'live'."),
        ("model=m&first=3&second=v03", 400, "Expected two versions, or one version in two env"),
        ("model=m&first=3&from=dev", 400, "Expected two versions, or one version in two env"),
        ("model=m&first=3&second=4&from=prod", 404, "Expected v3 in prod, found it in dev, stag"),
        ("model=m&first=3&second=9", 404, "Expected v9 in dev, found no files of it."),
    ],
)
def test_what_cannot_be_compared_is_said(address: str, status: int, problem: str) -> None:
    form, _ = answer(address)

    assert form.status == status
    assert form.problem.startswith(problem)
    assert form.sides == ()
