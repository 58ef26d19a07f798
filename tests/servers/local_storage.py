"""The local Cloud Storage, with the function's double to deliver to."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from tests import ROOT
from tests.processes import answers, free_port, process, wait_until
from tests.servers.function import Delivery, Function

PYTHON = ROOT / ".local/venv/storage/bin/python"
SCRIPT = ROOT / "deploy/local/storage.py"


class Cloud:
    """The local Cloud Storage, a client of it, and the function that it delivers to."""

    def __init__(self, url: str, running: subprocess.Popen[bytes], function: Function) -> None:
        """Connect without credentials."""
        self.url, self.process, self.function = url, running, function
        nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
        self.client = Client("demo", nobody, client_options={"api_endpoint": url})
        self.dev = self.client.bucket("ml-models-dev")
        self.staging = self.client.bucket("ml-models-staging")

    def events(self, generation: int) -> list[Delivery]:
        """Wait until all earlier writes are delivered; return the events of one generation."""
        last = f"last/{len(self.function.deliveries)}"
        self.dev.blob(last).upload_from_string(b"")
        wait_until(lambda: bool(self.function.about(last)))

        def found() -> list[Delivery]:
            return [
                (headers, body)
                for headers, body in list(self.function.deliveries)
                if body["generation"] == str(generation)
            ]

        wait_until(lambda: bool(found()))
        return found()

    def kinds(self, generation: int) -> set[str]:
        """Return what happened to a generation, as its events say; each comes once."""
        kinds = [headers["ce-type"].rpartition(".")[2] for headers, _ in self.events(generation)]
        assert len(kinds) == len(set(kinds))
        return set(kinds)


@contextlib.contextmanager
def served(log: Path) -> Iterator[Cloud]:
    """Run it until the end of the block, with the buckets of dev and staging."""
    function, port = Function(), free_port()
    threading.Thread(target=function.server.serve_forever).start()
    command = [PYTHON, SCRIPT, "--port", port, "--deliver-to", function.url]
    for name in ("ml-models-dev", "ml-models-staging"):
        command += ["--bucket", name]
    try:
        with process(command, log) as running:
            url = f"http://127.0.0.1:{port}"
            wait_until(answers(url, running, log))
            cloud = Cloud(url, running, function)
            yield cloud
            cloud.client.close()
    finally:
        function.server.shutdown()
        function.server.server_close()
    assert "Traceback" not in log.read_text()
