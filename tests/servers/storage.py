"""A server which lists a bucket as Cloud Storage does, a page at a time, and describes objects."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers import running

type Resource = dict[str, Any]


@dataclass
class StorageServer:
    """What is in the buckets, and what was asked. With `broken`, it fails after so many pages."""

    url: str = ""
    objects: dict[str, list[Resource]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: int | None = None
    refusal: int = 403
    page: int = 3
    unlisted: dict[str, Resource] = field(
        default_factory=dict
    )  # what only objects.get says, by name
    described: list[str] = field(default_factory=list)
    may_describe: bool = True

    def put(self, bucket: str, name: str, generation: int, **facts: object) -> Resource:
        """Add a generation of an object."""
        resource = {
            "name": name,
            "generation": str(generation),
            "size": "10",
            "timeCreated": f"2026-03-01T12:00:00.{generation:03}Z",
            "crc32c": "AAAAAA==",
            **facts,
        }
        self.objects.setdefault(bucket, []).append(resource)
        return resource


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    storage: StorageServer

    def do_GET(self) -> None:
        """Answer objects.list and objects.get."""
        address = urlsplit(self.path)
        if "/o/" in address.path:
            self.describe(
                unquote(address.path.split("/")[-3]), unquote(address.path.split("/")[-1])
            )
            return
        self.storage.asked.append(self.path)
        if not address.path.endswith("/o"):
            self.answer(404, {"error": {"code": 404, "message": "Not Found"}})
            return
        asked = {key: values[0] for key, values in parse_qs(address.query).items()}
        if self.storage.broken is not None and len(self.storage.asked) > self.storage.broken:
            status = self.storage.refusal
            self.answer(status, {"error": {"code": status, "message": "No."}})
            return
        bucket = unquote(address.path.split("/")[-2])
        there = sorted(
            (
                resource
                for resource in self.storage.objects.get(bucket, [])
                if resource["name"].startswith(asked.get("prefix", ""))
                and ("timeDeleted" not in resource or asked.get("versions", "").lower() == "true")
            ),
            key=lambda resource: (resource["name"], int(resource["generation"])),
        )
        begin = int(asked.get("pageToken", 0))
        end = begin + self.storage.page
        answer: Resource = {"items": there[begin:end]}
        if end < len(there):
            answer["nextPageToken"] = str(end)
        self.answer(200, answer)

    def describe(self, bucket: str, name: str) -> None:
        """Answer objects.get."""
        self.storage.described.append(name)
        if not self.storage.may_describe:
            self.answer(403, {"error": {"code": 403, "message": "No."}})
            return
        there = [one for one in self.storage.objects[bucket] if one["name"] == name]
        if not there:
            self.answer(404, {"error": {"code": 404, "message": "Not Found"}})
            return
        self.answer(200, there[-1] | self.storage.unlisted.get(name, {}))

    def answer(self, status: int, body: Resource) -> None:
        """Send a whole answer."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Stay silent."""


@contextlib.contextmanager
def storage_server() -> Iterator[StorageServer]:
    """Serve on a free port until the end of the block."""
    storage = StorageServer()
    handler = type("BoundHandler", (Handler,), {"storage": storage})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    storage.url = f"http://127.0.0.1:{server.server_port}"
    with running(server):
        yield storage
