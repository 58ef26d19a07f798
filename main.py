"""The entry points that Google calls, and the wiring behind them."""

import gc

gc.disable()  # nothing of what is imported is garbage

import functools
import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import functions_framework
from cloudevents.http import CloudEvent
from flask import Request, Response, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from registry import log
from registry.clients import certificates, connect
from registry.errors import InvalidSettings, NoCredentials
from registry.handler import register, unreadable
from registry.outcome import Outcome
from registry.settings import Settings
from registry.table import RegistryTable

if TYPE_CHECKING:
    from registry.finding import Summary
    from registry.page import Page

_STARTING = threading.Lock()
_NOT_AN_EVENT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}


def _choose_certificates() -> None:
    """Set the variable that requests reads for each connection, for a token's too."""
    folder = os.environ.get("SSL_CERT_DIR") or "/etc/ssl/certs"  # OpenSSL's variable for it
    chosen = certificates(folder, os.environ)
    if chosen is not None:
        os.environ["REQUESTS_CA_BUNDLE"] = chosen
        return
    found = f"expected hashed certificates in {folder}, found none"
    log.write(log.warning(f"{found}: using certifi's, which makes a start slower"))


try:
    _SETTINGS = Settings.from_environ(os.environ)
    if not _SETTINGS.emulated:  # an emulator speaks plain HTTP
        _choose_certificates()
    _CLIENT = connect(_SETTINGS)
except (InvalidSettings, NoCredentials) as error:
    sys.exit(f"The function cannot start. {error}")

_TABLE = RegistryTable(_CLIENT, _SETTINGS.table, threads=_SETTINGS.threads)

gc.freeze()  # all of this stays, so no collection needs to look at it
gc.enable()

# It logs a line of its own when there are more threads than connections to keep.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


@functions_framework.cloud_event
def register_model(event: CloudEvent) -> None:
    """
    Register the artifact whose upload Cloud Storage reports, or record its removal.

    Raises:
        ServiceUnavailable: The event has to be delivered again, because the row may be missing. It
            is an HTTP error, which the framework answers without logging it a second time.
    """
    started = time.monotonic()
    try:
        outcome = register(event, _TABLE, clock=_now)
        _write(outcome, started)
    except Exception as error:
        # Logging itself failed. Never acknowledge what may not be registered.
        raise ServiceUnavailable from error
    if outcome.error is not None:
        raise ServiceUnavailable(outcome.message) from outcome.error


@functions_framework.errorhandler(Exception)  # type: ignore[untyped-decorator] # Flask's, handed on
def answer_unreadable(error: Exception) -> HTTPException | tuple[str, int]:
    """
    Acknowledge a request that the framework could not read as a CloudEvent.

    The framework would answer 400 or 500, and the same request would come back for a day.
    """
    if isinstance(error, HTTPException) and error.code not in _NOT_AN_EVENT:
        return error
    names = (name for name, _ in request.headers)
    outcome = unreadable(names, request.content_type, request.get_data())
    _write(outcome, time.monotonic())
    return outcome.message, HTTPStatus.OK


@functions_framework.http
def inventory(asked: Request) -> Response:
    """Answer a request for the page."""
    with _STARTING:
        page = _page()
    try:
        return page.respond(asked)
    except Exception as error:  # noqa: BLE001 - the reader gets an answer, and the log the stack
        log.write(log.problem(error))
        return page.explain(asked, error)


@functions_framework.http
def reconcile(asked: Request) -> tuple[dict[str, object], int]:
    """
    Reconcile the bucket that the variable BUCKET names.

    Answers with the number of findings of each kind and the first of them; 503 if it has to be
    tried again.
    """
    if asked.method != "POST":
        return {"error": f"expected POST, found {asked.method}"}, HTTPStatus.METHOD_NOT_ALLOWED
    from registry import reconciliation  # noqa: PLC0415 - uploads need nothing of what it imports
    from registry.bucket import Bucket  # noqa: PLC0415
    from registry.finding import Summary  # noqa: PLC0415
    from registry.inventory import Inventory  # noqa: PLC0415

    name, summary = os.environ.get("BUCKET", ""), Summary()
    try:
        bucket = Bucket.connect(_SETTINGS, name)
        known = Inventory(_CLIENT, _SETTINGS.table)
        for finding in reconciliation.reconcile(bucket, known, _TABLE, clock=_now):
            summary.add(finding)
        unlike = reconciliation.unlike_staging(name, known)
    except Exception as error:  # noqa: BLE001 - the caller gets an answer, and the log the stack
        log.write(log.problem(error))
        if summary.lost:  # it is corrected, so the next run does not find it
            log.write(_found(name, summary))
        return {"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE
    log.write(_found(name, summary))
    if unlike:
        counts = {one.comparison: one.versions for one in unlike}
        log.write(log.unlike_staging(counts, {one.comparison: one.examples for one in unlike}))
    return {"bucket": name, **summary.by_kind(), "examples": summary.examples}, HTTPStatus.OK


def _found(bucket: str, summary: "Summary") -> str:
    return log.reconciled(
        {"bucket": bucket, **summary.by_kind()},
        summary.examples,
        lost=summary.lost,
        lost_examples=summary.lost_examples,
    )


@functools.cache
def _page() -> "Page":
    """Make the page at the first request: uploads need nothing of what it imports."""
    from registry.inventory import Inventory  # noqa: PLC0415
    from registry.page import Page  # noqa: PLC0415

    return Page(Inventory(_CLIENT, _SETTINGS.table), clock=_now, links=_SETTINGS.links)


def _now() -> datetime:
    return datetime.now(UTC)


def _write(outcome: Outcome, started: float) -> None:
    duration_ms = round((time.monotonic() - started) * 1000)
    log.write(log.line(outcome, duration_ms=duration_ms))
