"""From event to row."""

import dataclasses
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from registry.environment import Environment
from tests.events import NOW, registration


def test_a_row_has_the_thirteen_columns_in_the_tables_order() -> None:
    row = registration().row()

    assert list(row.items()) == [
        ("model_name", "titanic-survival"),
        ("model_version", "1"),
        ("environment", "dev"),
        ("gcs_bucket", "ml-models-dev"),
        ("gcs_path", "titanic-survival/v1/model.pkl"),
        ("file_size_bytes", "352"),
        ("upload_timestamp", "2020-04-23T07:38:57.230000+00:00"),
        ("uploader", "ada"),
        ("registered_at", "2026-03-01T12:00:00.123456+00:00"),
        ("generation", "1587627537231057"),
        ("crc32c", "rTVTeQ=="),
        ("md5_hash", "kF8MuJ5+CTJxvyhHS1xzRg=="),
        ("metadata", '{"uploader": "ada", "git_sha": "8d1f2ab"}'),
    ]


def test_without_custom_metadata_there_is_neither_uploader_nor_metadata() -> None:
    row = registration(metadata={}).row()

    assert (None, None) == (row["uploader"], row["metadata"])


def test_an_uploader_that_is_not_text_stays_in_the_metadata() -> None:
    row = registration(metadata={"uploader": 7}).row()

    assert (None, '{"uploader": 7}') == (row["uploader"], row["metadata"])


def test_it_says_what_arrived_where() -> None:
    assert str(registration()) == "titanic-survival v1 model.pkl in dev"


def test_the_insert_id_is_the_same_for_every_delivery_of_a_write() -> None:
    later = NOW.replace(year=2027)

    assert registration().insert_id == registration(at=later).insert_id


def test_what_completes_a_registration_is_no_repeat_of_it() -> None:
    first = registration()

    assert dataclasses.replace(first, corrects=True).insert_id != first.insert_id


def test_the_insert_id_fits_however_long_the_name_is() -> None:
    longest = "m/v1/" + "x" * 1019

    assert len(registration(name=longest).insert_id.encode()) <= 128


writes = st.tuples(
    st.sampled_from(["ml-models-dev", "ml-models-prod"]),
    st.sampled_from(["m/v1/a", "m/v1/a#1", "m/v1/a#11", "m/v01/a", "m/v1//a"]),
    st.integers(0, 11),
)


@given(writes, writes)
def test_the_insert_id_is_bucket_and_name_and_generation(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    ids = [
        registration(bucket=bucket, name=name, generation=generation).insert_id
        for bucket, name, generation in (one, other)
    ]

    assert (one == other) == (ids[0] == ids[1])


segments = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=9)
int64s = st.integers(0, 2**63 - 1)


@given(
    model=segments,
    version=int64s,
    file=segments,
    environment=st.sampled_from(Environment),
    generation=int64s,
    size=int64s,
    created=st.datetimes(timezones=st.just(UTC)),
    crc32c=st.none() | st.text(st.characters(codec="utf-8"), min_size=1),
    md5_hash=st.none() | st.text(st.characters(codec="utf-8"), min_size=1),
    metadata=st.dictionaries(st.text(st.characters(codec="utf-8")), st.text("añ\"'\\\n\x00😀")),
)
def test_a_row_holds_what_the_event_held(  # noqa: PLR0913 - the event has as many facts
    *,
    model: str,
    version: int,
    file: str,
    environment: Environment,
    generation: int,
    size: int,
    created: datetime,
    crc32c: str | None,
    md5_hash: str | None,
    metadata: dict[str, str],
) -> None:
    row = registration(
        bucket=f"acme-{environment}",
        name=f"{model}/v{version}/{file}",
        generation=str(generation),
        size=size,
        timeCreated=created.isoformat(),
        crc32c=crc32c,
        md5Hash=md5_hash,
        metadata=metadata,
    ).row()

    assert (row["model_name"], row["model_version"]) == (model, str(version))
    assert (row["gcs_bucket"], row["environment"]) == (f"acme-{environment}", environment)
    assert row["gcs_path"] == f"{model}/v{version}/{file}"
    assert (row["generation"], row["file_size_bytes"]) == (str(generation), str(size))
    assert datetime.fromisoformat(str(row["upload_timestamp"])) == created
    assert (row["crc32c"], row["md5_hash"]) == (crc32c, md5_hash)
    assert row["uploader"] == metadata.get("uploader")
    assert json.loads(row["metadata"] or "{}") == metadata
