"""Downloads, on the local Cloud Storage: into a folder that is whole or not there."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Blob, Client

from registry.download import Source, download
from registry.errors import DownloadFailed, Refused
from registry.placement import Placed, place
from registry.rows import Artifact
from tests.processes import wait_until
from tests.servers import running
from tests.servers.local_storage import Cloud, served
from tests.servers.middle import Middle

BIG = bytes(range(256)) * 2**14  # 4 MiB


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The local Cloud Storage, with a bucket for dev."""
    with served(tmp_path_factory.mktemp("storage") / "log") as running_cloud:
        yield running_cloud


@pytest.fixture(scope="module")
def server(cloud: Cloud) -> Iterator[Middle]:
    """A server in the middle, before it."""
    middle = Middle(cloud.url)
    with running(middle):
        yield middle


@pytest.fixture
def middle(server: Middle, monkeypatch: pytest.MonkeyPatch) -> Middle:
    """The same, which changes nothing yet."""
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    server.reset()
    return server


@pytest.fixture
def connect(middle: Middle) -> Callable[[str], Source]:
    """How buckets are reached."""
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
    client = Client("demo", nobody, client_options={"api_endpoint": middle.url})
    return lambda name: Source(client, name)


def uploaded(cloud: Cloud, name: str, content: bytes) -> Blob:
    blob = cloud.dev.blob(name)
    blob.upload_from_string(content)
    return blob


def placed(cloud: Cloud, model: str, files: dict[str, bytes]) -> list[Placed]:
    """Upload a version; return what is to be downloaded."""
    return place([artifact(uploaded(cloud, f"{model}/v1/{n}", c)) for n, c in files.items()])


