"""The function's double: it records what is delivered to it."""

import http.server
import json
from typing import Any

type Delivery = tuple[dict[str, str], dict[str, Any]]


class Function:
    """Records each event's headers and body, and answers 204 or what a test wants."""

    def __init__(self) -> None:
        """Listen on a free port; the caller serves and closes."""
        self.deliveries: list[Delivery] = []
        self.answers: dict[str, list[int]] = {}  # by object name, the next one first
        function = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                function.deliveries.append((dict(self.headers.items()), body))
                left = function.answers.get(body["name"])
                self.send_response(left.pop(0) if left else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def about(self, name: str) -> list[Delivery]:
        """Return the deliveries about one object."""
        return [delivery for delivery in list(self.deliveries) if delivery[1]["name"] == name]
