"""
A version's files, downloaded into a folder that is either whole or not there.

They are written into a folder next to it, which gets its name at the end. What a run that broke off
has written there, the next one continues.
"""

import base64
import contextlib
import fcntl
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import IO

from google.api_core.exceptions import NotFound
from google.cloud.storage import transfer_manager
from google.cloud.storage.exceptions import DataCorruption
from google_crc32c import extend

from registry.bucket import ANSWER_SECONDS, Bucket
from registry.clients import explain
from registry.errors import DownloadFailed, Refused
from registry.placement import Placed

AT_ONCE = 8
_BATCH = 64  # what was asked for is waited for, also after an error: not thousands of files
_CHUNK = 2**20

type Connect = Callable[[str], "Source"]
type OnBytes = Callable[[int], None]


class Source(Bucket):
    """A bucket whose objects' contents are read as well."""

    def read(
        self, files: Sequence[tuple[Placed, "_Writer"]], start: int
    ) -> Sequence[Exception | None]:
        """Read generations from the byte `start` on; returns each one's error."""
        bucket = self._client.bucket(self.name)
        # As it is stored: a checksum is that of the stored bytes, also of a compressed object.
        options = {"start": start or None, "raw_download": True, "checksum": "crc32c"}
        results: Sequence[Exception | None] = transfer_manager.download_many(
            [(bucket.blob(one.name, generation=one.generation), file) for one, file in files],
            options | {"timeout": ANSWER_SECONDS},
            worker_type=transfer_manager.THREAD,
            max_workers=AT_ONCE,
        )
        return results


class _Stopped(Exception):
    """A person has interrupted."""


class _Writer:
    """A file that is written, from where it was broken off, and checked."""

    def __init__(self, path: Path, placed: Placed, stop: Event, on_bytes: OnBytes) -> None:
        """Read what is there. What cannot be its beginning is removed."""
        self._path, self._placed, self._stop, self._on_bytes = path, placed, stop, on_bytes
        self._file: IO[bytes] | None = None
        self.size, self._crc = _read(path)
        if self.size >= placed.size and not self.is_whole:
            path.unlink(missing_ok=True)
            self.size, self._crc = 0, 0
        on_bytes(self.size)

    @property
    def is_whole(self) -> bool:
        """Whether it has the size and the checksum that it must have."""
        return _is(self._placed, self.size, self._crc) and self._path.exists()

    def write(self, data: bytes) -> None:
        """Append to it, on a thread of the library's."""
        if self._stop.is_set():
            raise _Stopped
        if self._file is None:
            self._file = self._path.open("ab", _CHUNK)
        self._file.write(data)
        self._crc = extend(self._crc, data)
        self.size += len(data)
        self._on_bytes(len(data))

    def close(self) -> None:
        """Close the file, whether it is whole or not."""
        if self._file is not None:
            self._file.close()

    def check(self, error: Exception | None) -> None:
        """
        Check the closed file. What was broken off stays; what is wrong is removed.

        Raises:
            DownloadFailed, Refused: It is not whole.
        """
        if error is not None and not isinstance(error, DataCorruption):
            raise _failed(self._placed, error) from error
        self._path.touch()  # of an empty file nothing was written
        if not self.is_whole:
            self._path.unlink()
            raise DownloadFailed(
                f"expected {self._placed.size} bytes with crc32c {self._placed.crc32c} from"
                f" {self._placed}, found {self.size} with {_encoded(self._crc)}: run it again"
            ) from error


def download(
    files: Sequence[Placed],
    target: Path,
    connect: Connect,
    *,
    on_bytes: OnBytes = lambda _: None,
    on_wait: Callable[[], None] = lambda: None,
) -> bool:
    """
    Make a folder that holds exactly these files; returns False if it did already.

    At any moment it is whole, or not there. Two runs for the same files take turns: the second
    calls `on_wait`, and finds that nothing is left to do.

    Raises:
        Refused: The folder is there with other files, or a file was overwritten.
        DownloadFailed: Cloud Storage or this machine failed. What is whole stays for the next run.
    """
    try:
        target = Path(os.path.abspath(target))  # noqa: PTH100 - a link at its end is refused, not followed
        # The name says what the folder gets: what is continued is never of another version.
        facts = hashlib.sha256(repr((target.name, *files)).encode()).hexdigest()[:16]
        part = target.parent / f".model-registry-{facts}.part"
        if _is_there(target, files):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(part.with_suffix(".lock"), on_wait):
            if _is_there(target, files):
                return False
            part.mkdir(exist_ok=True)
            if part.is_symlink() or part.stat().st_uid != os.geteuid():
                raise Refused(f"expected {part} to be your folder, found another's: remove it")
            _fetch(files, part, connect, on_bytes)
            if not _holds(part, files):
                raise DownloadFailed(
                    f"expected exactly the files of the version in {part}, found others: remove it,"
                    " and run it again"
                )
            os.sync()  # a name that survives a power cut, with bytes that did not, would be half
            part.rename(target)
    except OSError as error:
        raise _unwritten(target, error) from error
    return True


