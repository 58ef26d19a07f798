"""Appends to the registry's tables in BigQuery; nothing else writes to them."""

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, cast

from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import bigquery

from registry.clients import explain, reasons
from registry.errors import AppendFailed
from registry.registration import LINEAGE, Registration
from registry.removal import Removal

# No attempt starts after 24 s; each may take 10 s, and BigQuery may ask for a wait of 10 s more. So
# every call ends within 45 s, and the answer leaves before the platform ends the call at 60 s. The
# client's own defaults would go on for ten minutes.
ATTEMPT_SECONDS = 10.0
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 7.0
LONGEST_WAIT_SECONDS = 10.0
RETRY_SECONDS = 24.0

LOOK_AGAIN_SECONDS = 10.0

# The client passes this on to requests, which takes the pair.
_SOCKET = cast("float", (CONNECT_SECONDS, ANSWER_SECONDS))
_COMPLETE = frozenset[str](), math.inf
_SHOWN_CAUSES = 3
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_TRANSIENT_REASONS = {"rateLimitExceeded", "backendError", "internalError"}
_REMEDIES = {
    "accessDenied": "run deploy/setup.sh, which grants the function's service account its roles",
    "notFound": "run deploy/setup.sh, which makes the dataset and the table",
}
_COLUMNS_REMEDY = (
    "compare its columns with those in deploy/bigquery/; one that was just added takes some minutes"
    " to be known, and the event comes again"
)


