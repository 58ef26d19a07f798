"""
Uploads and removals through all faults.

The events of many uploads and removals go through real processes of the function, which are killed
again and again, to a BigQuery that fails as BigQuery does; the view then answers from the rows that
are left.
"""

import base64
import contextlib
import io
import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from google.cloud import bigquery
from requests.exceptions import ChunkedEncodingError
from urllib3.exceptions import ProtocolError

from registry.bucket import Bucket
from registry.event import ARCHIVED, FINALIZED
from registry.finding import Finding
from registry.inventory import Inventory
from registry.reconciliation import reconcile
from registry.settings import Settings
from registry.table import RegistryTable
from tests import PROJECT, ROOT
from tests.events import HEADERS, body
from tests.processes import answers, free_port, is_alive, process, wait_until
from tests.servers import bigquery as server
from tests.servers.emulator import make_registry
from tests.servers.faulty_bigquery import FaultyBigQuery, Key, chance
from tests.servers.storage import storage_server

DATASET = "soak"
INSTANCES = 2
CONCURRENCY = 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = ["model.pkl", "weights/part 1.bin", "größe.json", "a'b\"c\\d.bin"]

# An event is given up on after so many deliveries, if no repeat helps.
TRIES = 3
HOPELESS_RATE = 0.01

# What is not overwritten may be removed in the end.
REMOVED_RATE = 0.2

# The platform ends a call then.
CALL_SECONDS = 60


@dataclass(frozen=True)
class Form:
    """How much is done, and how long it may take."""

    uploads: int
    kills: int
    outage_seconds: float
    within_seconds: float


@dataclass(frozen=True)
class Upload:
    """One write of an object, as the registry has to show it."""

    bucket: str
    path: str
    generation: int
    size: int
    crc32c: str
    time: datetime
    uploader: str
    removed_at: datetime | None = None
    registered_at: datetime | None = field(default=None, compare=False)

    @property
    def key(self) -> Key:
        """What makes its row the one that it is."""
        return "models", self.bucket, self.path, self.generation

    @property
    def as_live(self) -> "Upload":
        """The same before it was removed."""
        return replace(self, removed_at=None)

    @property
    def body(self) -> dict[str, Any]:
        """What Cloud Storage says of it."""
        times = {"timeDeleted": _text(self.removed_at)} if self.removed_at else {}
        return body(
            bucket=self.bucket,
            name=self.path,
            generation=str(self.generation),
            size=str(self.size),
            crc32c=self.crc32c,
            timeCreated=_text(self.time),
            metadata={"uploader": self.uploader},
            **times,
        )


@dataclass(frozen=True)
class Fact:
    """What an event says of an upload: that it arrived, or that it was removed."""

    upload: Upload
    is_removal: bool

    @property
    def key(self) -> Key:
        """What makes its row the one that it is."""
        table, bucket, path, generation = self.upload.key
        return "removals" if self.is_removal else table, bucket, path, generation

    @property
    def event_type(self) -> str:
        """The type of its event, in a bucket with versions."""
        return ARCHIVED if self.is_removal else FINALIZED


@dataclass(frozen=True)
class Delivery:
    """An event, which may be delivered by others as well."""

    event_id: str
    fact: Fact


def make_uploads(seed: int, count: int) -> list[Upload]:
    """
    Make uploads with overwrites and copies; three in a row have the same generation.

    What is overwritten is removed then, and some of the rest later.
    """
    dice = chance(seed, "uploads")
    uploads = [
        Upload(
            bucket=f"ml-models-{['dev', 'staging', 'prod'][number % 3]}",
            path=f"model-{dice.randrange(count // 20 + 1)}/v{dice.randint(1, 3)}"
            f"/{dice.choice(FILES)}",
            generation=1772366400000000 + number // 3,
            size=dice.randrange(5 * 2**40),
            crc32c=base64.b64encode(dice.randbytes(4)).decode(),
            time=NOON + timedelta(milliseconds=number),
            uploader=dice.choice(["ada", "grace"]),
        )
        for number in range(count)
    ]
    written: dict[tuple[str, str], datetime] = {}
    made = []
    for upload in reversed(uploads):
        place = upload.bucket, upload.path
        later = upload.time + timedelta(days=1) if dice.random() < REMOVED_RATE else None
        made.append(replace(upload, removed_at=written.get(place, later)))
        written[place] = upload.time
    return made[::-1]


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def facts_of(uploads: Sequence[Upload]) -> list[Fact]:
    return [
        Fact(upload, is_removal)
        for upload in uploads
        for is_removal in (False, True)
        if upload.removed_at or not is_removal
    ]


