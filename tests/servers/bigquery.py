"""A server that answers `tabledata.insertAll` as BigQuery does, also when it is in trouble."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.events import registration
from tests.servers import running

Answer = Callable[["Handler", "Request"], None]


@dataclass(frozen=True)
class Request:
    """One call of insertAll, and when it came."""

    at: float
    path: str
    connection: tuple[str, int]
    body: dict[str, Any]


@dataclass
class BigQueryServer:
    """
    Writes rows, once for each insert id.

    Each insert takes one of `answers`; after the last one, all is well. Its table has `columns`;
    `streamed` is what its streaming knows of them.
    """

    answers: Iterator[Answer]
    url: str = ""
    columns: Sequence[str] = tuple(registration().row())
    streamed: Sequence[str] = columns
    looks: int = 0  # at the table
    hidden: bool = False  # nobody may look
    requests: list[Request] = field(default_factory=list)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def write(self, request: Request) -> None:
        """Keep the rows of a request, without what is to be ignored."""
        for row in request.body["rows"]:
            known = {
                name: value
                for name, value in row["json"].items()
                if name in self.streamed or not is_of_models(request)
            }
            self.rows[row["insertId"]] = known


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves as a whole: its head alone would wait for a delayed ACK
    bigquery: BigQueryServer

    def do_GET(self) -> None:
        """Describe the table."""
        self.bigquery.looks += 1
        if self.bigquery.hidden:
            self.answer(403, {"error": {"code": 403, "message": "No.", "errors": []}})
            return
        fields = [{"name": name, "type": "STRING"} for name in self.bigquery.columns]
        names = {"projectId": "acme", "datasetId": "ml_registry", "tableId": "models"}
        self.answer(200, {"tableReference": names, "schema": {"fields": fields}})

    def do_POST(self) -> None:
        """Answer insertAll."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = Request(time.monotonic(), self.path, self.client_address, body)
        self.bigquery.requests.append(request)
        next(self.bigquery.answers, well)(self, request)

    def answer(self, status: int, body: dict[str, Any], **headers: str) -> None:
        """Send a whole answer."""
        self.send(status, json.dumps(body), Content_Type="application/json", **headers)

    def send(self, status: int, text: str, **headers: str) -> None:
        """Send a whole answer of any kind."""
        content = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Stay silent."""


def well(handler: Handler, request: Request) -> None:
    """Write the rows, and say so; refuse a column that is neither known nor to be ignored."""
    unknown = {*request.body["rows"][0]["json"]}.difference(handler.bigquery.streamed)
    if unknown and is_of_models(request) and not request.body.get("ignoreUnknownValues"):
        name = min(unknown)
        problem = {"reason": "invalid", "location": name, "message": f"no such field: {name}."}
        return row_errors(problem)(handler, request)
    handler.bigquery.write(request)
    return handler.answer(200, {"kind": "bigquery#tableDataInsertAllResponse"})


def is_of_models(request: Request) -> bool:
    """Whether it is about the table whose columns a test can take away."""
    return "/tables/models/" in request.path


def error(status: int, reason: str, message: str = "No.", **headers: str) -> Answer:
    """Refuse, in the form of Google's errors."""
    problem = {"message": message, "domain": "global", "reason": reason}
    body = {"error": {"code": status, "message": message, "errors": [problem]}}
    return lambda handler, _: handler.answer(status, body, **headers)


def bare_error(status: int) -> Answer:
    """Refuse as a proxy does, without a reason."""
    return lambda handler, _: handler.send(status, "upstream connect error")


def row_errors(*problems: dict[str, str]) -> Answer:
    """Take the request and refuse its rows, each for one problem."""
    body = {
        "insertErrors": [
            {"index": index, "errors": [problem]} for index, problem in enumerate(problems)
        ]
    }
    return lambda handler, _: handler.answer(200, body)


def cut_before_writing(handler: Handler, _: Request) -> None:
    """Close the connection instead of answering."""
    handler.close_connection = True


def cut_after_writing(handler: Handler, request: Request) -> None:
    """Write the rows, and close the connection in the middle of saying so."""
    handler.bigquery.write(request)
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"kind": "bigquery#table')
    handler.close_connection = True


def garbled(handler: Handler, _: Request) -> None:
    """Answer 200 with something that is not JSON."""
    handler.send(200, "<html>")


def silent(handler: Handler, _: Request) -> None:
    """Never answer."""
    handler.bigquery.ended.wait(120)
    handler.close_connection = True


def dripping(handler: Handler, _: Request) -> None:
    """Answer so slowly that it never ends, and never pauses for long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    with contextlib.suppress(OSError):  # the client has gone
        while not handler.bigquery.ended.wait(1):
            handler.wfile.write(b" ")
            handler.wfile.flush()
    handler.close_connection = True


def late(seconds: float, answer: Answer) -> Answer:
    """Answer after some time."""

    def answer_late(handler: Handler, request: Request) -> None:
        handler.bigquery.ended.wait(seconds)
        answer(handler, request)

    return answer_late


@contextlib.contextmanager
def bigquery_server(answers: Iterable[Answer] = ()) -> Iterator[BigQueryServer]:
    """Serve on a free port until the end of the block."""
    bigquery = BigQueryServer(iter(answers))
    handler = type("BoundHandler", (Handler,), {"bigquery": bigquery})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    bigquery.url = f"http://127.0.0.1:{server.server_port}"
    with running(server):
        try:
            yield bigquery
        finally:
            bigquery.ended.set()
