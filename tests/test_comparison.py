"""How a version in an environment compares with the one before, on both engines."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import pytest
from google.cloud import bigquery

from tests.histories import CHECKSUMS, Values, Views, at, pick, written


class Case(NamedTuple):
    """What is in dev, what is in staging, how they compare, and why."""

    dev: str
    staging: str
    expected: str | None
    different: Sequence[str] = ()
    missing: Sequence[str] = ()
    extra: Sequence[str] = ()


# Files are `<name>=<content>`, of version 1 unless the name says otherwise.
CASES = [
    Case("m=A", "m=A", "identical"),
    Case("m=A", "m=B", "different", different=["m"]),
    Case("m=A", "m=A11", "different", different=["m"]),  # another size
    Case("m=A", "n=A", "different", missing=["m"], extra=["n"]),  # another name
    Case("m=A", "m=A n=A", "different", extra=["n"]),  # one more
    Case("m=A n=B o=C", "n=B", "incomplete", missing=["m", "o"]),  # two of three not yet copied
    Case("m=A n=B", "m=B", "different", different=["m"], missing=["n"]),  # no copy of it
    Case("m=A n=B", "n=B m=A", "identical"),  # in any order
    Case("m=A n=B", "m=B n=A", "different", different=["m", "n"]),  # swapped
    Case("a/b=A", "b=A a=A", "different", missing=["a/b"], extra=["a", "b"]),
    # The folder's name is no difference. A name that is in two folders has two contents.
    Case("x/m=A", "v01/x/m=A", "identical"),
    Case("m=A v01/m=A", "m=A", "identical"),
    Case("m=A v01/m=B", "m=A", "different", different=["m"]),
    Case("m=A v01/m=B", "m=B v01/m=A", "identical"),
    Case("m=A v01/m=B", "m=A v01/m=C", "different", different=["m"]),
    # Without a checksum nobody knows.
    Case("m=?", "m=A", "unknown"),
    Case("m=?", "m=?", "unknown"),
    Case("m=A n=?", "m=A", "unknown", missing=["n"]),
    Case("m=A n=?", "m=B n=A", "different", different=["m"]),  # whatever n is
    Case("", "m=A", "skipped"),
    Case("m=A", "", None),
    # No model is made of these.
    Case("m=A", "m=A .DS_Store=B x/.DS_Store=B", "identical"),
    Case("m=A ._m=B", "m=A ._m=C x/._y=B", "identical"),
    Case("m=A", "m=A Thumbs.db=B __MACOSX/x/y=B", "identical"),
    Case("m=A _SUCCESS=B0 x/_SUCCESS=B", "m=A", "identical"),
    Case("m=A .ipynb_checkpoints/m=B", "m=A x/.ipynb_checkpoints/m=C", "identical"),
    Case("m=A x_$folder$=B0", "m=A y/_$folder$=B0", "identical"),
    Case("m=A", "m=A .DS_Store=?", "identical"),  # also without a checksum
    # But of these one may be.
    Case("m=A", "m=A x_$folder$=B", "different", extra=["x_$folder$"]),  # it has content
    Case("m=A", "m=A x.DS_Store=B", "different", extra=["x.DS_Store"]),
    Case("m=A", "m=A .DS_Store/x=B", "different", extra=[".DS_Store/x"]),
    Case("m=A", "m=A my__MACOSX/x=B", "different", extra=["my__MACOSX/x"]),
    Case("m=A", "m=A a._x=B", "different", extra=["a._x"]),
    Case("m=A", "m=A _SUCCESS.txt=B", "different", extra=["_SUCCESS.txt"]),
    # At most ten names are listed.
    Case(
        "m=A",
        "m=A " + " ".join(f"f{number:02}=A" for number in range(12)),
        "different",
        extra=[f"f{number:02}" for number in range(10)],
    ),
]
# What happened, how staging and prod compare now, and earlier.
PROD: dict[str, tuple[list[str | Values], tuple[str | None, str | None]]] = {
    "all-the-same": (["0 dev m A", "1 staging m A", "2 prod m A"], ("identical", "identical")),
    "prod-overwritten": (
        ["0 dev m A", "1 staging m A", "2 prod m A", "3 prod m B"],
        ("identical", "different"),
    ),
    "staging-tried": (["0 dev m A", "1 staging m B", "2 prod m A"], ("different", "different")),
    "past-staging": (["0 dev m A", "2 prod m A"], (None, "skipped")),
    "prod-alone": (["2 prod m A"], (None, "skipped")),
    "past-dev": (["0 staging m A", "2 prod m A"], ("skipped", "identical")),
    "gone-from-prod": (
        ["0 dev m A", "1 staging m A", "2 prod m A", "9 prod m gone"],
        ("identical", None),
    ),
    "gone-and-back": (
        ["0 staging m A", "2 prod m A", "9 prod m gone", "11 prod m A"],
        ("skipped", "identical"),
    ),
    # Parts were written elsewhere in the folder, and moved to where they belong.
    "moved": (
        [
            *("0 dev _temp/part-0 A", "1 dev part-0 A", "1 dev _temp/part-0 gone"),
            *("2 staging part-0 A", "3 prod part-0 A"),
        ],
        ("identical", "identical"),
    ),
    # A file that is gone is no difference, wherever it was.
    "one-gone-from-prod": (
        ["0 staging m A", "1 prod m B", "1 prod n A", "9 prod n gone"],
        ("skipped", "different"),
    ),
    "tidied-up": (
        [
            *("0 dev m A", "0 dev n B", "1 staging m A", "1 staging n B"),
            *("2 prod m A", "2 prod n B"),
            *("50 dev m gone", "50 dev n gone", "51 staging n gone", "52 staging m gone"),
        ],
        (None, "identical"),
    ),
    # As a lifecycle rule does, over a day; `two-nights` is what reconciliations find.
    "tidied-up-slowly": (
        [
            *("0 staging m A", "0 staging n B", "2 prod m A", "2 prod n B"),
            *("50 staging n gone", "1490 staging m gone"),
        ],
        (None, "identical"),
    ),
    "two-nights": (
        [
            *("0 staging a A", "0 staging b B", "2 prod a A"),
            *("600 staging b gone", "2040 staging a gone"),
        ],
        (None, "identical"),
    ),
    "incomplete-and-tidied-up": (
        [
            *("0 staging a A", "0 staging b B", "2 prod a A"),
            *("600 staging a gone", "600.1 staging b gone"),
        ],
        (None, "incomplete"),
    ),
    "differs-and-tidied-up": (
        ["0 staging a A", "2 prod a B", "600 staging a gone"],
        (None, "different"),
    ),
    # Staging no longer has what prod has, and has another file.
    "withdrawn-from-staging": (
        ["0 staging a A", "0 staging b B", "2 prod a A", "2 prod b B", "60 staging b gone"],
        ("skipped", "different"),
    ),
    # What is known to differ says more than what is not known.
    "differs-and-no-checksum": (
        ["0 staging a A", "0 staging b ?", "2 prod a B", "2 prod b ?"],
        ("skipped", "different"),
    ),
    "no-checksum-at-first": (
        [
            *("0 staging m A", "2 prod m ?"),
            written(2, environment="prod", gcs_path="v1/m", registered_at=at(600))
            | {"crc32c": CHECKSUMS["A"], "file_size_bytes": 10},
        ],
        ("skipped", "identical"),
    ),
}


def history(case: Case) -> list[str | Values]:
    """Write the files, each at a time of its own: a generation follows from its time."""
    lines: list[str | Values] = []
    for environment, files in (("dev", case.dev), ("staging", case.staging)):
        for minutes, file in enumerate(files.split()):
            name, _, content = file.rpartition("=")
            lines.append(f"{minutes} {environment} {name} {content}")
    return lines


@pytest.fixture(scope="module")
def client(either_client: bigquery.Client) -> bigquery.Client:
    """Each test runs on both engines."""
    return either_client


@pytest.fixture(scope="module")
def views(client: bigquery.Client, dataset: str) -> Views:
    """What the views say of CASES, each a model, and of PROD."""
    histories = {f"case-{number}": history(case) for number, case in enumerate(CASES)}
    return Views(client, dataset, histories | {name: lines for name, (lines, _) in PROD.items()})


@pytest.mark.parametrize("number", range(len(CASES)))
def test_staging_is_compared_with_dev_by_its_files(number: int, views: Views) -> None:
    case, model = CASES[number], f"case-{number}"

    [promotion] = views("promotions", model)
    assert pick(promotion, "staging_vs_dev prod_vs_staging") == (case.expected, None)
    rows = {row["environment"]: row for row in views("model_versions", model)}
    if case.staging:
        names = "staging_vs_dev different_files missing_files extra_files"
        why = [list(names) for names in (case.different, case.missing, case.extra)]
        assert pick(rows["staging"], names) == (case.expected, *why)
    fingerprints = {row["fingerprint"] for row in rows.values()}
    if case.expected in {"identical", "different"}:
        assert (len(fingerprints) == 1) == (case.expected == "identical")
    if case.expected == "unknown":
        assert None in fingerprints


@pytest.mark.parametrize("model", PROD)
def test_prod_is_compared_with_staging(model: str, views: Views) -> None:
    _, expected = PROD[model]

    [promotion] = views("promotions", model)
    assert pick(promotion, "staging_vs_dev prod_vs_staging") == expected


@pytest.mark.parametrize(
    ("model", "time", "expected"),
    [
        ("prod-overwritten", at(2.5), "identical"),
        ("incomplete-and-tidied-up", at(599), "incomplete"),
        ("two-nights", at(599), "incomplete"),
        ("two-nights", at(700), "identical"),
        ("moved", at(2), None),  # not there yet
        ("no-checksum-at-first", at(2), "identical"),  # whenever that was recorded
    ],
)
def test_prod_is_compared_with_staging_as_of_a_time(
    model: str, time: datetime, expected: str | None, views: Views
) -> None:
    assert [row["prod_vs_staging"] for row in views("promotions", model, time)] == [expected]


def test_a_removed_file_is_no_difference(views: Views) -> None:
    [prod] = views("model_versions", "one-gone-from-prod", environment="prod")

    assert pick(prod, "different_files missing_files extra_files") == (["m"], [], [])


def test_what_is_gone_is_not_compared_and_names_no_files(views: Views) -> None:
    [prod] = views("model_versions", "gone-from-prod", environment="prod")

    assert pick(prod, "files prod_vs_staging missing_files") == (0, None, [])
