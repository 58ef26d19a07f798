"""
Send a function to the benchmark's BigQuery when it looks up Google's.

Python imports this file by itself if the folder is on its path. The function is not changed: it
asks for the same host, with the same credentials, and checks the certificate.
"""

import os
import socket
from typing import Any

_host, _, _address = os.environ["BENCHMARK_BIGQUERY"].partition("=")
_look_up = socket.getaddrinfo


def _here(host: str | bytes | None, port: str | int | None, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as in the library
    if host == _host:
        host, _, port = _address.partition(":")
    return _look_up(host, port, *args, **options)


socket.getaddrinfo = _here  # type: ignore[assignment] # it is overloaded