def artifact(blob: Blob, **columns: Any) -> Artifact:  # noqa: ANN401 - any columns
    """Make the registry's row of an object."""
    empty: dict[str, Any] = dict.fromkeys(Artifact.__dataclass_fields__)
    given = {
        "environment": "dev",
        "gcs_bucket": blob.bucket.name,
        "gcs_path": blob.name,
        "generation": blob.generation,
        "file_size_bytes": blob.size,
        "crc32c": blob.crc32c,
    }
    return Artifact(**{**empty, **given, **columns})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_version_arrives_whole_and_nothing_else_is_left(
    cloud: Cloud, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    files = {"model.pkl": BIG, "sub/deep/empty": b"", "sub/\x1b é": b"1"}
    wanted = placed(cloud, "whole", files)
    uploaded(cloud, "whole/v1/model.pkl", b"overwritten, and kept")
    seen: list[int] = []

    done = download(wanted, tmp_path / "made/m", connect, on_bytes=seen.append)

    assert done
    assert contents(tmp_path / "made/m") == files
    assert sum(seen) == len(BIG) + 1
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["m"]


def test_a_compressed_object_arrives_as_it_is_stored(
    cloud: Cloud, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    blob = cloud.dev.blob("zipped/v1/m")
    blob.content_encoding = "gzip"
    blob.upload_from_string(b"\x1f\x8b of gzip's")

    download(place([artifact(blob)]), tmp_path / "m", connect)

    assert contents(tmp_path / "m") == {"m": b"\x1f\x8b of gzip's"}


def test_a_folder_that_holds_the_version_is_left_and_an_empty_one_is_filled(
    cloud: Cloud, middle: Middle, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    wanted = placed(cloud, "again", {"a": b"1", "b/c": b"2"})
    (tmp_path / "m").mkdir()

    first, second = (download(wanted, tmp_path / "m", connect) for _ in range(2))

    assert (first, second) == (True, False)
    assert len(middle.asked) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


@pytest.mark.parametrize("change", ["other", "more", "less", "file", "link", "fifo"])
def test_other_files_at_the_folder_are_left_alone(
    change: str,
    cloud: Cloud,
    middle: Middle,
    connect: Callable[[str], Source],
    tmp_path: Path,
) -> None:
    wanted = placed(cloud, "left", {"a": b"1", "b": b"2"})
    target = tmp_path / "m"
    if change == "file":
        target.touch()
    elif change == "link":
        target.symlink_to(tmp_path)
    else:
        target.mkdir()
        (target / "a").write_bytes(b"1" if change != "other" else b"0")
    if change in {"other", "more"}:
        (target / "b").write_bytes(b"2")
    if change == "more":
        (target / "c").touch()
    if change == "fifo":
        os.mkfifo(target / "b")

    with pytest.raises(Refused, match=f"^expected .*{target}"):
        download(wanted, target, connect)

    assert middle.asked == []
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("target", [".", "/"])
def test_a_folder_that_cannot_be_replaced_is_refused(
    target: str,
    connect: Callable[[str], Source],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Refused, match="name one below it"):
        download([], Path(target), connect)


def test_what_is_whole_is_not_read_again_and_what_broke_off_is_continued(
    cloud: Cloud, middle: Middle, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    wanted = placed(cloud, "resumed", {"a": b"1", "b": BIG, "c": b"3", "d": b"4"})
    middle.change = lambda name, content: [b"5" if name.endswith("d") else content]
    target = tmp_path / "m"

    with pytest.raises(DownloadFailed):
        download(wanted, target, connect)
    assert not target.exists()
    [part] = tmp_path.glob("*.part")
    assert set(contents(part)) == {"a", "b", "c"}
    (part / "c").write_bytes(b"wrong")
    (part / "b").write_bytes(BIG[:1000])
    middle.reset()
    seen: list[int] = []

    download(wanted, target, connect, on_bytes=seen.append)

    assert contents(target) == {"a": b"1", "b": BIG, "c": b"3", "d": b"4"}
    assert sorted(middle.asked) == [
        ("resumed/v1/b", 1000),
        ("resumed/v1/c", 0),
        ("resumed/v1/d", 0),
    ]
    assert sum(seen) == sum(one.size for one in wanted)


@pytest.mark.parametrize("hashes", [True, False])
def test_other_bytes_are_refused_and_not_kept(
    hashes: bool,  # noqa: FBT001 - a parameter of the table
    cloud: Cloud,
    middle: Middle,
    connect: Callable[[str], Source],
    tmp_path: Path,
) -> None:
    wanted = placed(cloud, "other", {"a": b"right"})
    middle.change, middle.hashes = lambda _, __: [b"other"], hashes

    with pytest.raises(DownloadFailed, match=r"^expected 5 bytes with crc32c .* from gs://ml-mo"):
        download(wanted, tmp_path / "m", connect)

    assert contents(tmp_path) == {}
    middle.reset()
    assert download(wanted, tmp_path / "m", connect)


def test_a_file_that_was_overwritten_meanwhile_is_refused(
    cloud: Cloud, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    wanted = placed(cloud, "meanwhile", {"a": b"1", "b": b"2"})
    cloud.dev.blob(wanted[0].name, generation=wanted[0].generation).delete()

    with pytest.raises(Refused, match=r"/a#\d+, found that it was overwritten .*: run it again"):
        download(wanted, tmp_path / "m", connect)

    assert [*contents(tmp_path).values()] == [b"2"]


@pytest.mark.parametrize(
    "refusal",
    [
        (403, r"Forbidden: .*: you need storage\.objects\.get, as in roles/storage\.objectViewer"),
        (400, "BadRequest: .*: run it again, which continues"),
    ],
)
def test_a_refused_download_has_its_own_remedy(
    refusal: tuple[int, str],
    cloud: Cloud,
    middle: Middle,
    connect: Callable[[str], Source],
    tmp_path: Path,
) -> None:
    wanted = placed(cloud, "refused", {"a": b"1"})
    middle.refusal, found = refusal

    with pytest.raises(DownloadFailed, match=f"expected to read gs://.*, found {found}$"):
        download(wanted, tmp_path / "m", connect)


def test_a_full_disk_is_an_error_and_what_was_written_is_continued(
    cloud: Cloud, middle: Middle, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    wanted = placed(cloud, "full", {"a": BIG, "b": b"2"})
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, unlimited[1]))
    try:
        with pytest.raises(DownloadFailed, match=r"^expected to write .*, found File too large"):
            download(wanted, tmp_path / "m", connect)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    middle.reset()

    download(wanted, tmp_path / "m", connect)

    assert middle.asked == [("full/v1/a", 2**21)]
    assert contents(tmp_path / "m") == {"a": BIG, "b": b"2"}


def test_a_folder_that_cannot_be_made_is_an_error(
    cloud: Cloud, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    wanted = placed(cloud, "unmade", {"a": b"1"})
    (tmp_path / "file").touch()

    with pytest.raises(DownloadFailed, match="file/m, found File exists: change that"):
        download(wanted, tmp_path / "file/m", connect)


def test_in_a_working_folder_that_was_removed_it_is_an_error(
    connect: Callable[[str], Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(DownloadFailed, match="expected to write m, found No such file"):
        download([], Path("m"), connect)


@pytest.mark.parametrize("strange", ["extra", "link"])
def test_what_somebody_else_put_into_the_temporary_folder_is_not_taken(
    strange: str,
    cloud: Cloud,
    middle: Middle,
    connect: Callable[[str], Source],
    tmp_path: Path,
) -> None:
    wanted = placed(cloud, "taken", {"a": b"1"})
    middle.refusal = 403
    with pytest.raises(DownloadFailed):
        download(wanted, tmp_path / "m", connect)
    [part] = tmp_path.glob(".*.part")
    middle.reset()
    if strange == "extra":
        (part / "b").touch()
    else:
        part.rename(tmp_path / "elsewhere")
        part.symlink_to(tmp_path / "elsewhere")

    with pytest.raises((DownloadFailed, Refused), match=f"{part}.*found .*: remove it"):
        download(wanted, tmp_path / "m", connect)

    assert not (tmp_path / "m").exists()


def test_a_lock_that_somebody_made_a_link_is_not_followed(
    cloud: Cloud, middle: Middle, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    wanted = placed(cloud, "linked", {"a": b"1"})
    middle.refusal = 403
    with pytest.raises(DownloadFailed):
        download(wanted, tmp_path / "m", connect)
    [part] = tmp_path.glob(".*.part")
    part.with_suffix(".lock").symlink_to(tmp_path / "victim")

    with pytest.raises(DownloadFailed, match="found Too many levels of symbolic links"):
        download(wanted, tmp_path / "m", connect)

    assert not (tmp_path / "victim").exists()


def test_of_runs_at_once_the_others_wait_and_find_it_done(
    cloud: Cloud, middle: Middle, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    wanted = placed(cloud, "twice", {"a": b"1", "b": b"2"})
    waiting, go_on = threading.Event(), threading.Event()

    def held(_: str, content: bytes) -> Iterable[bytes]:
        go_on.wait(30)
        yield content

    middle.change = held
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(download, wanted, tmp_path / "m", connect)
        wait_until(lambda: bool(middle.asked))
        others = [
            pool.submit(download, wanted, tmp_path / "m", connect, on_wait=waiting.set)
            for _ in range(2)
        ]
        assert waiting.wait(30)
        go_on.set()

        assert first.result()
        assert [other.result() for other in others] == [False, False]
    assert len(middle.asked) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_ctrl_c_ends_a_download_at_once_and_the_next_one_continues(
    cloud: Cloud, middle: Middle, connect: Callable[[str], Source], tmp_path: Path
) -> None:
    wanted = placed(cloud, "interrupted", {"a": BIG, "b": b"2"})
    main_thread = threading.get_ident()

    def interrupting(name: str, content: bytes) -> Iterable[bytes]:
        yield content[: 2**21]
        if name.endswith("a"):
            wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob(".*.part/a")))
            signal.pthread_kill(main_thread, signal.SIGINT)
        for begin in range(2**21, len(content), 2**10):
            time.sleep(0.005)  # ten seconds in all, unless the client goes away
            yield content[begin : begin + 2**10]

    middle.change = interrupting
    # A shell starts a program in the background so that it ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            download(wanted, tmp_path / "m", connect)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "m").exists()
    middle.reset()

    download(wanted, tmp_path / "m", connect)

    assert contents(tmp_path / "m") == {"a": BIG, "b": b"2"}
    [start] = [start for name, start in middle.asked if name.endswith("a")]
    assert start > 0
