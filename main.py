"""The entry points which Google calls, and the wiring behind them."""

import gc

gc.disable()  # of what is imported, nothing is garbage

import functools
import logging
import os
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import functions_framework
from cloudevents.http import CloudEvent
from flask import Request, Response, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from registry import log
from registry.bigquery import connect
from registry.errors import InvalidSettings, NoCredentials
from registry.event import shorten
from registry.handler import register
from registry.outcome import Outcome, Result, Severity
from registry.settings import Settings
from registry.table import RegistryTable

if TYPE_CHECKING:
    from registry.page import Page

_WRITING = threading.Lock()
_STARTING = threading.Lock()
_EXAMPLES = 10
_NOT_AN_EVENT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}

try:
    _SETTINGS = Settings.from_environ(os.environ)
    _CLIENT = connect(_SETTINGS)
except (InvalidSettings, NoCredentials) as error:
    sys.exit(f"The function cannot start. {error}")

_TABLE = RegistryTable(_CLIENT, _SETTINGS.table)

gc.freeze()  # it stays for good, so no collection need look at it
gc.enable()

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


@functions_framework.http
def inventory(asked: Request) -> Response:
    """Answer the web page of the inventory: it reads, and changes nothing."""
    with _STARTING:
        page = _page()
    try:
        return page.respond(asked)
    except Exception as error:  # noqa: BLE001 - a reader gets an answer, the log the stack
        _print(log.problem(error))
        return page.explain(asked, error)


@functions_framework.http
def reconcile(asked: Request) -> tuple[dict[str, object], int]:
    """
    Let the registry catch up with the bucket which the variable BUCKET names.

    Answers with the number of findings of each kind, and the first of them; 503 if it could not be
    done, and has to be tried again.
    """
    if asked.method != "POST":
        return {"error": f"expected POST, found {asked.method}"}, HTTPStatus.METHOD_NOT_ALLOWED
    from registry import reconciliation  # noqa: PLC0415 - uploads need none of what it imports
    from registry.bucket import Bucket  # noqa: PLC0415
    from registry.inventory import Inventory  # noqa: PLC0415

    try:
        bucket = Bucket.connect(_SETTINGS, os.environ.get("BUCKET", ""))
        findings: Counter[str] = Counter()
        examples: list[str] = []
        for finding in reconciliation.reconcile(
            bucket,
            Inventory(_CLIENT, _SETTINGS.table),
            _TABLE,
            clock=lambda: datetime.now(UTC),
        ):
            findings[finding.difference.value] += 1
            if findings[finding.difference.value] <= _EXAMPLES:
                examples.append(str(finding))
    except Exception as error:  # noqa: BLE001 - whoever asked is told, and the log has the stack
        _print(log.problem(error))
        return {"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE
    told: dict[str, object] = {"bucket": bucket.name}
    told |= {kind.value: findings[kind.value] for kind in reconciliation.Difference}
    _print(log.reconciled(told, examples))
    return told | {"examples": examples}, HTTPStatus.OK


@functools.cache
def _page() -> "Page":
    """Make the page with the first request, as uploads need none of what it imports."""
    from registry.inventory import Inventory  # noqa: PLC0415
    from registry.page import Page  # noqa: PLC0415

    return Page(Inventory(_CLIENT, _SETTINGS.table), clock=lambda: datetime.now(UTC))


def _write(outcome: Outcome, started: float) -> None:
    duration_ms = round((time.monotonic() - started) * 1000)
    _print(log.line(outcome, duration_ms=duration_ms))


def _print(line: str) -> None:
    """
    Print a line to the log.

    With LOG_EXECUTION_ID, which Google sets, the framework writes a line and its end one after the
    other: the lock keeps two threads' lines apart.
    """
    with _WRITING:
        print(line, flush=True)  # noqa: T201 - it is the log