def _is_there(target: Path, files: Sequence[Placed]) -> bool:
    """
    Return whether a folder holds exactly these files.

    Raises:
        Refused: It holds others, or cannot be replaced.
    """
    if target.is_mount() or target == Path.cwd():
        raise Refused(f"expected a folder that can be made, found {target}: name one below it")
    if not target.exists(follow_symlinks=False):
        return False
    if target.is_symlink() or not target.is_dir():
        raise Refused(f"expected a folder or nothing at {target}, found something else")
    if not any(target.iterdir()):
        return False
    if not _holds(target, files):
        raise Refused(
            f"expected {target} to be empty, or to hold exactly this version, found other files or"
            " other bytes: name another folder, or remove this one"
        )
    return True


def _holds(folder: Path, files: Sequence[Placed]) -> bool:
    """Return whether a folder holds exactly these files, by reading them."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return there == {one.path for one in files} and all(
        (folder / one.path).is_file()
        and (folder / one.path).stat().st_size == one.size
        and _is(one, *_read(folder / one.path))
        for one in files
    )


def _fetch(files: Sequence[Placed], part: Path, connect: Connect, on_bytes: OnBytes) -> None:
    """Download what is missing, several at a time; what begins at the same byte goes together."""
    stop = Event()
    missing: list[tuple[Placed, _Writer]] = []
    for one in files:
        path = part / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = _Writer(path, one, stop, on_bytes)
        if not writer.is_whole:
            missing.append((one, writer))
    missing.sort(key=lambda pair: (pair[0].bucket, pair[1].size))
    for (bucket, start), group in itertools.groupby(
        missing, key=lambda pair: (pair[0].bucket, pair[1].size)
    ):
        source = connect(bucket)
        for batch in itertools.batched(group, _BATCH):
            read = functools.partial(source.read, batch, start)
            with contextlib.ExitStack() as opened:
                for _, writer in batch:
                    opened.callback(writer.close)  # which fails, too, if the disk is full
                results = _interruptible(read, stop)
            _check(batch, results)


def _interruptible[T](read: Callable[[], T], stop: Event) -> T:
    """Wait for a read on a thread of its own. When a person interrupts it, its threads end soon."""
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            return reading.result()
        except BaseException:
            stop.set()
            raise


def _check(files: Sequence[tuple[Placed, _Writer]], results: Sequence[Exception | None]) -> None:
    """Check each file of a batch, and then raise the first error."""
    errors: list[Exception] = []
    for (_, writer), result in zip(files, results, strict=True):
        try:
            writer.check(result)
        except (DownloadFailed, Refused) as error:
            errors.append(error)
    if errors:
        raise errors[0]


@contextlib.contextmanager
def _only_one(lock: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Let one run at a time into the block. The lock of one that was killed is free."""
    while True:
        with os.fdopen(os.open(lock, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            # The run before removes the file, and a third one may have made it again.
            if lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                try:
                    yield
                finally:
                    lock.unlink()
                return


def _read(path: Path) -> tuple[int, int]:
    """Return the size and the checksum of a file; one that is not there is empty."""
    size = crc = 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            crc = extend(crc, chunk)
    return size, crc


def _is(placed: Placed, size: int, crc: int) -> bool:
    return (size, _encoded(crc)) == (placed.size, placed.crc32c)


def _encoded(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(4)).decode()


def _failed(placed: Placed, error: Exception) -> Exception:
    if isinstance(error, NotFound):
        return Refused(
            f"expected {placed}, found that it was overwritten or deleted meanwhile: run it again;"
            " if that does not help, run model-registry reconcile"
        )
    remedy = "run it again, which continues"
    if getattr(error, "code", None) == HTTPStatus.FORBIDDEN:
        remedy = "you need storage.objects.get, as in roles/storage.objectViewer"
    return DownloadFailed(f"expected to read {placed}, {explain(error, {})}: {remedy}")


def _unwritten(path: Path, error: OSError) -> DownloadFailed:
    return DownloadFailed(
        f"expected to write {path}, found {error.strerror or error}: change that, and run it"
        " again, which continues"
    )
