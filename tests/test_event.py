"""What a Cloud Storage event says of an object."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cloudevents.http import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidEvent, OtherEventType
from registry.event import ARCHIVED, DELETED, FINALIZED, StorageObject, unwrap
from tests.events import MISSING, body, finalized, json_values


def test_all_that_the_registry_needs_is_read() -> None:
    stored = StorageObject.from_event(finalized(body()))

    assert stored == StorageObject(
        bucket="ml-models-dev",
        name="titanic-survival/v1/model.pkl",
        generation=1587627537231057,
        size=352,
        time_created=datetime(2020, 4, 23, 7, 38, 57, 230000, tzinfo=UTC),
        crc32c="rTVTeQ==",
        md5_hash="kF8MuJ5+CTJxvyhHS1xzRg==",
        metadata={"uploader": "ada", "git_sha": "8d1f2ab"},
    )


def test_what_cloud_storage_may_leave_out_may_be_missing() -> None:
    data = body(crc32c=MISSING, md5Hash=MISSING, metadata=MISSING)

    stored = StorageObject.from_event(finalized(data))

    assert (None, None, {}) == (stored.crc32c, stored.md5_hash, stored.metadata)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("crc32c", 7),
        ("crc32c", ""),  # what some write for a field that is not set
        ("md5Hash", {}),
        ("md5Hash", "\ud800"),  # no Unicode
        ("metadata", "uploader=ada"),
        ("metadata", ["uploader"]),
        ("metadata", {"a": {"b": "c"}}),  # they have no levels
        ("metadata", {"a": float("nan")}),  # no JSON
        ("metadata", {"a": "\ud800"}),  # no Unicode
        ("metadata", {"a": 10**30}),  # past what BigQuery stores
    ],
)
def test_no_upload_is_lost_because_a_fact_that_may_be_missing_is_unusable(
    key: str, value: object
) -> None:
    stored = StorageObject.from_event(finalized(body(**{key: value})))
    read = {"crc32c": stored.crc32c, "md5Hash": stored.md5_hash, "metadata": stored.metadata}

    assert not read[key]
    assert stored.generation == 1587627537231057


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("generation", 1587627537231057, 1587627537231057),  # a number, as in some samples
        ("size", 0, 0),
        ("size", "0", 0),  # an empty file
        ("size", str(2**63 - 1), 2**63 - 1),
        ("name", "a" * 1024, "a" * 1024),
    ],
)
def test_both_forms_of_a_number_and_both_ends_of_a_range_are_read(
    key: str, value: object, read: object
) -> None:
    stored = StorageObject.from_event(finalized(body(**{key: value})))

    assert getattr(stored, key) == read


@pytest.mark.parametrize(
    "value",
    [
        "2020-04-23T07:38:57.230Z",
        "2020-04-23T07:38:57.23Z",
        "2020-04-23T07:38:57.230000Z",
        "2020-04-23T09:38:57.230+02:00",
    ],
)
def test_a_time_is_read_in_utc(value: str) -> None:
    stored = StorageObject.from_event(finalized(body(timeCreated=value)))

    assert stored.time_created == datetime(2020, 4, 23, 7, 38, 57, 230000, tzinfo=UTC)
    assert stored.time_created.tzinfo is UTC


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("bucket", MISSING, "text, found None"),
        ("bucket", "", "text, found ''"),
        ("bucket", 7, "text, found 7"),
        ("bucket", "b" * 219 + "-dev", "at most 222 bytes, found 223"),  # Cloud Storage's own limit
        ("name", MISSING, "text, found None"),
        ("name", "", "text, found ''"),
        ("name", ["a"], "text, found \\['a'\\]"),
        ("name", "a/v1/\ud800", "Unicode text"),  # half of a pair, which no UTF-8 can hold
        ("name", "é" * 513, "at most 1024 bytes, found 1026"),  # Cloud Storage's own limit
        ("generation", MISSING, "a whole number"),
        ("generation", "", "a whole number"),
        ("generation", "abc", "a whole number"),
        ("generation", "-1", "a whole number"),
        ("generation", -1, "a whole number"),
        ("generation", 1.5, "a whole number"),
        ("generation", "1_000", "a whole number"),  # int() would take it
        ("generation", " 1 ", "a whole number"),  # this, too
        ("generation", "٣", "a whole number"),  # and an Arabic one
        ("generation", True, "a whole number"),  # which is an int to Python
        ("generation", str(2**63), "a whole number"),  # past INT64
        ("generation", 10**30, "a whole number"),
        ("size", MISSING, "a whole number"),
        ("size", "12 MB", "a whole number"),
        ("size", None, "a whole number"),
        ("timeCreated", MISSING, "a time with its zone"),
        ("timeCreated", "yesterday", "a time with its zone"),
        ("timeCreated", 1587627537, "a time with its zone"),
        ("timeCreated", "2020-04-23T07:38:57", "a time with its zone"),  # of no time zone
        ("timeCreated", "2020-02-30T00:00:00Z", "a time with its zone"),  # no such day
        ("timeCreated", "0001-01-01T00:00:00+12:00", "a time with its zone"),  # before the year 1
    ],
)
def test_a_malformed_field_is_named_with_what_was_expected(
    key: str, value: object, expected: str
) -> None:
    with pytest.raises(InvalidEvent, match=f"^{key}: expected {expected}"):
        StorageObject.from_event(finalized(body(**{key: value})))


@pytest.mark.parametrize("data", [None, b"\xff", b'{"bucket":', "text", 7, [body()]])
def test_a_body_that_is_not_a_json_object_is_malformed(data: object) -> None:
    with pytest.raises(InvalidEvent, match=r"^data: expected a JSON object, found "):
        StorageObject.from_event(finalized(data))


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(InvalidEvent) as refused:
        StorageObject.from_event(finalized(body(size="9" * 100_000)))

    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "event_type",
    [
        "google.cloud.storage.object.v1.metadataUpdated",
        "google.cloud.pubsub.topic.v1.messagePublished",
        "google.cloud.audit.log.v1.written",
    ],
)
def test_another_event_type_is_skipped_and_the_right_ones_are_named(event_type: str) -> None:
    with pytest.raises(OtherEventType, match=f"{FINALIZED}, .*found '{event_type}'.*a trigger"):
        StorageObject.from_event(finalized(body(), event_type))


@pytest.mark.parametrize("event_type", [DELETED, ARCHIVED])
def test_a_removal_is_at_the_objects_own_time_or_at_the_events(event_type: str) -> None:
    data = body(timeDeleted="2026-03-02T10:30:00.456+02:00")
    attributes = {"type": event_type, "source": "b", "time": "2026-03-02T09:00:00Z"}

    said = StorageObject.from_event(CloudEvent(attributes, data))
    unsaid = StorageObject.from_event(CloudEvent(attributes, body()))

    assert said.time_deleted == datetime(2026, 3, 2, 8, 30, 0, 456000, tzinfo=UTC)
    assert unsaid.time_deleted == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert (said.generation, said.time_created) == (unsaid.generation, unsaid.time_created)


@pytest.mark.parametrize(
    ("changes", "time", "expected"),
    [
        ({"timeDeleted": "yesterday"}, "2026-03-02T09:00:00Z", "timeDeleted: .* 'yesterday'"),
        ({"timeDeleted": ""}, "2026-03-02T09:00:00Z", "timeDeleted: .* ''"),
        ({}, "yesterday", "time: .* 'yesterday'"),
        ({"generation": MISSING}, "2026-03-02T09:00:00Z", "generation: "),
    ],
)
def test_a_removal_without_what_it_needs_is_malformed(
    changes: dict[str, object], time: str, expected: str
) -> None:
    event = CloudEvent({"type": DELETED, "source": "b", "time": time}, body(**changes))

    with pytest.raises(InvalidEvent, match=expected):
        StorageObject.from_event(event)


def test_an_arrival_is_live_whatever_its_body_says() -> None:
    data = body(timeDeleted="2026-03-02T08:30:00Z")

    assert StorageObject.from_event(finalized(data)).time_deleted is None


PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"


def published(message: object) -> CloudEvent:
    return finalized({"message": message, "subscription": "projects/p/subscriptions/s"}, PUBLISHED)


def test_a_notification_in_a_message_is_the_event_that_it_was() -> None:
    data = base64.b64encode(json.dumps(body()).encode()).decode()
    message = published({"attributes": {"eventType": "OBJECT_FINALIZE"}, "data": data})

    event = unwrap(message)

    assert (event["type"], event["id"], event.data) == (FINALIZED, message["id"], body())
    assert StorageObject.from_event(event) == StorageObject.from_event(finalized(body()))


@pytest.mark.parametrize(
    "data",
    [
        None,  # a configuration that sends no payload
        7,
        "not base64",
        "é",
        base64.b64encode(b"no JSON").decode(),
        base64.b64encode(b"[" * 100_000).decode(),  # deeper than Python reads
        base64.b64encode(b"9" * 5000).decode(),  # longer than Python reads
        base64.b64encode(b"\xff").decode(),
    ],
)
def test_a_notification_that_cannot_be_read_is_malformed(data: object) -> None:
    event = unwrap(published({"attributes": {"eventType": "OBJECT_FINALIZE"}, "data": data}))

    with pytest.raises(InvalidEvent, match=r"^data: expected a JSON object, found "):
        StorageObject.from_event(event)


@given(json_values)
def test_any_other_message_stays_what_it_is(data: object) -> None:
    for event in (
        finalized(data),
        finalized(data, PUBLISHED),
        published(data),
        published({"attributes": data}),
        published({"attributes": {"eventType": data}}),
    ):
        assert unwrap(event) is event


@given(
    st.fixed_dictionaries(
        {},
        optional={
            key: st.just(value) | json_values for key, value in body(metadata={"a": "b"}).items()
        },
    )
    | json_values
)
def test_any_body_is_either_read_or_malformed(data: object) -> None:
    try:
        stored = StorageObject.from_event(finalized(data))
    except InvalidEvent as invalid:
        assert "expected" in str(invalid)  # noqa: PT017 - both ways are right
    else:
        assert isinstance(data, dict)
        assert (stored.bucket, stored.name) == (data["bucket"], data["name"])
        assert (stored.generation, stored.size) == (int(data["generation"]), int(data["size"]))
