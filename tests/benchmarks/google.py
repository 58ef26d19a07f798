"""
What the function meets at Google, as fast as possible: a BigQuery over TLS that takes every row; a
metadata server that hands out tokens; a Cloud Storage that lists a bucket.

As a program it serves until it is ended, and writes its addresses to the folder it is given.
BigQuery waits before each answer, for as many seconds as the second argument says.
"""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import certifi
import requests

from tests import ROOT
from tests.processes import process, wait_until

BIGQUERY_HOST = "bigquery.googleapis.com"
PROJECT = "acme"
TAKEN = json.dumps({"kind": "bigquery#tableDataInsertAllResponse"})
TOKEN = json.dumps({"access_token": "x" * 1000, "expires_in": 3599, "token_type": "Bearer"})
ACCOUNT = "model-registry@acme.iam.gserviceaccount.com"
ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"
IDENTITY = json.dumps({"email": ACCOUNT, "scopes": [], "aliases": ["default"]})
METADATA = {
    "/": "",
    "/computeMetadata/v1/project/project-id": PROJECT,
    "/computeMetadata/v1/universe/universe-domain": "googleapis.com",
    **dict.fromkeys([f"{ACCOUNTS}/{name}/" for name in ("default", ACCOUNT)], IDENTITY),
    **dict.fromkeys([f"{ACCOUNTS}/{name}/token" for name in ("default", ACCOUNT)], TOKEN),
}
PAGE = 1000  # as in Cloud Storage
TIME = "2026-03-01T12:00:00Z"  # the newest objects; others are some weeks older
WEEKS, LAST_WEEK = 52, "2026-02-23"
KEY, CERTIFICATE, BUNDLE, AUTHORITIES, ADDRESSES = (
    *("key.pem", "certificate.pem", "bundle.pem", "authorities", "addresses"),
)


@dataclass(frozen=True)
class Google:
    """Where it listens, and the variables with which a function finds it."""

    bigquery: str
    metadata: str
    folder: Path

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that Google sets, and those that point here instead."""
        return {
            "GCP_PROJECT_ID": PROJECT,
            "LOG_EXECUTION_ID": "true",
            "GCE_METADATA_HOST": self.metadata,
            "GCE_METADATA_IP": self.metadata,
            # The certificates of certifi, which are read by default, and this one.
            "REQUESTS_CA_BUNDLE": str(self.folder / BUNDLE),
            "BENCHMARK_BIGQUERY": f"{BIGQUERY_HOST}={self.bigquery}",
            "PYTHONPATH": str(Path(__file__).parent / "hosts"),
        }

    @property
    def authorities(self) -> str:
        """The folder that stands for /etc/ssl/certs: SSL_CERT_DIR names it."""
        return str(self.folder / AUTHORITIES)

    @property
    def connections(self) -> int:
        """How many connections to BigQuery were opened."""
        return int(requests.get(f"http://{self.metadata}/connections", timeout=5).text)


@contextlib.contextmanager
def serving(folder: Path, delay: float = 0) -> Iterator[Google]:
    """Serve from another process until the end of the block; BigQuery answers after the delay."""
    log = folder / "google.log"
    command = [sys.executable, "-m", "tests.benchmarks.google", folder, delay]
    with process(command, log, {"PYTHONPATH": str(ROOT)}) as running:

        def listens() -> bool:
            assert running.poll() is None, log.read_text()
            return (folder / ADDRESSES).exists()

        wait_until(listens)
        bigquery, metadata = (folder / ADDRESSES).read_text().split()
        yield Google(bigquery, metadata, folder)


def certify(folder: Path) -> None:
    """Make a certificate for BigQuery's host, and a bundle and a folder that trust it."""
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    names = ["-subj", f"/CN={BIGQUERY_HOST}", "-addext", f"subjectAltName=DNS:{BIGQUERY_HOST}"]
    files = ["-keyout", str(folder / KEY), "-out", str(folder / CERTIFICATE)]
    subprocess.run([*openssl, *names, *files], check=True)
    own = (folder / CERTIFICATE).read_text()
    (folder / BUNDLE).write_text(Path(certifi.where()).read_text() + own)
    (folder / AUTHORITIES).mkdir()
    (folder / AUTHORITIES / CERTIFICATE).write_text(own)
    subprocess.run(["openssl", "rehash", str(folder / AUTHORITIES)], check=True)


def objects(bucket: str, asked: Mapping[str, list[str]]) -> str:
    """List a page of a bucket with as many objects as its name says: `b-10000-dev`."""
    size = int(bucket.split("-")[1])
    begin = int(asked.get("pageToken", ["0"])[0])
    end = min(begin + PAGE, size)
    page: dict[str, object] = {"items": [describe(number) for number in range(begin, end)]}
    if end < size:
        page["nextPageToken"] = str(end)
    return json.dumps(page)


def describe(number: int) -> Mapping[str, object]:
    """
    Describe an object as Cloud Storage lists it.

    Each model has ten versions of ten files, which came in the same week.
    """
    created = datetime.fromisoformat(TIME) - timedelta(weeks=number // 100 % WEEKS)
    return {
        "name": f"model-{number // 100:05}/v{number // 10 % 10}/file-{number % 10}.bin",
        "generation": str(1_772_366_400_000_000 + number),
        "size": "1048576",
        "timeCreated": f"{created:%Y-%m-%dT%H:%M:%SZ}",
        "crc32c": "yZRlqg==",
        "md5Hash": "CY9rzUYh03PK3k6DJie09g==",
        "metadata": {"uploader": "ana@example.com"},
    }


class Connections:
    """Answers each connection for as long as it lasts, and counts them."""

    def __init__(
        self, answer: Callable[[str, Mapping[str, list[str]]], str | None], delay: float = 0
    ) -> None:
        """`answer` returns what is at a path, for a query; None if nothing is there."""
        self.count = 0
        self._answer = answer
        self._delay = delay

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, OSError):
            async for address in _addresses(reader):
                if self._delay:
                    await asyncio.sleep(self._delay)
                url = urlsplit(address)
                found = self._answer(url.path, parse_qs(url.query))
                status, text = ("404 Not Found", "") if found is None else ("200 OK", found)
                kind = "application/json" if text.startswith("{") else "text/plain"
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n"
                    f"Metadata-Flavor: Google\r\n\r\n{text}".encode()
                )


async def _addresses(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """Read the requests of a connection, and yield what each asks for."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        _, _, rest = head.lower().partition("\r\ncontent-length:")
        await reader.readexactly(int(rest.partition("\r\n")[0] or 0))
        yield head.split(" ", 2)[1]


async def _main(folder: Path, delay: float) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    bigquery = Connections(lambda *_: TAKEN, delay)

    def plain(path: str, asked: Mapping[str, list[str]]) -> str | None:
        if path == "/connections":
            return str(bigquery.count)
        if path.endswith("/o"):
            return objects(path.split("/")[-2], asked)
        return METADATA.get(path)

    encrypted = await asyncio.start_server(bigquery, "127.0.0.1", 0, ssl=tls)
    metadata = await asyncio.start_server(Connections(plain), "127.0.0.1", 0)
    servers = [encrypted, metadata]
    addresses = [":".join(map(str, server.sockets[0].getsockname())) for server in servers]
    (folder / "written").write_text(" ".join(addresses))
    (folder / "written").rename(folder / ADDRESSES)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    certify(Path(sys.argv[1]))
    asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2])))
