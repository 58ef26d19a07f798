"""A server in the middle, which passes requests for contents on, and can change the answers."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Middle(ThreadingHTTPServer):
    """
    Forwards GET to `upstream`. `asked` are the names that were read, with the first byte's number.

    `change` gets a name and its bytes, and returns the parts that are sent in their place. Without
    `hashes` no checksum comes with them. With a `refusal` that is the status instead.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reset()

    def reset(self) -> None:
        """Change nothing, and count from now on."""
        self.hashes, self.refusal = True, 0
        self.asked: list[tuple[str, int]] = []
        self.change: Callable[[str, bytes], Iterable[bytes]] = lambda _, content: [content]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class
        """Report errors, except that a client has gone away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Middle

    def do_GET(self) -> None:
        """Pass a request on, and its answer back."""
        begin = self.headers.get("Range", "bytes=0-")
        answer = requests.get(
            self.server.upstream + self.path,
            headers={"Range": begin} if "Range" in self.headers else {},
            timeout=60,
        )
        parts: Iterable[bytes] = [answer.content]
        if "/download/" in self.path:
            name = unquote(self.path.partition("?")[0].rpartition("/")[2])
            self.server.asked.append((name, int(begin[len("bytes=") :].partition("-")[0])))
            parts = self.server.change(name, answer.content)
        self.send_response_only(self.server.refusal or answer.status_code)
        for key, value in answer.headers.items():
            kept = key.lower().startswith(("x-goog-", "content-range", "content-type"))
            if kept and (self.server.hashes or key.lower() != "x-goog-hash"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        for part in parts:
            self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Stay silent."""
