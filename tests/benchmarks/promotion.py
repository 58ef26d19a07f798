"""
How long a promotion of many files takes, and how much memory.

    python -m tests.benchmarks.promotion [FILES]

Cloud Storage is a server of our own that answers each request after a latency, so that the time is
the command's and not the server's. A promotion cannot be faster than its copies, eight at a time:
files x latency / 8. It runs in a process of its own for each number of files, whose peak of memory
is measured.
"""

import asyncio
import contextlib
import json
import multiprocessing
import resource
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from registry.version_files import AT_ONCE

LATENCY = 0.05
PAGE = 1000
DONE = 200


class Storage:
    """Two buckets: dev with so many files, and staging, empty."""

    def __init__(self, files: int) -> None:
        """Nothing is stored but names."""
        self.dev = {f"m/v1/part-{number:05}": number + 1 for number in range(files)}
        self.staging: dict[str, int] = {}

    def answer(self, method: str, target: str) -> dict[str, Any]:
        """Answer objects.list and objects.rewrite."""
        address = urlsplit(target)
        if method == "POST":
            name = unquote(address.path.rpartition("/o/")[2])
            self.staging[name] = self.dev[name]
            of = self.resource("ml-models-staging", name)
            return {"done": True, "resource": of, "totalBytesRewritten": "1", "objectSize": "1"}
        asked = parse_qs(address.query)
        bucket = address.path.split("/b/")[1].split("/")[0]
        names = sorted(self.dev if bucket.endswith("dev") else self.staging)
        after = asked.get("pageToken", [""])[0]
        page = [name for name in names if name > after][: PAGE + 1]
        items = [self.resource(bucket, name) for name in page[:PAGE]]
        return {"items": items, **({"nextPageToken": page[PAGE - 1]} if page[PAGE:] else {})}

    def resource(self, bucket: str, name: str) -> dict[str, Any]:
        """Describe an object as Cloud Storage does."""
        return {
            "bucket": bucket,
            "name": name,
            "generation": str(self.dev[name]),
            "size": "1",
            "crc32c": "AAAAAA==",
            "contentType": "application/octet-stream",
            "timeCreated": "2026-03-01T12:00:00Z",
            "metadata": {"uploader": "ada", "git_commit": "0" * 40, "accuracy": "0.9"},
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _ = head.split(" ", 2)
                lines = [line.partition(":") for line in head.lower().splitlines()]
                sent = sum(int(value) for key, _, value in lines if key == "content-length")
                await reader.readexactly(sent)
                await asyncio.sleep(LATENCY)
                body = json.dumps(self.answer(method, target)).encode()
                kind = b"Content-Type: application/json\r\n"
                length = f"Content-Length: {len(body)}\r\n\r\n".encode()
                writer.write(b"HTTP/1.1 200 OK\r\n" + kind + length + body)
                await writer.drain()


def storage(files: int, ports: Any) -> None:  # noqa: ANN401 - a queue of another process
    """Serve until ended."""

    async def serve() -> None:
        server = await asyncio.start_server(Storage(files).serve, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def promote(files: int, port: int, answers: Any) -> None:  # noqa: ANN401 - a queue of another process
    """Promote; answer with the seconds, the peak of memory before and after, and the threads."""
    from registry import promotion  # noqa: PLC0415 - in its own process
    from registry.bucket import Bucket  # noqa: PLC0415
    from registry.environment import Environment  # noqa: PLC0415
    from tests.test_promotion import artifact, client, version  # noqa: PLC0415

    of = client(f"http://127.0.0.1:{port}")

    def connect(name: str) -> Bucket:
        return Bucket(of, name)

    peaks = [_peak()]
    started = time.monotonic()
    listed = list(connect("ml-models-dev").objects("m/v1/", for_copies=True))
    found = version([artifact(one, "dev") for one in listed])
    planned = promotion.plan(found, listed, [], Environment.STAGING)
    peaks.append(_peak())
    copying = time.monotonic()
    done = 0

    def on_object() -> None:
        nonlocal done
        done += 1
        if done == DONE:
            peaks.append(_peak())

    promotion.promote(planned, connect, on_object)
    ended = time.monotonic()
    peaks.append(_peak())
    assert done == files
    answers.put((ended - started, ended - copying, peaks, threading.active_count()))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measured(files: int) -> Iterator[str]:
    """Measure one number of files."""
    fresh = multiprocessing.get_context("spawn")
    ports, answers = fresh.Queue(), fresh.Queue()
    server = fresh.Process(target=storage, args=(files, ports), daemon=True)
    server.start()
    client = fresh.Process(target=promote, args=(files, ports.get(), answers))
    client.start()
    whole, copies, peaks, _ = answers.get()
    client.join()
    server.terminate()
    floor = files * LATENCY / AT_ONCE
    yield f"{files:>7,} files: {whole:6.1f} s, {copies:6.1f} s of it copying and comparing;"
    yield f" the floor is {floor:6.1f} s: {whole / floor:.2f} times that."
    before, planned, early, after = peaks
    yield f" MB: {before:.0f} at the start, {planned:.0f} planned,"
    yield f" {early:.0f} after {DONE} copies, {after:.0f} at the end\n"


def main() -> None:
    """Measure some numbers of files."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{datetime.now(UTC):%Y-%m-%d}, {LATENCY * 1000:.0f} ms a request, {AT_ONCE} at once")  # noqa: T201
    for files in (most // 10, most):
        print("".join(measured(files)), end="", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
