"""The entry points which Google calls, and the wiring behind them."""

import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus

import functions_framework
from cloudevents.http import CloudEvent
from flask import request
from google.auth.exceptions import DefaultCredentialsError
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from registry import log
from registry.errors import InvalidSettings
from registry.event import shorten
from registry.handler import register
from registry.outcome import Outcome, Result, Severity
from registry.settings import Settings
from registry.table import RegistryTable

_WRITING = threading.Lock()
_NOT_AN_EVENT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}

try:
    _TABLE = RegistryTable.connect(Settings.from_environ(os.environ))
except (InvalidSettings, DefaultCredentialsError) as error:
    sys.exit(f"The function cannot start. {error}")


# It would log a line of its own when there are more threads than connections to keep.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


@functions_framework.cloud_event
def register_model(event: CloudEvent) -> None:
    """
    Register the artifact whose upload Cloud Storage reports.

    Raises:
        ServiceUnavailable: The event has to be delivered again, as the row may be missing. An
            HTTP error, which the framework answers without logging a second time.
    """
    started = time.monotonic()
    try:
        outcome = register(event, _TABLE, clock=lambda: datetime.now(UTC))
        _write(outcome, started)
    except Exception as error:
        # Not even the line could be written. What is not known to be well is not acknowledged.
        raise ServiceUnavailable from error
    if outcome.error is not None:
        raise ServiceUnavailable(outcome.message) from outcome.error


@functions_framework.errorhandler(Exception)  # type: ignore[untyped-decorator] # Flask's, handed on
def answer_unreadable(error: Exception) -> HTTPException | tuple[str, int]:
    """
    Answer a request that the framework could not read as a CloudEvent.

    It would answer some with 400 and others with 500, and a stack in the log; both would bring
    the same request back for a day.
    """
    if isinstance(error, HTTPException) and error.code not in _NOT_AN_EVENT:
        return error
    headers = sorted(name.lower() for name, _ in request.headers if name.lower().startswith("ce-"))
    message = (
        "expected a CloudEvent, with the headers ce-id, ce-source, ce-specversion, ce-type and JSON"
        f" data, or all in one JSON body; found the headers {', '.join(headers) or 'of none'},"
        f" content type {shorten(request.content_type)} and the body {shorten(request.get_data())}"
    )
    outcome = Outcome(result=Result.INVALID, severity=Severity.ERROR, message=message)
    _write(outcome, time.monotonic())
    return message, HTTPStatus.OK


def _write(outcome: Outcome, started: float) -> None:
    """
    Write the line of an event.

    With LOG_EXECUTION_ID, which Google sets, the framework writes a line and its end one after the
    other: the lock keeps two threads' lines apart.
    """
    duration_ms = round((time.monotonic() - started) * 1000)
    with _WRITING:
        print(log.line(outcome, duration_ms=duration_ms), flush=True)  # noqa: T201 - it is the log
