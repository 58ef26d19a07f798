"""The bucket against the registry: the pure comparison."""

import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.artifact import LAYOUT
from registry.errors import OutOfOrder
from registry.event import StorageObject
from registry.finding import Difference, compare
from registry.rows import Registered

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(generation: int) -> datetime:
    """Return the time of a generation, to the millisecond, as Cloud Storage does."""
    return NOON + timedelta(milliseconds=generation)


def listed(  # noqa: PLR0913 - what an object says
    name: str,
    generation: int = 1,
    *,
    live: bool = True,
    size: int = 1,
    crc32c: str | None = "AAAAAA==",
    metadata: Mapping[str, str] | None = None,
    growing: bool = False,
) -> StorageObject:
    return StorageObject(
        bucket="b-dev",
        name=name,
        generation=generation,
        size=size,
        time_created=at(generation),
        crc32c=crc32c,
        md5_hash=None,
        metadata=metadata or {},
        time_deleted=None if live else NOON,
        is_growing=growing,
    )


def registered(name: str, generation: int | None = 1, **facts: object) -> Registered:
    times = {"upload_timestamp": at(generation or 1), "registered_at": NOON}
    facts = {**times, "size": 1, "crc32c": "AAAAAA==", **facts}
    return Registered(name=name, generation=generation, **facts)  # type: ignore[arg-type]


def found(there: list[StorageObject], known: list[Registered]) -> list[tuple[str, str, int | None]]:
    return [
        (finding.difference.value, finding.name, finding.generation)
        for finding in compare(there, known)
    ]


A, B, C = "m/v1/a", "m/v1/b", "m/v1/c"


@pytest.mark.parametrize(
    ("there", "known", "expected"),
    [
        ([], [], []),
        ([listed(A)], [registered(A)], []),
        ([listed(A)], [], [("unregistered", A, 1)]),
        ([], [registered(A)], [("removed", A, 1)]),
        (
            [listed(A), listed(C)],
            [registered(B)],
            [("unregistered", A, 1), ("removed", B, 1), ("unregistered", C, 1)],
        ),
        # Overwritten, and the event of the second write was lost: the name was not removed.
        ([listed(A, 2)], [registered(A, 1)], [("unregistered", A, 2)]),
        # Both are registered, one is there.
        ([listed(A, 2)], [registered(A, 1), registered(A, 2)], []),
        # Its lineage was lost, or it is older than those columns.
        ([listed(A)], [registered(A, crc32c=None)], [("changed", A, 1)]),
        ([listed(A)], [registered(A, None, crc32c=None)], [("changed", A, 1)]),
        # A list has no checksum under a customer-managed key: then the object is asked for it.
        ([listed(A, crc32c=None)], [registered(A, crc32c=None)], [("changed", A, 1)]),
        ([listed(A, crc32c=None)], [registered(A)], []),
        # Somebody still appends to it, or did so when it was registered.
        ([listed(A, crc32c=None, growing=True)], [], []),
        ([listed(A, crc32c=None, growing=True, size=7)], [registered(A, crc32c=None)], []),
        ([listed(A, size=7)], [registered(A, crc32c=None)], [("changed", A, 1)]),
        # Its metadata was set later.
        ([listed(A, metadata={"uploader": "ada"})], [registered(A)], [("changed", A, 1)]),
        ([listed(A)], [registered(A, metadata='{"uploader": "ada"}')], [("changed", A, 1)]),
        (
            [listed(A, metadata={"a": "1", "b": ""})],
            [registered(A, metadata='{"b": "", "a": "1"}')],
            [],
        ),
        # Its removal was recorded by mistake, or a folder was renamed and renamed back.
        ([listed(A)], [registered(A, removed=True)], [("reappeared", A, 1)]),
        (
            [listed(A, size=7)],
            [registered(A, removed=True)],
            [("changed", A, 1), ("reappeared", A, 1)],
        ),
        (
            [listed(A, 1, live=False), listed(A, 2)],
            [registered(A, 1, removed=True)],
            [
                ("unregistered", A, 2),
            ],
        ),
        ([], [registered(A, crc32c=None)], [("removed", A, 1)]),
        # Delivered twice.
        ([listed(A)], [registered(A), registered(A)], []),
        # The newest is the one that was removed, whatever order the rows are in.
        ([], [registered(A, 2), registered(A, 1)], [("removed", A, 2)]),
        ([], [registered(A, removed=True)], []),
        # It was removed, came back, and was removed again.
        ([], [registered(A, 1, removed=True), registered(A, 2)], [("removed", A, 2)]),
        # What is kept of an object that was deleted is not the object.
        ([listed(A, live=False)], [registered(A)], [("removed", A, 1)]),
        ([listed(A, 1, live=False), listed(A, 2)], [registered(A, 2)], [("unregistered", A, 1)]),
        # Registered only now, and already gone.
        ([listed(A, 5, live=False)], [], [("unregistered", A, 5), ("removed", A, 5)]),
        (
            [listed(A, 2, live=False)],
            [registered(A, 1)],
            [("unregistered", A, 2), ("removed", A, 2)],
        ),
        ([listed("a", live=False)], [], [("outside the layout", "a", 1)]),
        # A row from before the generations is recognized by the time of its upload.
        ([listed(A, 7)], [registered(A, None, upload_timestamp=at(7))], [("changed", A, 7)]),
        ([listed(A, 7)], [registered(A, None, upload_timestamp=at(6))], [("unregistered", A, 7)]),
        ([listed(A, 7)], [registered(A, None, upload_timestamp=None)], [("unregistered", A, 7)]),
        ([], [registered(A, None, upload_timestamp=None)], [("removed", A, None)]),
    ],
)
def test_a_difference_is_found(
    there: list[StorageObject], known: list[Registered], expected: list[tuple[str, str, int | None]]
) -> None:
    assert found(there, known) == expected