class RegistryTable:
    """
    The append-only tables of registrations and of removals.

    One instance, with one client and its connections, serves all events of an instance of the
    function, on several threads at once.
    """

    def __init__(self, client: bigquery.Client, table: str, *, threads: int = 1) -> None:
        """`table` is `<dataset>.<table>` in the client's project; `threads` append at once."""
        self._client = client
        self._table = bigquery.TableReference.from_string(table, client.project)
        dataset = bigquery.DatasetReference(self._table.project, self._table.dataset_id)
        self._removals = dataset.table("removals")
        # Of a table, by its name: the columns that it lacks, and when to look for them again.
        self._lacking: dict[str, tuple[AbstractSet[str], float]] = {}
        # A socket timeout covers neither DNS, nor a token refresh, nor a trickling answer. So each
        # attempt runs on a thread that we abandon when it is late. An abandoned one may go on for
        # a while, so there are twice as many. Threads start with the first event, so not before
        # the server has forked.
        self._attempts = ThreadPoolExecutor(2 * threads, thread_name_prefix="attempt")

    def append(self, *registrations: Registration) -> None:
        """
        Append a row for each registration, some hundreds at most.

        When it returns, BigQuery has all of them, in every column that the table has. An older
        table without the lineage columns goes on working. The insert id lets BigQuery drop a
        repeat, so it is safe to send again what was not confirmed.

        Raises:
            AppendFailed: BigQuery refused a row, or did not confirm them within 45 s.
        """
        self._insert(self._table, registrations)

    def append_removals(self, *removals: Removal) -> None:
        """
        Append a row for each removal to the table next to it, in the same way.

        Raises:
            AppendFailed: BigQuery refused a row, or did not confirm them within 45 s.
        """
        self._insert(self._removals, removals)

    def _insert(
        self, table: bigquery.TableReference, facts: Sequence[Registration | Removal]
    ) -> None:
        if not facts:
            return
        rows = {fact.insert_id: fact.row() for fact in facts}
        try:
            row_errors = _RETRY(self._attempt)(table, rows)
        except Exception as error:
            # Whatever happened, from DNS to a cut-off answer: the row is not confirmed.
            found = explain(error, _REMEDIES)
            raise AppendFailed(f"expected {table} to take the row, {found}") from error
        if row_errors:
            problems = [problem for refused in row_errors for problem in refused["errors"]]
            # One bad row makes BigQuery mark the good ones "stopped": report the bad one.
            causes = [one for one in problems if one.get("reason") != "stopped"] or problems
            refusals = "; ".join(
                f"{cause.get('reason')}: {cause.get('location')}: {cause.get('message')}"
                for cause in causes[:_SHOWN_CAUSES]
            )
            columns = any(cause.get("reason") == "invalid" for cause in causes)
            remedy = f": {_COLUMNS_REMEDY}" if columns else ""
            raise AppendFailed(f"expected {table} to take the row, found {refusals}{remedy}")

    def _attempt(
        self, table: bigquery.TableReference, rows: Mapping[str, Mapping[str, str | None]]
    ) -> Sequence[Mapping[str, Any]]:
        attempt = self._attempts.submit(self._send, table, rows)
        try:
            return attempt.result(ATTEMPT_SECONDS)
        finally:
            attempt.cancel()  # if all threads were busy, it has not begun, and must not any more

    def _send(
        self, table: bigquery.TableReference, rows: Mapping[str, Mapping[str, str | None]]
    ) -> Sequence[Mapping[str, Any]]:
        """
        Send rows, and let BigQuery ignore a column only if the table is known to lack it.

        A new column takes some minutes to reach BigQuery's streaming. If it may not ignore the
        column, it refuses the row meanwhile, and the event comes again. Otherwise it would drop
        the value, for good. So what the table lacks is looked up only after a refusal, and from
        then on from time to time, because somebody may add the columns.
        """
        columns = {column for row in rows.values() for column in row}
        lacking, look_again = self._lacking.get(table.table_id, _COMPLETE)
        if time.monotonic() >= look_again:
            lacking = self._look(table, columns)
        row_errors = self._stream(table, rows, lacking)
        if row_errors and (found := self._look(table, columns)) != lacking:
            row_errors = self._stream(table, rows, found)
        return row_errors

    def _stream(
        self,
        table: bigquery.TableReference,
        rows: Mapping[str, Mapping[str, str | None]],
        lacking: AbstractSet[str],
    ) -> Sequence[Mapping[str, Any]]:
        return self._client.insert_rows_json(
            table,
            list(rows.values()),
            row_ids=list(rows),
            ignore_unknown_values=bool(lacking) and lacking <= LINEAGE,
            retry=cast("Retry", None),
            timeout=_SOCKET,
        )

    def _look(self, table: bigquery.TableReference, columns: AbstractSet[str]) -> AbstractSet[str]:
        """Return the columns that a table lacks; if it cannot be looked at, what is known of it."""
        lacking, _ = self._lacking.get(table.table_id, _COMPLETE)
        with contextlib.suppress(GoogleAPIError, GoogleAuthError, OSError):
            found = self._client.get_table(table, retry=cast("Retry", None), timeout=_SOCKET)
            lacking = columns - {field.name.lower() for field in found.schema}
        look_again = time.monotonic() + LOOK_AGAIN_SECONDS if lacking else math.inf
        self._lacking[table.table_id] = lacking, look_again
        return lacking


def _may_retry(error: Exception) -> bool:
    """
    Whether to retry within this call.

    Yes if BigQuery is busy or broken. No if a table or a permission is missing: somebody has to fix
    that, and the event is delivered again later. Yes if there was no answer in time: that is the
    network, and all errors of requests are OSErrors.
    """
    if isinstance(error, GoogleAPICallError):
        status = error.code or 0
        busy = status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        transient = not _TRANSIENT_REASONS.isdisjoint(reasons(error))
        return (busy or transient) and _asked_to_wait(error) <= LONGEST_WAIT_SECONDS
    return isinstance(error, OSError | TransportError)


def _asked_to_wait(error: Exception) -> int:
    """Return the seconds of the answer's Retry-After header, 0 without one."""
    response = getattr(error, "response", None)
    seconds = response.headers.get("Retry-After", "") if response is not None else ""
    return int(seconds) if seconds.isdecimal() else 0


_RETRY = Retry(
    predicate=_may_retry,
    initial=0.5,
    maximum=8.0,
    timeout=RETRY_SECONDS,
    on_error=lambda error: time.sleep(_asked_to_wait(error)),
)