def make_deliveries(seed: int, facts: Sequence[Fact]) -> list[Delivery]:
    """Order the events: some twice at once, some again much later, some published twice."""
    dice = chance(seed, "deliveries")
    placed: list[tuple[float, Delivery]] = []
    for number, fact in enumerate(facts):
        place = number + dice.uniform(0, 50)
        later = place + dice.uniform(0, len(facts))
        event, published_again = Delivery(f"{number}", fact), Delivery(f"{number}-again", fact)
        placed.append((place, event))
        if dice.random() < 0.05:
            placed.append((place, event))
        if dice.random() < 0.1:
            placed.append((later, event))
        if dice.random() < 0.05:
            placed.append((later, published_again))
    return [delivery for _, delivery in sorted(placed, key=lambda pair: pair[0])]


class Instance:
    """One instance of the function, at an address which it keeps. It ends by SIGKILL only."""

    def __init__(self, folder: Path, bigquery_url: str) -> None:
        """`folder` is for what it prints."""
        self.in_flight = 0
        self.logs: list[Path] = []
        self._folder = folder
        self._bigquery_url = bigquery_url
        self._port = free_port()
        self._url = f"http://127.0.0.1:{self._port}/"
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def living(self) -> Iterator[None]:
        """Let it live until the end of the block."""
        command = [
            *(Path(sys.prefix) / "bin/functions-framework", "--target", "register_model"),
            *("--source", ROOT / "main.py", "--host", "127.0.0.1", "--port", self._port),
        ]
        environ = {
            "GCP_PROJECT_ID": PROJECT,
            "BIGQUERY_EMULATOR_HOST": self._bigquery_url,
            "THREADS": str(CONCURRENCY),
        }
        log = self._folder / f"function-{self._port}-{len(self.logs)}.log"
        self.logs.append(log)
        with process(command, log, environ) as running:
            try:
                wait_until(answers(self._url, running, log))
                yield
            finally:
                kill(psutil.Process(running.pid))

    def post(self, delivery: Delivery) -> int:
        """Deliver an event; returns the status of the answer."""
        with self._lock:
            self.in_flight += 1
        try:
            fact = delivery.fact
            headers = {**HEADERS, "ce-id": delivery.event_id, "ce-type": fact.event_type}
            event = json.dumps(fact.upload.body)
            answer = requests.post(self._url, event, headers=headers, timeout=CALL_SECONDS)
            return answer.status_code
        finally:
            with self._lock:
                self.in_flight -= 1