def test_a_change_says_what_from_and_to() -> None:
    known = registered(A, size=5, crc32c="B", metadata='{"accuracy": "0.91", "x": "y"}')
    stored = listed(A, size=7, metadata={"accuracy": "0.93", "uploader": "ada", "x": "y"})

    [finding] = compare([stored], [known])

    assert str(finding) == (
        "changed: m/v1/a: crc32c from B to AAAAAA==, size from 5 to 7,"
        " metadata 'accuracy' from '0.91' to '0.93', metadata 'uploader' from None to 'ada'"
    )


def test_a_removal_has_its_time_if_the_bucket_keeps_the_generation() -> None:
    [kept] = compare([listed(A, live=False)], [registered(A)])
    [gone] = compare([], [registered(A)])

    assert (kept.removed_at, gone.removed_at) == (NOON, None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("m/1/a", "the version '1' lacks its v: write 'm/v1/a'"),
        ("a", "there is no model and no version: write a name such as 'my-model/v1/a'"),
        ("m/v9223372036854775808/a", "N is at most 9223372036854775807"),
        ("m/v1/", "it ends in a slash as a folder does, but holds 1 bytes: write a name such as"),
    ],
)
def test_what_is_not_an_artifact_has_a_reason(name: str, reason: str) -> None:
    [finding] = compare([listed(name)], [])

    assert finding.difference == Difference.OUTSIDE_THE_LAYOUT
    assert str(finding).startswith(
        f"outside the layout: expected {LAYOUT}, found '{name}': {reason}"
    )


def test_an_artifact_has_no_reason() -> None:
    [finding] = compare([listed("m/v01/a")], [])

    assert (finding.difference, finding.reason) == (Difference.UNREGISTERED, None)


@pytest.mark.parametrize(
    "stored",
    [
        listed("m/v1/", size=0),  # a folder marker
        listed("gcloud/tmp/parallel_composite_uploads/x"),  # an upload that goes on
    ],
)
def test_what_nobody_needs_to_look_at_is_no_finding(stored: StorageObject) -> None:
    assert list(compare([stored], [])) == []


def test_names_out_of_order_are_an_error() -> None:
    with pytest.raises(OutOfOrder, match="'m/v1/a' after 'm/v1/b'"):
        list(compare([listed(B), listed(A)], []))


SIDES = st.dictionaries(st.sampled_from([f"m/v1/{n}" for n in "abcdé😀\uffff"]), st.integers(1, 3))


@given(there=SIDES, known=SIDES)
def test_it_finds_what_a_comparison_of_sets_finds(
    there: dict[str, int], known: dict[str, int]
) -> None:
    in_bucket, in_registry = set(there.items()), set(known.items())

    assert sorted(
        found(
            [listed(name, generation) for name, generation in sorted(in_bucket)],
            [registered(name, generation) for name, generation in sorted(in_registry)],
        )
    ) == sorted(
        [("unregistered", name, generation) for name, generation in in_bucket - in_registry]
        + [("removed", name, known[name]) for name in known.keys() - there.keys()]
    )


def test_only_one_name_is_in_memory_at_a_time() -> None:
    """Both streams are read in step, so memory does not grow with them."""
    read = {"there": 0, "known": 0}

    def stream(side: str) -> Iterator[str]:
        for number in range(1000):
            read[side] += 1
            yield f"m/v1/{number:04}"

    findings = compare(
        (listed(name, 2) for name in stream("there")),
        (registered(name) for name in stream("known")),
    )
    for number, _ in enumerate(itertools.islice(findings, 500)):
        assert max(read.values()) <= number + 3
