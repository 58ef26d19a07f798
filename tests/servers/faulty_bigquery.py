"""A BigQuery that fails in all the ways that BigQuery does, as often as a seed says."""

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.servers import bigquery as server
from tests.servers.bigquery import Answer

FAULT_RATE = 0.2

# BigQuery remembers an insert id for about a minute, and promises nothing.
REMEMBERED_SECONDS = 2
REMEMBERED_RATE = 0.9

# The table, and what makes a generation the one that it is.
type Key = tuple[str, str, str, int]


def chance(seed: int, *of: object) -> random.Random:
    """Return dice that fall the same for the same seed, in whatever order threads throw them."""
    return random.Random(f"{seed} {of}")  # noqa: S311


def key_of(table: str, row: Mapping[str, Any]) -> Key:
    return table, row["gcs_bucket"], row["gcs_path"], int(row["generation"])


def _row(request: server.Request) -> tuple[Key, dict[str, Any]]:
    [row] = request.body["rows"]
    table = request.path.split("/tables/")[1].split("/")[0]
    return key_of(table, row["json"]), row["json"]


class FaultyBigQuery:
    """The rows that BigQuery has, its faults, and what it remembers of insert ids."""

    def __init__(self, seed: int, hopeless: Mapping[Key, bool]) -> None:
        """
        `hopeless` are the rows that it never confirms, however often they come.

        True for those that are written, although the answer does not say so.
        """
        self.rows: list[tuple[Key, dict[str, Any]]] = []
        self.faults = 0
        self.down_until = 0.0
        self._seed = seed
        self._hopeless = hopeless
        self._lock = threading.Lock()
        self._attempts: Counter[Key] = Counter()
        self._writes: Counter[Key] = Counter()
        self._remembered: dict[str, float] = {}
        self._well = well = self._writing(server.well)
        self._down = server.error(503, "backendError")
        self._refusal = server.error(403, "quotaExceeded")
        self._cut_after_writing = self._writing(server.cut_after_writing)
        # How often, and what. First the faults that a retry within the call gets through.
        self._faults: list[tuple[float, Answer]] = [
            (8, server.error(503, "backendError")),
            (4, server.error(500, "internalError")),
            (4, server.bare_error(502)),
            (4, server.error(429, "rateLimitExceeded")),
            (4, server.error(429, "rateLimitExceeded", Retry_After="1")),
            (2, server.error(403, "rateLimitExceeded")),
            (6, server.late(1, well)),
            (2, server.late(2, server.bare_error(504))),
            (1, server.late(7.5, well)),  # written when the caller has gone
            (6, server.cut_before_writing),
            (8, self._cut_after_writing),
            (3, server.garbled),
            (3, self._writing(server.garbled)),
            # Then those that fail the call at once.
            (2, server.error(404, "notFound")),
            (2, server.error(403, "quotaExceeded")),
            (2, server.error(429, "rateLimitExceeded", Retry_After="600")),
            (2, server.row_errors({"reason": "timeout", "location": "", "message": "No."})),
        ]

    def answer(self, handler: server.Handler, request: server.Request) -> None:
        """Answer insertAll, well or not."""
        key, _ = _row(request)
        with self._lock:
            attempt = self._attempts[key]
            self._attempts[key] += 1
            answer = self._choose(key, attempt)
            self.faults += answer is not self._well
        answer(handler, request)

    def _choose(self, key: Key, attempt: int) -> Answer:
        dice = chance(self._seed, "fault", key, attempt)
        if key in self._hopeless:
            written = self._hopeless[key] and attempt == 0
            return self._cut_after_writing if written else self._refusal
        if time.monotonic() < self.down_until:
            return self._down
        if dice.random() >= FAULT_RATE:
            return self._well
        weights = [weight for weight, _ in self._faults]
        [(_, fault)] = dice.choices(self._faults, weights)
        return fault

    def _writing(self, answer: Answer) -> Answer:
        def write_and_answer(handler: server.Handler, request: server.Request) -> None:
            self._write(request)
            answer(handler, request)

        return write_and_answer

    def _write(self, request: server.Request) -> None:
        """Keep the row, unless its insert id is known: for a short while, and not surely."""
        key, row = _row(request)
        insert_id, now = request.body["rows"][0]["insertId"], time.monotonic()
        with self._lock:
            write = self._writes[key]
            self._writes[key] += 1
            is_recent = now - self._remembered.get(insert_id, 0) < REMEMBERED_SECONDS
            attentive = chance(self._seed, "memory", key, write).random() < REMEMBERED_RATE
            if not (is_recent and attentive):
                self._remembered[insert_id] = now
                self.rows.append((key, row))
