"""The local Cloud Storage and its events, as Google's clients and the function see them."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import requests
from google.api_core.exceptions import BadRequest, NotFound, PreconditionFailed

from tests.processes import answers, free_port, process, wait_until
from tests.servers.local_storage import PYTHON, SCRIPT, Cloud, served

CONTENT = bytes(range(256)) + b"\r\n\r\n--\r\n\n"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One Cloud Storage for all tests here; each test writes its own objects."""
    with served(tmp_path_factory.mktemp("storage") / "log") as cloud:
        yield cloud


def media(cloud: Cloud, name: str) -> None:
    """Upload a JSON file; its content must not be read as a request."""
    url = f"{cloud.url}/upload/storage/v1/b/ml-models-dev/o?uploadType=media&name={quote(name)}"
    answer = requests.post(url, b"[]", headers={"content-type": "application/json"}, timeout=10)
    assert answer.ok, answer.text


def multipart(cloud: Cloud, name: str) -> None:
    """Upload metadata and content in one request."""
    cloud.dev.blob(name).upload_from_string(CONTENT)


def resumable(cloud: Cloud, name: str) -> None:
    """Upload in chunks."""
    cloud.dev.blob(name, chunk_size=2**18).upload_from_string(CONTENT * 2000)


def stream(cloud: Cloud, name: str) -> None:
    """Upload without knowing the size before the end."""
    with cloud.dev.blob(name).open("wb", chunk_size=2**18) as file:
        file.write(CONTENT * 2000)


def copy(cloud: Cloud, name: str) -> None:
    """Copy within the bucket."""
    multipart(cloud, "source/" + name)
    cloud.dev.copy_blob(cloud.dev.blob("source/" + name), cloud.dev, name)


def rewrite(cloud: Cloud, name: str) -> None:
    """Copy between buckets, as a promotion does."""
    cloud.staging.blob(name).upload_from_string(CONTENT)
    cloud.dev.blob(name).rewrite(cloud.staging.blob(name))


def compose(cloud: Cloud, name: str) -> None:
    """Make one object of two."""
    multipart(cloud, "part/" + name)
    cloud.dev.blob(name).compose([cloud.dev.blob("part/" + name)] * 2)


def restore(cloud: Cloud, name: str) -> None:
    """Bring a deleted object back."""
    multipart(cloud, name)
    deleted = cloud.dev.get_blob(name)
    deleted.delete()
    cloud.dev.restore_blob(name, generation=deleted.generation)


@pytest.mark.parametrize(
    "write", [media, multipart, resumable, stream, copy, rewrite, compose, restore]
)
def test_each_way_to_write_sends_one_event(
    cloud: Cloud, write: Callable[[Cloud, str], None]
) -> None:
    name = f"ways/v1/{write.__name__}"

    write(cloud, name)

    written = cloud.dev.get_blob(name)
    [(_, resource)] = cloud.events(written.generation)
    assert resource["size"] == str(len(written.download_as_bytes()))
    assert resource["crc32c"] == written.crc32c
    assert resource["metageneration"] == "1"


def test_an_event_has_the_headers_and_the_body_of_a_real_one(cloud: Cloud) -> None:
    name = "fraud-détection/v3/model file.pkl"
    uploaded = cloud.dev.blob(name)
    uploaded.metadata = {"uploader": "zoé"}
    uploaded.upload_from_string(CONTENT, content_type="application/x-model")

    [(headers, resource)] = cloud.events(uploaded.generation)

    number = headers.pop("ce-id")
    assert re.fullmatch(r"\d{16,17}", number)
    # http.server and the framework read bytes as Latin-1, so the subject is garbled.
    assert headers.pop("ce-subject").encode("latin-1").decode() == f"objects/{name}"
    assert {key: headers[key] for key in headers if key.startswith(("ce-", "content-t"))} == {
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.storage.object.v1.finalized",
        "ce-source": "//storage.googleapis.com/projects/_/buckets/ml-models-dev",
        "ce-time": resource["timeCreated"],
        "ce-bucket": "ml-models-dev",
        "content-type": "application/json",
    }
    address = f"b/ml-models-dev/o/{quote(name, safe='')}"
    media = f"{address}?generation={uploaded.generation}&alt=media"
    created = resource["timeCreated"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created)
    assert datetime.now(UTC) - datetime.fromisoformat(created) < timedelta(minutes=1)
    assert resource.pop("etag")
    assert resource == {
        "kind": "storage#object",
        "id": f"ml-models-dev/{name}/{uploaded.generation}",
        "selfLink": f"{cloud.url}/storage/v1/{address}",
        "mediaLink": f"{cloud.url}/download/storage/v1/{media}",
        "name": name,
        "bucket": "ml-models-dev",
        "generation": str(uploaded.generation),
        "metageneration": "1",
        "contentType": "application/x-model",
        "storageClass": "STANDARD",
        "size": str(len(CONTENT)),
        "md5Hash": uploaded.md5_hash,
        "crc32c": uploaded.crc32c,
        "metadata": {"uploader": "zoé"},
        "timeCreated": created,
        "updated": created,
        "timeStorageClassUpdated": created,
    }


