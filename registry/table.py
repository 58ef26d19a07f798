"""The registry's table in BigQuery, and the only writer to it."""

import time
from http import HTTPStatus
from typing import cast

from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import TransportError
from google.cloud import bigquery

from registry.errors import AppendFailed
from registry.registration import Registration
from registry.settings import Settings

# An attempt ends within CONNECT + ANSWER = 10 s. No attempt, and no wait that BigQuery asks for,
# is begun later than RETRY after the first, so all is over within 45 s: the answer leaves before
# the platform ends the call at 60 s, whereas the client's own defaults wait for ten minutes.
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 7.0
LONGEST_WAIT_SECONDS = CONNECT_SECONDS + ANSWER_SECONDS
RETRY_SECONDS = 35.0

_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_TRANSIENT_REASONS = {"rateLimitExceeded", "backendError", "internalError"}
_REMEDIES: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "grant the service account roles/bigquery.dataEditor on the table",
    HTTPStatus.NOT_FOUND: "create the table with deploy/bigquery/models.sql",
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
        self._table = f"{client.project}.{table}"

    @classmethod
    def connect(cls, settings: Settings) -> "RegistryTable":
        """
        Make the client; nothing is sent to BigQuery yet.

        Raises:
            google.auth.exceptions.DefaultCredentialsError: There are no credentials.
        """
        credentials = AnonymousCredentials() if settings.emulated else None  # type: ignore[no-untyped-call] # google-auth types this class in part
        client = bigquery.Client(project=settings.project, credentials=credentials)
        return cls(client, settings.table)

    def append(self, registration: Registration) -> None:
        """
        Append one row; when this returns, BigQuery has confirmed it.

        A column which the table lacks is left out, so that a table without the lineage columns
        goes on working. The insert id lets BigQuery drop a repeat, which makes it safe to send
        again whatever was not confirmed.

        Raises:
            AppendFailed: BigQuery refused the row, or did not confirm it within 45 s.
        """
        try:
            row_errors = self._client.insert_rows_json(
                self._table,
                [registration.row()],
                row_ids=[registration.insert_id],
                ignore_unknown_values=True,
                retry=_RETRY,
                # The client hands this on to requests, which takes the pair.
                timeout=cast("float", (CONNECT_SECONDS, ANSWER_SECONDS)),
            )
        except Exception as error:
            # Whatever it is, from a name that does not resolve to an answer that is cut off: the
            # row is not confirmed.
            raise AppendFailed(self._explain(error)) from error
        if row_errors:
            reasons = "; ".join(
                f"{problem.get('reason')}: {problem.get('location')}: {problem.get('message')}"
                for row in row_errors
                for problem in row["errors"]
            )
            raise AppendFailed(
                f"expected {self._table} to take the row, found {reasons}:"
                " compare its columns with deploy/bigquery/models.sql"
            )

    def _explain(self, error: Exception) -> str:
        cause = error.cause if isinstance(error, RetryError) else error
        text = f"expected {self._table} to take the row, found {type(cause).__name__}: {cause}"
        remedy = _REMEDIES.get(_status(cause))
        return f"{text}: {remedy}" if remedy else text


def _a_repeat_may_help(error: Exception) -> bool:
    """
    Whether the same request stands a chance within this call.

    An answer says so itself: busy, or broken. A missing table or permission is mended by
    somebody, hence not now: the event is delivered again later. No answer at all is the network's
    doing, and requests' errors are all OSErrors.
    """
    if isinstance(error, GoogleAPICallError):
        busy = _status(error) in _BUSY or _status(error) >= HTTPStatus.INTERNAL_SERVER_ERROR
        transient = any(problem.get("reason") in _TRANSIENT_REASONS for problem in error.errors)
        return (busy or transient) and _asked_to_wait(error) <= LONGEST_WAIT_SECONDS
    return isinstance(error, OSError | TransportError)


def _status(error: BaseException) -> int:
    """Give the answer's HTTP status, 0 where there was no answer."""
    return getattr(error, "code", None) or 0


def _asked_to_wait(error: BaseException) -> int:
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
