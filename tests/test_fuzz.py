"""
Whatever arrives over HTTP: one line, no needless repeat, and no row but what the event holds.

A failure is printed with a blob that repeats it. `--hypothesis-profile` can raise the count.
"""

import base64
import http.client
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registry.event import FINALIZED
from tests.conftest import Function, serving
from tests.events import HEADERS, LOG_KEYS, MISSING, body, json_values
from tests.servers import bigquery as server

type Headers = Sequence[tuple[str, bytes]]

INT64_MAX = 2**63 - 1
PARTS = "tmp/parallel_composite_uploads"
EVENT: Headers = [(name, value.encode()) for name, value in HEADERS.items()]
STRUCTURED: Headers = [("content-type", b"application/cloudevents+json; charset=utf-8")]
JSON: Headers = [("content-type", b"application/json")]
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "1215011316659232",
    "type": FINALIZED,
    "source": "//storage.googleapis.com/projects/_/buckets/ml-models-dev",
}
FUZZ = settings(
    max_examples=max(300, settings.default.max_examples if settings.default else 0),
    deadline=None,
    derandomize=False,
    print_blob=True,
)

# --- What is sent ---------------------------------------------------------------------------------

texts = st.text(st.characters(), max_size=30)  # with halves of surrogate pairs, and NUL
names = st.builds(
    "{}/{}{}/{}".format,
    st.sampled_from(["m", "m", "a b", "\n", "", "a/b", f"gcloud/{PARTS}", f"xgsutil/{PARTS}"])
    | st.text(min_size=1, max_size=5),
    st.sampled_from(["v", "v", "v0", "v00", "V", "", "v-", "v٣", "v²"]),
    st.integers(0, 2**64) | st.sampled_from([0, 7, INT64_MAX, INT64_MAX + 1, ""]),
    texts
    | st.sampled_from(["f", "a/b", "a/", "/", "\0", "\n", "f\n", "\ud800", "f" * 1017, "é" * 512]),
)
buckets = st.builds(
    "{}{}{}".format,
    texts | st.sampled_from(["ml-models", "", "b" * 218, "b" * 219]),
    st.sampled_from(["-", "-", "", "_"]),
    st.sampled_from(["dev", "staging", "prod", "test", "DEV", "dev "]),
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(0, 2**64).map(str),
    st.sampled_from([INT64_MAX, str(INT64_MAX), INT64_MAX + 1, "0" * 19, "0" * 20, -1, 1.0, True]),
    st.sampled_from(["1_0", "+1", " 1", "1\n", "٣", "1e3", "0x1", "²"]),
)
times = st.one_of(
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    st.datetimes().map(datetime.isoformat),
    st.sampled_from(
        [
            *("2020-W17-4T07:38:57Z", "20200423T073857Z", "2020-04-23 07:38:57.1234567891Z"),
            *(
                "0001-01-01T00:00:00+12:00",
                "9999-12-31T23:59:59-12:00",
                "2020-04-23",
                "Z",
                "\ud800",
            ),
            *("2020-04-23T07:38:57+00:00:01", "2020-06-30T23:59:60Z", "2020-04-23T24:00:00Z"),
        ]
    ),
)
metadata = st.dictionaries(
    texts | st.just("uploader"), texts | st.integers() | st.floats() | st.none() | json_values
)
anything = json_values | texts | st.just(MISSING)
LIKELY = {
    "bucket": buckets,
    "name": names,
    "generation": numbers,
    "size": numbers,
    "timeCreated": times,
    "crc32c": texts,
    "md5Hash": texts,
    "metadata": metadata,
}