def test_an_event_is_sent_again_until_acknowledged_and_delays_no_other(cloud: Cloud) -> None:
    refused, accepted = cloud.dev.blob("again/v1/refused"), cloud.dev.blob("again/v1/accepted")
    cloud.function.answers[refused.name] = [500, 404]  # not only 5xx

    refused.upload_from_string(b"1")
    accepted.upload_from_string(b"2")

    wait_until(lambda: len(cloud.function.about(refused.name)) == 3)
    names = [body["name"] for _, body in cloud.function.deliveries]
    last_of_refused = len(names) - 1 - names[::-1].index(refused.name)
    assert names.index(accepted.name) < last_of_refused
    sent = cloud.function.about(refused.name)
    assert len({headers["ce-id"] for headers, _ in sent}) == 1
    assert [body for _, body in sent] == [sent[0][1]] * 3


def test_changed_metadata_makes_no_event(cloud: Cloud) -> None:
    changed = cloud.dev.blob("patched/v1/model")
    changed.metadata = {"uploader": "ann", "run": "7"}
    changed.upload_from_string(b"")

    changed.metadata = {"run": None, "accuracy": "0.9"}
    changed.patch()

    changed.reload()
    assert changed.metadata == {"uploader": "ann", "accuracy": "0.9"}
    assert changed.metageneration == 2
    assert cloud.kinds(changed.generation) == {"finalized"}


@pytest.mark.parametrize("quotes", ["''", '""', "  "])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_content_survives_every_multipart_format(cloud: Cloud, quotes: str, newline: bytes) -> None:
    """Those of gcloud put the boundary in single quotes, and end lines with a bare line feed."""
    contents = [b"", b"\n", b"\r\n", b"\r" * 9, b"--", b"--===", CONTENT, os.urandom(100_001)]
    boundary = f"boundary={quotes}".replace(quotes, f"{quotes[0]}==7=={quotes[1]}".strip())
    for content in contents:
        lines = [
            b"--==7==\nContent-Type: application/json\nMIME-Version: 1.0\n",
            json.dumps({"name": "format/ü", "contentType": "a/b"}, ensure_ascii=False).encode(),
            b"--==7==\nContent-Type: text/plain\nContent-Transfer-Encoding: binary\n",
        ]
        body = b"\n".join(lines).replace(b"\n", newline) + newline + content
        answer = requests.post(
            f"{cloud.url}/upload/storage/v1/b/ml-models-dev/o?uploadType=multipart",
            body + newline + b"--==7==--",
            headers={"content-type": f"multipart/related; {boundary}"},
            timeout=10,
        )

        assert answer.ok, answer.text
        written = cloud.dev.get_blob("format/ü")
        assert written.download_as_bytes() == content
        assert written.content_type == "a/b"


def test_generations_are_microseconds_and_all_differ(cloud: Cloud) -> None:
    """Also when the same names are written many times at once."""

    def write(number: int) -> int:
        answer = requests.post(
            f"{cloud.url}/upload/storage/v1/b/ml-models-dev/o?uploadType=media&name=g{number % 5}",
            b"x",
            timeout=10,
        )
        return int(answer.json()["generation"])

    with ThreadPoolExecutor(8) as several:
        generations = list(several.map(write, range(80)))

    assert len(set(generations)) == 80
    assert {len(str(generation)) for generation in generations} == {16}
    assert write(0) > max(generations)


@pytest.mark.parametrize("chunk_size", [None, 2**18])
def test_a_write_under_an_unmet_condition_is_refused(cloud: Cloud, chunk_size: int | None) -> None:
    upload = cloud.dev.blob(f"condition/v1/{chunk_size}", chunk_size=chunk_size)
    upload.upload_from_string(b"1" * 300_000, if_generation_match=0)
    generation = cloud.dev.get_blob(upload.name).generation

    with pytest.raises(PreconditionFailed, match="ifGenerationMatch"):
        upload.upload_from_string(b"2", if_generation_match=0)
    with pytest.raises(PreconditionFailed, match="ifMetagenerationMatch"):
        upload.upload_from_string(b"2", if_metageneration_match=2)
    with pytest.raises(PreconditionFailed, match="ifGenerationNotMatch"):
        upload.upload_from_string(b"2", if_generation_not_match=generation)
    with pytest.raises(PreconditionFailed):
        cloud.dev.blob(upload.name).delete(if_generation_match=1)
    with pytest.raises(PreconditionFailed):
        cloud.dev.blob("other").rewrite(upload, if_source_generation_match=1)
    with pytest.raises(PreconditionFailed):
        cloud.dev.blob("other").compose([upload], if_source_generation_match=[1])

    assert cloud.dev.get_blob(upload.name).generation == generation
    upload.upload_from_string(b"3", if_generation_match=generation)
    assert cloud.kinds(generation) == {"finalized", "archived"}


