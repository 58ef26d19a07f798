"""Eventarc on this machine: sends the events of writes and removals to the function."""

import heapq
import http.client
import itertools
import json
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

type Resource = dict[str, Any]

ACKNOWLEDGED = {102, 200, 201, 202, 204}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to an object, when, and the object as it was then."""

    number: int
    kind: str
    time: str
    resource: Resource


class Delivery:
    """
    Sends events to the function, each until it is acknowledged.

    It sends sixteen at once, and each event has its own back-off: a failing one delays no other.
    """

    def __init__(self, address: str) -> None:
        """Start the workers; they end with the process."""
        self._address = urlsplit(address)
        self._ids = itertools.count(time.time_ns() // 100)
        self._due: list[tuple[float, int, float, Event]] = []
        self._changed = threading.Condition()
        for _ in range(16):
            threading.Thread(target=self._work, daemon=True).start()

    def send(self, kind: str, resource: Resource, happened: str) -> None:
        """Queue an event, such as finalized, with the object as it is now."""
        body = without_empty({**resource, "acl": None})
        self._queue(Event(number=next(self._ids), kind=kind, time=happened, resource=body), wait=0)

    def _queue(self, event: Event, wait: float) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + wait, event.number, wait, event))
            self._changed.notify()

    def _next(self) -> tuple[float, Event]:
        with self._changed:
            while not self._due or self._due[0][0] > time.monotonic():
                self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
            self._changed.notify()  # another worker waits for the next
            return heapq.heappop(self._due)[2:]

    def _work(self) -> None:
        while True:
            waited, event = self._next()
            try:
                status = self._post(event)
                answer = f"answer {status}"
            except (OSError, http.client.HTTPException) as error:
                status, answer = 0, repr(error)
            if status not in ACKNOWLEDGED:
                wait = min(waited * 2 or 0.5, 30)
                name = f"gs://{event.resource['bucket']}/{event.resource['name']}"
                sys.stderr.write(f"event of {name} not delivered: {answer}; again in {wait} s\n")
                self._queue(event, wait)

    def _post(self, event: Event) -> int:
        resource = event.resource
        headers = {
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": str(event.number),
            "ce-type": f"google.cloud.storage.object.v1.{event.kind}",
            "ce-source": f"//storage.googleapis.com/projects/_/buckets/{resource['bucket']}",
            "ce-subject": f"objects/{resource['name']}".encode(),
            "ce-time": event.time,
            "ce-bucket": resource["bucket"],
        }
        to = self._address
        connection = http.client.HTTPConnection(to.hostname or "", to.port, timeout=60)
        try:
            connection.request("POST", to.path or "/", json.dumps(resource), headers)
            return connection.getresponse().status
        finally:
            connection.close()


def without_empty(answer: Resource) -> Resource:
    """Leave out what has no value, as Cloud Storage does, such as a composite object's MD5."""

    def keep(part: Resource) -> Resource:
        return {key: value for key, value in part.items() if value not in (None, [], {})}

    answered: Resource = json.loads(json.dumps(answer), object_hook=keep)
    return answered