def changed(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Give bodies of which up to three fields differ from a good one's: most are events still."""
    return (
        st.sets(st.sampled_from(sorted(fields)), min_size=1, max_size=3)
        .flatmap(lambda keys: st.fixed_dictionaries({key: fields[key] for key in sorted(keys)}))
        .map(lambda changes: body(**changes))
    )


bodies = changed(LIKELY) | changed(dict.fromkeys([*LIKELY, "owner"], anything))

# What JSON can hold and Python's writer would not write. Of the deep ones, how deep a reader goes
# is its own affair.
raw_values = st.one_of(
    st.builds(lambda sign, n: sign + "9" * n, st.sampled_from(["", "-"]), st.integers(1, 6000)),
    st.sampled_from(["1e400", "-1e400", "1E0", "-0", "1.0", "NaN", "-Infinity", "1e-400", "01"]),
    st.sampled_from([r'"\ud800"', r'"\ud83d\ude00"', r'"\u0000"', '"\0"', r'"\u002f"', "'a'", ""]),
    st.builds(lambda n: "[" * n + "]" * n, st.integers(1, 3000)),
    st.builds(lambda n: '{"a":' * n + "1" + "}" * n, st.integers(1, 3000)),
    st.text(max_size=10),
)

# What HTTP allows, but for what frames a message, and for what the server itself refuses when it
# makes no sense: its answer is not that of an event.
NAME_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SERVERS_OWN = re.compile(
    "host|content-length|content-type|transfer-encoding|expect|x-forwarded-.*|script_name|path_info",
    re.IGNORECASE,
)
header_names = st.one_of(
    st.text(NAME_CHARACTERS, min_size=1, max_size=20),
    st.text(NAME_CHARACTERS, max_size=10).map("ce-{}".format),
    st.sampled_from(
        [
            *("ce-id", "CE-ID", "ce-type", "ce-source", "ce-specversion", "ce-subject", "ce-time"),
            *("ce-data", "ce-extensions", "ce-datacontenttype", "ce-bucket", "ce-name", "ce_type"),
            *("content-encoding", "content-language", "accept", "cookie", "origin", "range"),
            *("function-execution-id", "x-cloud-trace-context", "traceparent", "x-http-method"),
        ]
    ),
).filter(lambda name: not SERVERS_OWN.fullmatch(name))
visible = bytes([9, *range(32, 127), *range(128, 256)])
header_values = st.one_of(
    st.lists(st.sampled_from(visible), max_size=40).map(bytes),
    st.sampled_from([b"", b"1.0", b"0.3", FINALIZED.encode(), b"gzip", b"br, gzip", b"x" * 2000]),
    st.sampled_from([b"105445aa7843bc8bf206b12000100000/1;o=1", b'{"bucket": "ml-models-dev"}']),
)
content_types = st.one_of(
    header_values,
    st.sampled_from(
        [
            *(b"application/json", b"application/json; charset=utf-16", b"text/plain; charset=?"),
            *(b"application/cloudevents+json", b"application/cloudevents-batch+json"),
            *(b"multipart/form-data", b"multipart/form-data; boundary=a"),
            b"application/x-www-form-urlencoded",
        ]
    ),
)


# --- What may come of it --------------------------------------------------------------------------


def held(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Read what a body holds; None if Python cannot read it as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def text_of(value: object, limit: int) -> str | None:
    """Return a value that is text, in UTF-8, and within Cloud Storage's limit."""
    size = len(value.encode(errors="replace")) if isinstance(value, str) else 0
    return value if isinstance(value, str) and is_unicode(value) and 0 < size <= limit else None


def is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def number_of(value: object) -> int | None:
    """Return a number from 0 to the largest INT64, which may be text of at most 19 digits."""
    digits = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(digits, str) or not digits or {*digits} - {*"0123456789"}:
        return None
    return int(digits) if len(digits) <= 19 and int(digits) <= INT64_MAX else None


def time_of(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return time.astimezone(UTC) if time and time.tzinfo else None
    except (ValueError, OverflowError):
        return None


def metadata_of(value: object) -> dict[str, Any] | None:
    """Return the custom metadata if there are any, all of which BigQuery can store."""
    if not isinstance(value, dict) or not value:
        return None
    for key, held_value in value.items():
        usable = (
            held_value is None
            or (isinstance(held_value, str) and is_unicode(held_value))
            or (isinstance(held_value, int) and -INT64_MAX <= held_value <= INT64_MAX)
            or (isinstance(held_value, float) and abs(held_value) < float("inf"))
        )
        if not usable or not is_unicode(key):
            return None
    return value


def row_of(data: object) -> dict[str, Any] | None:
    """Return the row of an event by its data, less its time; None if it is about no artifact."""
    if not isinstance(data, dict):
        return None
    bucket, name = text_of(data.get("bucket"), 222), text_of(data.get("name"), 1024)
    generation, size = number_of(data.get("generation")), number_of(data.get("size"))
    time = time_of(data.get("timeCreated"))
    if bucket is None or name is None or generation is None or size is None or time is None:
        return None
    model, version, file = [*name.split("/", 2), "", ""][:3]
    digits = version.removeprefix("v")
    environment = bucket.rpartition("-")[2]
    if (
        not (model and file and digits and version.startswith("v"))
        or {*digits} - {*"0123456789"}
        or len(digits.lstrip("0")) > 19
        or int(digits) > INT64_MAX
        or "-" not in bucket
        or environment not in {"dev", "staging", "prod"}
        or name.endswith("/")
        or any(f"/{tool}/{PARTS}/" in f"/{name}" for tool in ("gcloud", "gsutil"))
    ):
        return None
    metadata = metadata_of(data.get("metadata"))
    uploader = (metadata or {}).get("uploader")
    checksums = [data.get("crc32c"), data.get("md5Hash")]
    crc32c, md5_hash = [
        value if isinstance(value, str) and value and is_unicode(value) else None
        for value in checksums
    ]
    return {
        "model_name": model,
        "model_version": str(int(digits)),
        "environment": environment,
        "gcs_bucket": bucket,
        "gcs_path": name,
        "file_size_bytes": str(size),
        "upload_timestamp": time,
        "uploader": uploader if uploader and isinstance(uploader, str) else None,
        "generation": str(generation),
        "crc32c": crc32c,
        "md5_hash": md5_hash,
        "metadata": metadata and json.dumps(metadata, sort_keys=True),
    }


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a request: the registration without its time, if there is one, and the line."""

    row: dict[str, Any] | None
    line: dict[str, Any]
    status: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Target:
    """The function, and the BigQuery behind it."""

    function: Function
    bigquery: server.BigQueryServer

    def send(self, headers: Headers, content: bytes, *, chunked: bool = False) -> Result:
        """Deliver a request as it is; what holds for each of them is checked here."""
        self.bigquery.requests.clear()
        self.bigquery.rows.clear()
        before = datetime.now(UTC)
        status = self._post(headers, content, chunked=chunked)
        after = datetime.now(UTC)

        [line] = self.function.new_lines()
        failed = line["outcome"] == "failed"
        assert list(line) == LOG_KEYS + ["stack_trace"] * failed
        assert status == (503 if failed else 200)
        rows = [sent["json"] for r in self.bigquery.requests for sent in r.body["rows"]]
        assert len(rows) <= 1
        assert rows == [*self.bigquery.rows.values()] or failed
        assert bool(rows) == (line["outcome"] in {"registered", "removed", "failed"})
        if line["outcome"] == "removed":
            [row] = rows
            assert before <= datetime.fromisoformat(row["recorded_at"]) <= after
            return Result(row=None, line=line, status=status)
        for row in rows:
            assert before <= datetime.fromisoformat(row.pop("registered_at")) <= after
            row["upload_timestamp"] = datetime.fromisoformat(row["upload_timestamp"])
            row["metadata"] = row["metadata"] and json.dumps(
                json.loads(row["metadata"]), sort_keys=True
            )
        return Result(row=rows[0] if rows else None, line=line, status=status)

    def _post(self, headers: Headers, content: bytes, *, chunked: bool) -> int:
        address = urlsplit(self.function.url)
        assert address.hostname
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        with closing(connection):
            connection.putrequest("POST", "/", skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            framing = (
                ("transfer-encoding", "chunked")
                if chunked
                else ("content-length", str(len(content)))
            )
            connection.putheader(*framing)
            connection.endheaders([content] if chunked else content, encode_chunked=chunked)
            return connection.getresponse().status


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The function, with a BigQuery which is well."""
    with (
        server.bigquery_server() as bigquery,
        serving(tmp_path_factory.mktemp("fuzz"), bigquery.url) as function,
    ):
        yield Target(function=function, bigquery=bigquery)


# --- The tests ------------------------------------------------------------------------------------


@FUZZ
@given(
    headers=st.sampled_from([EVENT, STRUCTURED, JSON, []]),
    content=st.binary(max_size=2000) | texts.map(lambda text: text.encode(errors="surrogatepass")),
    chunked=st.booleans(),
)
def test_any_bytes_are_one_line_and_no_row(
    target: Target, headers: Headers, content: bytes, *, chunked: bool
) -> None:
    assert target.send(headers, content, chunked=chunked).line["outcome"] == "invalid"


@FUZZ
@given(headers=st.sampled_from([EVENT, STRUCTURED, JSON]), value=json_values | texts)
def test_any_json_is_one_line_and_no_row(target: Target, headers: Headers, value: object) -> None:
    result = target.send(headers, json.dumps(value).encode())

    assert result.line["outcome"] == "invalid"


@FUZZ
@given(data=bodies, form=st.sampled_from(["binary", "structured", "base64"]))
@example(data=body(name="m/v1/" + "f" * 1019), form="binary")
@example(data=body(name="m/v1/\0\n\u2028\u202e", metadata={"uploader": "\0"}), form="binary")
@example(data=body(name=f"m/v{2**63}/f"), form="structured")
def test_a_row_is_what_the_event_holds_and_nothing_else(
    target: Target, data: dict[str, Any], form: str
) -> None:
    text = json.dumps(data)
    encoded = base64.b64encode(text.encode()).decode()
    headers, event = {
        "binary": (EVENT, data),
        "structured": (STRUCTURED, {**ATTRIBUTES, "data": data}),
        "base64": (STRUCTURED, {**ATTRIBUTES, "data_base64": encoded}),
    }[form]

    result = target.send(headers, json.dumps(event).encode())

    assert result.row == row_of(json.loads(text))  # where halves of a pair have met


@FUZZ
@given(key=st.sampled_from([*body(), "owner"]), raw=raw_values)
@example(key="size", raw="9" * 4301)
@example(key="metadata", raw='{"a": 1, "a": 2, "uploader": "x", "uploader": null}')
def test_a_field_of_any_text_is_read_as_json_or_not_at_all(
    target: Target, key: str, raw: str
) -> None:
    content = json.dumps(body(**{key: "@"}))

    result = target.send(EVENT, content.replace('"@"', raw).encode())

    if re.match(r"(\[|\{\"a\":){500}", raw):
        assert result.row in (None, row_of(held(content.replace('"@"', "null"))))
    else:
        assert result.row == row_of(held(content.replace('"@"', raw)))


@FUZZ
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={name: header_values for name in HEADERS if name != "content-type"}
        | {"content-type": content_types},
    ),
    more=st.lists(st.tuples(header_names, header_values), max_size=8),
    chunked=st.booleans(),
)
def test_headers_change_no_value_of_a_row(
    target: Target,
    changes: dict[str, bytes],
    more: list[tuple[str, bytes]],
    *,
    chunked: bool,
) -> None:
    headers = [*{**dict(EVENT), **changes}.items(), *more]
    types = [value.strip(b" \t") for name, value in headers if name.lower() == "ce-type"]

    result = target.send(headers, json.dumps(body()).encode(), chunked=chunked)

    if types != [FINALIZED.encode()]:
        assert result.row is None
    elif {name.lower() for name in [*changes, *dict(more)]} & {*HEADERS, "ce-extensions"}:
        assert result.row in (None, row_of(body()))  # it may be an event no more
    else:
        assert result.row == row_of(body())


@FUZZ
@given(
    changes=st.dictionaries(
        st.sampled_from(
            [*ATTRIBUTES, "time", "subject", "datacontenttype", "dataschema", "data", "bucket"]
        )
        | texts.filter(lambda name: name.lower() not in {"type", "extensions", "data_base64"}),
        anything | st.sampled_from(["0.3", "1.0", FINALIZED]),
        max_size=4,
    )
)
def test_attributes_change_no_value_of_a_row(target: Target, changes: dict[str, Any]) -> None:
    event = {**ATTRIBUTES, "data": body(), **changes}
    event = {name: value for name, value in event.items() if value is not MISSING}

    result = target.send(STRUCTURED, json.dumps(event).encode())

    assert result.row in (None, row_of(json.loads(json.dumps(event.get("data")))))
    if event.get("type") != FINALIZED:
        assert result.row is None
    elif not changes:
        assert result.row


@FUZZ
@given(
    data=bodies,
    context=st.fixed_dictionaries(
        {},
        optional={
            "eventId": anything,
            "timestamp": anything,
            "eventType": anything | st.sampled_from(["google.storage.object.delete", FINALIZED]),
            "resource": anything
            | st.dictionaries(st.sampled_from(["name", "service", "type"]), anything),
        },
    ),
)
def test_an_event_of_the_older_form_is_read_or_not_as_a_whole(
    target: Target, data: dict[str, Any], context: dict[str, Any]
) -> None:
    older = {
        "eventId": "1147091835525187",
        "timestamp": "2020-04-23T07:38:57.772Z",
        "eventType": "google.storage.object.finalize",
        "resource": {
            "service": "storage.googleapis.com",
            "name": "projects/_/buckets/ml-models-dev/objects/m/v1/model.pkl",
            "type": "storage#object",
        },
        **context,
    }
    older = {name: value for name, value in older.items() if value is not MISSING}
    content = json.dumps({"context": older, "data": data}, default=lambda _: None)

    result = target.send(JSON, content.encode())

    expected = row_of(json.loads(content)["data"])
    assert result.row == expected or (context and result.row is None)


@FUZZ
@given(data=bodies)
def test_what_a_bigquery_in_trouble_leads_to_repeats_is_an_artifact_alone(
    target: Target, data: dict[str, Any]
) -> None:
    target.bigquery.answers = itertools.repeat(server.error(404, "notFound"))
    try:
        result = target.send(EVENT, json.dumps(data).encode())
    finally:
        target.bigquery.answers = iter(())

    assert (result.status == 503) == (row_of(json.loads(json.dumps(data))) is not None)