def test_a_read_under_an_unmet_condition_is_not_modified_or_refused(cloud: Cloud) -> None:
    multipart(cloud, "read")
    generation = cloud.dev.get_blob("read").generation
    url = f"{cloud.url}/storage/v1/b/ml-models-dev/o/read"

    def status(**query: int) -> int:
        return requests.get(url, query, timeout=10).status_code

    assert status(ifGenerationNotMatch=generation) == 304
    assert status(ifGenerationMatch=1) == 412
    assert status(generation=1) == 404
    assert status(generation=generation, ifGenerationMatch=generation) == 200


def test_a_wrong_hash_is_refused(cloud: Cloud) -> None:
    upload = cloud.dev.blob("hash")
    upload.md5_hash = "AAAAAAAAAAAAAAAAAAAAAA=="

    with pytest.raises(BadRequest, match="MD5"):
        upload.upload_from_string(b"1", checksum=None)


def test_listings_come_in_pages(cloud: Cloud) -> None:
    names = [f"pages/{number}/x" for number in range(5)] + ["pages/3", "pages/end"]
    for name in names:
        cloud.staging.blob(name).upload_from_string(b"")

    def pages(**options: object) -> tuple[list[int], set[str], set[str]]:
        found = cloud.client.list_blobs(cloud.staging, prefix="pages/", page_size=3, **options)
        sizes, listed = [], set()
        for page in found.pages:
            sizes.append(page.num_items + len(page.prefixes))
            listed |= {each.name for each in page}
        return sizes, listed, found.prefixes

    assert pages() == ([3, 3, 1], set(names), set())
    folders = {f"pages/{number}/" for number in range(5)}
    assert pages(delimiter="/") == ([3, 3, 1], {"pages/3", "pages/end"}, folders)


def test_names_that_look_alike_are_different_objects(cloud: Cloud) -> None:
    names = ["a", "a/b", "a//b", "/a", "a/", "a/../a", "a/..", "a b", "a+b", "a%2Fb", "ü/☃", "a\\b"]
    names += ["a?b#c&d", "a;b", "o/acl", "o/compose", "o/copyTo/b/x/o/y", "o/rewriteTo/b/x/o/y"]
    below = ["names/" + name for name in names]
    names += below
    for name in names:
        cloud.staging.blob(name).upload_from_string(name.encode())

    for name in names:
        found = cloud.staging.get_blob(name)
        assert found.name == name
        assert found.download_as_bytes().decode() == name
        cloud.staging.copy_blob(found, cloud.dev, "copied/" + name)
    listed = cloud.client.list_blobs(cloud.staging, prefix="names/")
    assert [each.name for each in listed] == sorted(below)

    for name in names:
        cloud.staging.blob(name).delete()
        assert not cloud.staging.blob(name).exists()


@pytest.mark.parametrize("name", [".", "..", "two\nlines"])
def test_a_name_that_cloud_storage_forbids_is_refused(cloud: Cloud, name: str) -> None:
    url = f"{cloud.url}/upload/storage/v1/b/ml-models-dev/o"

    answer = requests.post(url, b"", params={"uploadType": "media", "name": name}, timeout=10)

    assert answer.status_code == 400


def test_a_copy_keeps_all_metadata_or_has_only_those_of_the_request(cloud: Cloud) -> None:
    source = cloud.dev.blob("kept/v1/model")
    source.metadata = {"uploader": "ann ☃"}
    source.upload_from_string(CONTENT, content_type="application/x-model")

    kept, given = cloud.staging.blob("kept"), cloud.staging.blob("given")
    given.metadata = {"uploader": "bob"}
    for destination in (kept, given):
        destination.rewrite(source)

    [(_, event)] = cloud.events(cloud.staging.get_blob("given").generation)
    assert event["metadata"] == {"uploader": "bob"}
    assert "contentType" not in event
    copied = cloud.staging.get_blob("kept")
    assert (copied.metadata, copied.content_type) == (source.metadata, source.content_type)
    assert (copied.crc32c, copied.md5_hash) == (source.crc32c, source.md5_hash)
    assert copied.metageneration == 1