def kill(parent: psutil.Process) -> None:
    """End a process and its children, none of which learns of it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent.suspend()  # it would make a new child
        family = [*parent.children(recursive=True), parent]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        wait_until(lambda: not any(map(is_alive, family)))


class Soak:
    """The uploads, on their way from the bucket to the table, and what has become of them."""

    def __init__(self, seed: int, form: Form) -> None:
        """Nothing happens yet."""
        self.uploads = make_uploads(seed, form.uploads)
        self.facts = facts_of(self.uploads)
        count = max(4, round(len(self.facts) * HOPELESS_RATE))
        drawn = chance(seed, "hopeless").sample(self.facts, count)
        # Never acknowledged: no retry helps. One in three is in the table anyway.
        self.given_up = set(drawn)
        self.bigquery = FaultyBigQuery(seed, {f.key: n % 3 == 1 for n, f in enumerate(drawn)})
        self.acknowledged: set[Fact] = set()
        self.rows: list[tuple[Key, dict[str, Any]]] = []
        self.statuses: Counter[int] = Counter()
        self.deliveries = self.kills = self.cut = 0
        self.slowest_seconds = 0.0
        self.outcomes: Counter[str] = Counter()
        self.doubled = self.registrations = 0
        # What is in the bucket and not in the registry, when all is over.
        self.left_for_reconciliation: list[Upload] = []
        self._seed = seed
        self._form = form
        self._plan = make_deliveries(seed, self.facts)
        self._finished = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._began = time.monotonic()

    def run(self, folder: Path) -> None:
        """Deliver all events, and kill now this instance and now that."""
        with contextlib.ExitStack() as stack:
            # The stand-in reports each connection that a kill has cut.
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            http = stack.enter_context(
                server.bigquery_server(itertools.repeat(self.bigquery.answer))
            )
            instances = [Instance(folder, http.url) for _ in range(INSTANCES)]
            pool = ThreadPoolExecutor(CONCURRENCY)
            stack.callback(pool.shutdown, cancel_futures=True)
            lives = [stack.enter_context(contextlib.ExitStack()) for _ in instances]
            for instance, life in zip(instances, lives, strict=True):
                life.enter_context(instance.living())
            stack.callback(self._ended.set)  # then no call is waited for, as nobody answers
            futures = [pool.submit(self._deliver, event, instances) for event in self._plan]
            for number in range(self._form.kills):
                instance, life = instances[number % INSTANCES], lives[number % INSTANCES]
                share = (number + 0.5) / self._form.kills
                self._wait_until_finished(share, instance)
                if number == self._form.kills // 2:
                    self.bigquery.down_until = time.monotonic() + self._form.outage_seconds
                life.close()
                self.kills += 1
                life.enter_context(instance.living())
            self._wait_until_finished(1)
            for future in futures:
                future.result()
        self.rows = list(self.bigquery.rows)  # without the one that is late by now
        for log in itertools.chain.from_iterable(instance.logs for instance in instances):
            whole, _, _ = log.read_text().rpartition("\n")  # it may have ended within a line
            self.outcomes.update(json.loads(line)["outcome"] for line in whole.splitlines())

    def _wait_until_finished(self, share: float, busy: Instance | None = None) -> None:
        def reached() -> bool:
            enough = self._finished >= share * len(self._plan)
            return enough and (busy is None or busy.in_flight > 0)

        wait_until(reached, self._began + self._form.within_seconds - time.monotonic())

    def _deliver(self, delivery: Delivery, instances: Sequence[Instance]) -> None:
        """Deliver until it is acknowledged or, if no repeat helps, given up on."""
        try:
            hopeless = delivery.fact in self.given_up
            for attempt in range(TRIES) if hopeless else itertools.count():
                dice = chance(self._seed, "delivery", delivery.event_id, attempt)
                pause = dice.uniform(0, min(0.2 * 2**attempt, 2)) if attempt else 0
                if self._ended.wait(pause) or self._try(delivery, dice.choice(instances)):
                    return
        finally:
            with self._lock:
                self._finished += 1

    def _try(self, delivery: Delivery, instance: Instance) -> bool:
        """Deliver once."""
        began = time.monotonic()
        status, cut = None, False
        try:
            status = instance.post(delivery)
        except (requests.ConnectionError, ChunkedEncodingError) as error:
            cut = isinstance(error.args[0], ProtocolError)
        with self._lock:
            self.deliveries += 1
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self.cut += cut
            if status is not None:
                self.statuses[status] += 1
            if status == HTTPStatus.OK:
                self.acknowledged.add(delivery.fact)
        return status == HTTPStatus.OK

    def __str__(self) -> str:
        """Sum it up."""
        return (
            f"soak: {len(self.uploads)} uploads, {len(self.facts) - len(self.uploads)} removals,"
            f" {self.deliveries} deliveries"
            f" ({self.statuses[HTTPStatus.SERVICE_UNAVAILABLE]} not acknowledged, {self.cut} cut),"
            f" {self.bigquery.faults} faults, {self.kills} kills, {len(self.rows)} rows,"
            f" {self.doubled} doubled rows, {self.registrations} registrations,"
            f" {len(self.left_for_reconciliation)} left for the reconciliation,"
            f" slowest answer {self.slowest_seconds:.1f} s,"
            f" {time.monotonic() - self._began:.0f} s, seed {self._seed}"
        )


@contextlib.contextmanager
def registry_of(
    client: bigquery.Client, rows: Sequence[tuple[Key, Mapping[str, Any]]]
) -> Iterator[Callable[[], list[Mapping[str, Any]]]]:
    """Put rows into a registry of their own; returns a function which asks the view of it."""
    client.create_dataset(DATASET)
    try:
        make_registry(client, DATASET)
        for table in ("models", "removals"):
            of_table = [row for key, row in rows if key[0] == table]
            for batch in itertools.batched(of_table, 2000):
                assert not client.insert_rows_json(f"{DATASET}.{table}", batch, [None] * len(batch))
        query = f"SELECT * FROM {DATASET}.registrations"  # noqa: S608
        yield lambda: [dict(row) for row in client.query_and_wait(query)]
    finally:
        client.delete_dataset(DATASET, delete_contents=True)


def reconciled(client: bigquery.Client, uploads: Sequence[Upload]) -> list[Finding]:
    """Let the registry catch up with buckets that hold all uploads; return what it found."""
    with storage_server() as storage, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        storage.page = 1000
        for upload in uploads:
            storage.objects.setdefault(upload.bucket, []).append(upload.body)
        table = f"{DATASET}.models"
        settings = Settings(project=client.project, table=table, emulated=True)
        return [
            finding
            for bucket in storage.objects
            for finding in reconcile(
                Bucket.connect(settings, bucket),
                Inventory(client, table),
                RegistryTable(client, table),
                clock=lambda: datetime.now(UTC),
                all_generations=True,
            )
        ]


def upload_of(row: Mapping[str, Any]) -> Upload:
    """Read from a registration what was uploaded."""
    assert row["gcs_path"].startswith(f"{row['model_name']}/v{row['model_version']}/")
    assert row["gcs_bucket"] == f"ml-models-{row['environment']}"
    return Upload(
        bucket=row["gcs_bucket"],
        path=row["gcs_path"],
        generation=row["generation"],
        size=row["file_size_bytes"],
        crc32c=row["crc32c"],
        time=row["upload_timestamp"],
        uploader=row["uploader"],
        removed_at=row["removed_at"],
        registered_at=row["registered_at"],
    )


def time_of(upload: Upload) -> datetime:
    return upload.time
