"""The entry points which Google calls, and the wiring behind them."""

import os
import sys
import time
from datetime import UTC, datetime
from http import HTTPStatus

import functions_framework
from cloudevents.http import CloudEvent
from google.auth.exceptions import DefaultCredentialsError
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from registry import log
from registry.errors import InvalidSettings
from registry.handler import register
from registry.outcome import Outcome, Result, Severity
from registry.settings import Settings
from registry.table import RegistryTable

_NOT_AN_EVENT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}

try:
    _TABLE = RegistryTable.connect(Settings.from_environ(os.environ))
except (InvalidSettings, DefaultCredentialsError) as error:
    sys.exit(f"The function cannot start. {error}")


@functions_framework.cloud_event
def register_model(event: CloudEvent) -> None:
    """
    Register the artifact whose upload Cloud Storage reports.

    Raises:
        ServiceUnavailable: The event has to be delivered again, as the row may be missing. An
            HTTP error, which the framework answers without logging a second time.
    """
    started = time.monotonic()
    outcome = register(event, _TABLE, clock=lambda: datetime.now(UTC))
    _write(outcome, started)
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
    found = error.name if isinstance(error, HTTPException) else str(error)[:200]
    message = f"expected a CloudEvent whose data are a JSON object, found {found}"
    outcome = Outcome(result=Result.INVALID, severity=Severity.ERROR, message=message)
    _write(outcome, time.monotonic())
    return message, HTTPStatus.OK


def _write(outcome: Outcome, started: float) -> None:
    """In one call, so that the lines of two threads do not mix."""
    duration_ms = round((time.monotonic() - started) * 1000)
    sys.stdout.write(f"{log.line(outcome, duration_ms=duration_ms)}\n")
    sys.stdout.flush()