def test_a_composite_object_has_no_md5_and_neither_has_its_copy(cloud: Cloud) -> None:
    parts = [cloud.dev.blob(f"composite/part{number}") for number in range(3)]
    for part in parts:
        part.upload_from_string(CONTENT)
    composite = cloud.dev.blob("composite/v1/model")
    composite.content_type = "application/x-model"
    composite.md5_hash = "of the first part"  # as gcloud sends it; Cloud Storage ignores it

    composite.compose(parts)
    copied = cloud.dev.copy_blob(composite, cloud.staging)

    for written in (composite, copied):
        [(_, event)] = cloud.events(written.generation)
        assert "md5Hash" not in event
        assert event["componentCount"] == 3
        assert event["contentType"] == "application/x-model"
        assert written.download_as_bytes(checksum="crc32c") == CONTENT * 3
        assert written.download_as_bytes(checksum="md5") == CONTENT * 3


def test_a_missing_object_is_answered_as_clients_expect(cloud: Cloud) -> None:
    missing = cloud.dev.blob("missing")

    assert not missing.exists()
    for ask in (missing.reload, missing.delete, missing.download_as_bytes, missing.patch):
        with pytest.raises(NotFound, match="No such object"):
            ask()
    with pytest.raises(NotFound):
        cloud.client.bucket("no-such-bucket").blob("a").upload_from_string(b"")
    with pytest.raises(NotFound):
        list(cloud.client.list_blobs("no-such-bucket"))


def test_a_batch_deletes_several(cloud: Cloud) -> None:
    uploads = [cloud.dev.blob(f"batch/{number} ü") for number in range(3)]
    for upload in uploads:
        upload.upload_from_string(b"")

    with cloud.client.batch():
        for upload in uploads:
            upload.delete()

    assert not list(cloud.client.list_blobs(cloud.dev, prefix="batch/"))


def test_gcloud_finds_everything_else_that_it_asks_for(cloud: Cloud) -> None:
    """It uploads large files to a path of its own, and asks what kind of bucket it is."""
    layout = requests.get(f"{cloud.url}/storage/v1/b/ml-models-dev/storageLayout", timeout=10)
    assert layout.json()["hierarchicalNamespace"] == {"enabled": False}

    url = f"{cloud.url}/resumable/upload/storage/v1/b/ml-models-dev/o?uploadType=resumable"
    session = requests.post(url, json={"name": "gcloud/v1/large"}, timeout=10).headers["location"]
    progress = {"content-range": "bytes */5"}
    nothing = requests.put(session, headers=progress, timeout=10, allow_redirects=False)
    assert (nothing.status_code, nothing.headers.get("range")) == (308, None)
    done = requests.put(session, b"12345", timeout=10, headers={"content-range": "bytes 0-4/5"})
    assert done.json()["name"] == "gcloud/v1/large"
    again = requests.put(session, headers=progress, timeout=10)
    assert again.json() == done.json()
    assert len(cloud.events(int(done.json()["generation"]))) == 1


def test_a_slow_client_delays_no_other(cloud: Cloud) -> None:
    go_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"1"
        go_on.wait(10)
        yield b"2"

    url = f"{cloud.url}/upload/storage/v1/b/ml-models-dev/o?uploadType=media&name=slow"
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(requests.post, url, slowly(), timeout=10)
        multipart(cloud, "fast")
        go_on.set()
        assert slow.result().json()["size"] == "2"


def test_it_listens_on_the_loopback_address_only(cloud: Cloud) -> None:
    listening = psutil.Process(cloud.process.pid).net_connections()

    assert {each.laddr.ip for each in listening if each.status == psutil.CONN_LISTEN} == {
        "127.0.0.1"
    }


def test_a_taken_port_is_reported_in_one_line(cloud: Cloud) -> None:
    port = cloud.url.rpartition(":")[2]
    command = [str(PYTHON), str(SCRIPT), "--port", port, "--deliver-to", cloud.function.url]

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert ended.returncode == 1
    assert ended.stderr == f"cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_quietly(tmp_path: Path, number: signal.Signals) -> None:
    """Also while an event cannot be delivered."""
    port, log = free_port(), tmp_path / "log"
    nobody = f"http://127.0.0.1:{free_port()}/"
    command = [PYTHON, SCRIPT, "--port", port, "--deliver-to", nobody, "--bucket", "ml-models-dev"]
    with process(command, log) as running:
        url = f"http://127.0.0.1:{port}"
        wait_until(answers(url, running, log))
        upload = f"{url}/upload/storage/v1/b/ml-models-dev/o?uploadType=media&name=m/v1/f"
        assert requests.post(upload, b"x", timeout=10).ok
        wait_until(lambda: "gs://ml-models-dev/m/v1/f not delivered" in log.read_text())

        running.send_signal(number)

        assert running.wait(5) == 0
    assert "Traceback" not in log.read_text()
