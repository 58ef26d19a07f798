"""The registry's table in BigQuery, and the only writer to it."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from google.api_core.exceptions import GoogleAPICallError
from google.api_core.retry import Retry
from google.auth.exceptions import TransportError
from google.cloud import bigquery

from registry.bigquery import explain, reasons
from registry.errors import AppendFailed
from registry.registration import Registration

if TYPE_CHECKING:
    from registry.reconciliation import Finding

# Attempts begin until RETRY, each ends within ATTEMPT, and BigQuery may ask for a wait of up to as
# much again: all is over within 45 s, and the answer leaves before the platform ends the call at
# 60 s. The client's own defaults would go on for ten minutes.
ATTEMPT_SECONDS = 10.0
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 7.0
LONGEST_WAIT_SECONDS = 10.0
RETRY_SECONDS = 24.0

_SHOWN_CAUSES = 3
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_TRANSIENT_REASONS = {"rateLimitExceeded", "backendError", "internalError"}
_REMEDIES = {
    "accessDenied": "run deploy/setup.sh, which grants the function's service account its roles",
    "notFound": "run deploy/setup.sh, which makes the dataset and the table",
}


class RegistryTable:
    """
    The append-only table of registrations.

    One instance, and so one client and its connections, serves all events of an instance of the
    function, from several threads at once.
    """

    def __init__(self, client: bigquery.Client, table: str) -> None:
        """`table` is `<dataset>.<table>` in the client's project."""
        self._client = client
        self._table = bigquery.TableReference.from_string(table, client.project)
        dataset = bigquery.DatasetReference(self._table.project, self._table.dataset_id)
        self._vanished = dataset.table("vanished")
        # Time-outs of a socket bound neither a name's resolution, nor the renewal of a token, nor
        # an answer that comes in drops. So an attempt runs on a thread, which is left behind when
        # it is late. Threads start with the first event, hence not before the server has forked.
        self._attempts = ThreadPoolExecutor(max_workers=32, thread_name_prefix="attempt")

    def append(self, *registrations: Registration) -> None:
        """
        Append a row for each, some hundreds at most; when this returns, BigQuery has all of them.

        A column which the table lacks is left out, so that a table without the lineage columns
        goes on working. The insert id lets BigQuery drop a repeat, which makes it safe to send
        again whatever was not confirmed.

        Raises:
            AppendFailed: BigQuery refused a row, or did not confirm them within 45 s.
        """
        self._insert(self._table, {one.insert_id: one.row() for one in registrations})

    def append_vanished(
        self, bucket: str, findings: Sequence["Finding"], found_at: datetime
    ) -> None:
        """
        Append what was found to have vanished from a bucket to the table beside, likewise.

        Raises:
            AppendFailed: BigQuery refused a row, or did not confirm them within 45 s.
        """
        rows = {}
        for finding in findings:
            identity = f"{bucket}/{finding.name}#{finding.generation or finding.time}"
            rows[hashlib.sha256(identity.encode()).hexdigest()] = {
                "gcs_bucket": bucket,
                "gcs_path": finding.name,
                "generation": None if finding.generation is None else str(finding.generation),
                "upload_timestamp": finding.time.isoformat() if finding.time else None,
                "found_at": found_at.isoformat(),
            }
        self._insert(self._vanished, rows)

    def _insert(
        self, table: bigquery.TableReference, rows: Mapping[str, Mapping[str, str | None]]
    ) -> None:
        """Insert rows by insert id."""
        try:
            row_errors = _RETRY(self._attempt)(table, rows)
        except Exception as error:
            # Whatever it is, from a name that does not resolve to an answer that is cut off: the
            # row is not confirmed.
            found = explain(error, _REMEDIES)
            raise AppendFailed(f"expected {table} to take the row, {found}") from error
        if row_errors:
            problems = [problem for refused in row_errors for problem in refused["errors"]]
            # One refused row stops the others of its request, of which nothing else is wrong.
            causes = [one for one in problems if one.get("reason") != "stopped"] or problems
            refusals = "; ".join(
                f"{cause.get('reason')}: {cause.get('location')}: {cause.get('message')}"
                for cause in causes[:_SHOWN_CAUSES]
            )
            columns = any(cause.get("reason") == "invalid" for cause in causes)
            remedy = ": compare its columns with those in deploy/bigquery/" if columns else ""
            raise AppendFailed(f"expected {table} to take the row, found {refusals}{remedy}")

    def _attempt(
        self, table: bigquery.TableReference, rows: Mapping[str, Mapping[str, str | None]]
    ) -> Sequence[Mapping[str, Any]]:
        attempt = self._attempts.submit(
            self._client.insert_rows_json,
            table,
            list(rows.values()),
            row_ids=list(rows),
            ignore_unknown_values=True,
            retry=cast("Retry", None),
            # The client hands this on to requests, which takes the pair.
            timeout=cast("float", (CONNECT_SECONDS, ANSWER_SECONDS)),
        )
        return attempt.result(ATTEMPT_SECONDS)


def _a_repeat_may_help(error: Exception) -> bool:
    """
    Whether the same request stands a chance within this call.

    An answer says so itself: busy, or broken. A missing table or permission is mended by
    somebody, hence not now: the event is delivered again later. No answer, or none in time, is the
    network's doing, and all errors of requests are OSErrors.
    """
    if isinstance(error, GoogleAPICallError):
        status = error.code or 0
        busy = status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        transient = not _TRANSIENT_REASONS.isdisjoint(reasons(error))
        return (busy or transient) and _asked_to_wait(error) <= LONGEST_WAIT_SECONDS
    return isinstance(error, OSError | TransportError)


def _asked_to_wait(error: Exception) -> int:
    """Give the seconds of the answer's Retry-After header, 0 without one."""
    response = getattr(error, "response", None)
    seconds = response.headers.get("Retry-After", "") if response is not None else ""
    return int(seconds) if seconds.isdecimal() else 0


_RETRY = Retry(
    predicate=_a_repeat_may_help,
    initial=0.5,
    maximum=8.0,
    timeout=RETRY_SECONDS,
    on_error=lambda error: time.sleep(_asked_to_wait(error)),
)
