"""A proxy before a server, which counts requests, and from one of them on refuses all."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_THE_CONNECTION = {"connection", "transfer-encoding", "content-encoding", "content-length"}


class Proxy(ThreadingHTTPServer):
    """
    Forwards to `upstream`.

    From request `refuse_from` on it answers 403. With `lose` that request itself is still
    forwarded, but its answer is lost. `before` is called with the number of each request.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.before: Callable[[int], None] = lambda _: None
        self._lock = threading.Lock()
        self.reset()

    def reset(self, refuse_from: int | None = None, *, lose: bool = False) -> None:
        """Count from one again."""
        self.requests, self.refuse_from, self.lose = 0, refuse_from, lose

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class
        """Report errors, except that a client has gone away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def count(self) -> int:
        """Count a request; return its number."""
        with self._lock:
            self.requests += 1
            return self.requests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _forward(self) -> None:
        number = self.server.count()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.before(number)
        stop = self.server.refuse_from
        if stop is not None and (number > stop or (number == stop and not self.server.lose)):
            self._answer(403, b'{"error": {"message": "no permission"}}', {})
            return
        headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
        answer = requests.request(
            self.command, self.server.upstream + self.path, data=body, headers=headers, timeout=60
        )
        if number == stop:
            self.close_connection = True
            return
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in _OF_THE_CONNECTION}
        self._answer(answer.status_code, answer.content, kept)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815 - http.server's names

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
