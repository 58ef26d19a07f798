"""
Reckon what the registry costs, from measured figures and Google's list prices.

It measures nothing: it prints the tables in deploy/README.md. When a figure or a price changes,
change it here, run it, and replace them; a test compares the two.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.benchmarks import function

MILLION = 1_000_000
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

# List prices in USD, for us-central1. Above each: its page, and the date of the copy we read.
# https://cloud.google.com/run/pricing, 2025: request-based billing, tier 1.
CPU_SECOND = 0.000024
GIB_SECOND = 0.0000025
REQUEST = 0.40 / MILLION
# https://cloud.google.com/bigquery/pricing, August 2025. A row counts as 1 KB at least, and each
# table in a query as 10 MB at least; the sum is rounded up to whole megabytes.
INSERTED_BYTE = 0.01 / (200 * MIB)
STORED_BYTE = 0.02 / GIB  # for a month, logical
QUERIED_BYTE = 6.25 / TIB
# https://cloud.google.com/pubsub/pricing, September 2026. Published once and pushed once, each time
# as 1,000 bytes at least. Eventarc takes nothing for events of Google's own services:
# https://cloud.google.com/eventarc/pricing.
DELIVERED_BYTE = 40 / TIB
# https://cloud.google.com/stackdriver/pricing, September 2026: kept for 30 days.
LOGGED_BYTE = 0.50 / GIB
# https://cloud.google.com/storage/pricing, September 2026: class A, one for each 1,000 objects.
LIST = 0.005 / 1000
# https://cloud.google.com/scheduler/pricing, 2025: a job for a month.
JOB = 0.10

# As deployed: deploy/lib/deployment.sh, deploy/inventory.sh, deploy/reconcile.sh.
INSTANCES = 5
UPLOAD_GIB, OTHER_GIB = 0.25, 0.5
NIGHTS = 30
BURST = 10_000

# Measured on one instance with one CPU, by tests/benchmarks/, with a BigQuery that takes 60 ms.
START = 0.51  # seconds from start to first row
STOP = 0.5  # seconds from SIGTERM to the end: starting and stopping are billed too
LATENCY = 0.065  # seconds of one upload
RATE = 360  # uploads/s of one instance, 32 at once
# The same with 256 MB and nothing else: this share of a CPU, and one upload at a time.
SHARE, SHARE_START, SHARE_RATE = 0.167, 2.9, 15
RECONCILING = {100_000: 7.5, MILLION: 73.0}  # seconds, with lists and queries that take no time
PAGE_START = 0.44  # seconds until the page's function answers
PAGE_CPU = {10_000: 0.08, MILLION: 0.6}  # seconds of work for the first opening, by rows

# Assumed, because it cannot be measured on one machine.
ANSWER = 1.0  # seconds that BigQuery takes for a query
LISTING = 0.2  # seconds that Cloud Storage takes for a page of a list

# Typical sizes. A line in the log is the whole of what Cloud Logging keeps, with its labels.
EVENT_BYTES = 1_300
OUR_LINE_BYTES, REQUEST_LINE_BYTES = 1_200, 1_300
# Each type's size is in https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types.
_NUMBER = _TIME = 8


def _text(characters: int) -> int:
    return 2 + characters


MODELS = {
    "model_name": _text(len("fraud-detection")),
    "model_version": _NUMBER,
    "environment": _text(len("staging")),
    "gcs_bucket": _text(len("acme-ml-models-staging")),
    "gcs_path": _text(len("fraud-detection/v12/model.pkl")),
    "file_size_bytes": _NUMBER,
    "upload_timestamp": _TIME,
    "uploader": _text(len("ana@example.com")),
    "registered_at": _TIME,
    "generation": _NUMBER,
    "crc32c": _text(len("yZRlqg==")),
    "md5_hash": _text(len("CY9rzUYh03PK3k6DJie09g==")),
    "metadata": 130,  # JSON: the uploader, a Git commit, the id of a run
}
REMOVALS = {
    "gcs_bucket": MODELS["gcs_bucket"],
    "gcs_path": MODELS["gcs_path"],
    "generation": _NUMBER,
    "upload_timestamp": _TIME,
    "removed_at": _TIME,
    "recorded_at": _TIME,
    "recorded_by": _text(len("archived")),
}
REMOVED_SHARE = 0.1  # rows in it for each row in models

# What a query must read of models. Each reads all of removals too, except recorded_by.
_KEYS = {"model_name", "model_version", "environment", "gcs_bucket", "gcs_path"}
_NEWEST = _KEYS | {"upload_timestamp", "registered_at", "generation", "crc32c"}
_VERSIONS = _NEWEST | {"file_size_bytes", "uploader"}
READ = {
    "`registrations`": set(MODELS),
    "`artifacts`, the page of a model": set(MODELS),
    "`changes`": _VERSIONS | {"metadata"},
    "`model_versions`": _VERSIONS,
    "`promotions`": _VERSIONS - {"uploader"},
    "`latest_models`, the page": _VERSIONS,
    "the reconciliation": _NEWEST | {"file_size_bytes", "metadata"},
}
READ_OF_REMOVALS = set(REMOVALS) - {"recorded_by"}


class Cost(NamedTuple):
    """What is charged, in USD, by what it is charged for."""

    cpu: float
    memory: float
    requests: float
    bigquery: float
    events: float = 0
    logs: float = 0
    other: float = 0


def billed_seconds(seconds: float) -> float:
    """Round up to 100 ms, as Cloud Run does for an instance that has something to do."""
    return math.ceil(round(seconds * 10, 6)) / 10


def uploads(seconds: float, cpu: float = 1) -> Cost:
    """Return what a million uploads cost that keep instances busy for so many seconds."""
    row = sum(MODELS.values())
    return Cost(
        cpu=seconds * cpu * CPU_SECOND,
        memory=seconds * UPLOAD_GIB * GIB_SECOND,
        requests=MILLION * REQUEST,
        bigquery=MILLION * (max(row, KIB) * INSERTED_BYTE + row * STORED_BYTE),
        events=MILLION * 2 * max(EVENT_BYTES, 1000) * DELIVERED_BYTE,
        logs=MILLION * (OUR_LINE_BYTES + REQUEST_LINE_BYTES) * LOGGED_BYTE,
    )


def steady() -> float:
    """Return the busy seconds of a million uploads, one a second, so that none meets another."""
    return MILLION * billed_seconds(LATENCY)


def hourly() -> float:
    """Return the busy seconds if each upload starts an instance, which stops before the next."""
    return MILLION * (billed_seconds(START) + billed_seconds(STOP))


def bursts() -> float:
    """Return the busy seconds if they come in bursts, for which all instances start."""
    each = billed_seconds(START + BURST / INSTANCES / RATE) + billed_seconds(STOP)
    return MILLION / BURST * INSTANCES * each


def scanned(name: str, rows: int) -> list[float]:
    """
    Return the bytes that a query scans, by table.

    A table counts once, however often the query names it. Nothing is pruned: the queries do not
    filter by the day of registration, and one day's rows are too few for clustering to help.
    """
    models = rows * sum(size for column, size in MODELS.items() if column in READ[name])
    removals = rows * REMOVED_SHARE * sum(REMOVALS[column] for column in READ_OF_REMOVALS)
    return [models, removals]


def query(name: str, rows: int) -> float:
    """Return what a query costs."""
    size = sum(max(table, 10 * MIB) for table in scanned(name, rows))
    return math.ceil(size / MIB) * MIB * QUERIED_BYTE


def page(rows: int, openings: int = 1000) -> Cost:
    """Return what openings of the page cost, each of which starts an instance."""
    own = billed_seconds(PAGE_START + ANSWER + PAGE_CPU[rows])
    seconds = openings * (own + billed_seconds(STOP))
    return Cost(
        cpu=seconds * CPU_SECOND,
        memory=seconds * OTHER_GIB * GIB_SECOND,
        requests=openings * REQUEST,
        bigquery=openings * query("`latest_models`, the page", rows),
        logs=openings * REQUEST_LINE_BYTES * LOGGED_BYTE,
    )


def reconciliation(objects: int) -> Cost:
    """Return what a month of nightly reconciliations of a bucket costs."""
    lists = math.ceil(objects / 1000)
    own = START + ANSWER + RECONCILING[objects] + lists * LISTING
    seconds = NIGHTS * (billed_seconds(own) + billed_seconds(STOP))
    return Cost(
        cpu=seconds * CPU_SECOND,
        memory=seconds * OTHER_GIB * GIB_SECOND,
        requests=NIGHTS * REQUEST,
        bigquery=NIGHTS * query("the reconciliation", objects),
        logs=NIGHTS * (OUR_LINE_BYTES + REQUEST_LINE_BYTES) * LOGGED_BYTE,
        other=NIGHTS * lists * LIST + JOB,
    )


def _costs() -> Mapping[str, Cost]:
    return {
        "a million uploads, one a second": uploads(steady()),
        "a million uploads, one an hour": uploads(hourly()),
        f"a million uploads, {BURST:,} at once": uploads(bursts()),
        "1,000 openings of the page, 10,000 rows": page(10_000),
        "1,000 openings of the page, 1,000,000 rows": page(MILLION),
        f"{NIGHTS} nightly reconciliations, 100,000 objects": reconciliation(100_000),
        f"{NIGHTS} nightly reconciliations, 1,000,000 objects": reconciliation(MILLION),
    }


def usd(amount: float) -> str:
    """Return an amount, in as many digits as say something."""
    if amount >= 0.1:
        return f"{amount:.2f}"
    if amount >= 0.0005:
        return f"{amount:.3f}"
    return "<0.001" if amount else "0"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|---{'|---:' * (len(head) - 1)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _charges() -> Iterator[str]:
    head = ["USD", "CPU", "memory", "requests", "BigQuery", "Pub/Sub", "logs", "other", "total"]
    rows = [[name, *map(usd, cost), usd(sum(cost))] for name, cost in _costs().items()]
    return _table(head, rows)


def _scans() -> Iterator[str]:
    sizes = [10_000, MILLION]
    head = ["a query of", "columns"]
    for size in sizes:
        head += [f"{size:,} rows, MB", "1,000 times, USD"]
    rows = []
    for name, columns in READ.items():
        both = len(columns) + len(READ_OF_REMOVALS)
        row = [name, str(both)]
        for size in sizes:
            row += [f"{sum(scanned(name, size)) / MIB:.1f}", usd(1000 * query(name, size))]
        rows.append(row)
    return _table(head, rows)


def _compared() -> str:
    """Compare with a deployment that says 256 MB and nothing else."""
    slower = SHARE_START + BURST / INSTANCES / SHARE_RATE
    faster = START + BURST / INSTANCES / RATE
    stopped = billed_seconds(STOP)
    totals = (
        MILLION * billed_seconds(1 / SHARE_RATE),
        MILLION * (billed_seconds(SHARE_START) + stopped),
        MILLION / BURST * INSTANCES * (billed_seconds(slower) + stopped),
    )
    warm, cold, burst = (usd(sum(uploads(seconds, SHARE))) for seconds in totals)
    month = usd(sum(uploads(hourly())) * 24 * NIGHTS / MILLION)
    return (
        f"The {24 * NIGHTS} uploads of a month, one an hour, cost {month} USD. With"
        f" `--memory=256MB` alone, which gives {SHARE} of a CPU and one upload at a time, the"
        f" uploads would cost {warm}, {cold} and {burst} USD. But a start would take"
        f" {SHARE_START} s, not {START} s, and {BURST:,} at once {slower:.0f} s, not"
        f" {faster:.0f} s."
    )


def text() -> str:
    """Return the tables, as they stand in deploy/README.md."""
    return "\n".join([*_charges(), "", _compared(), "", *_scans()])


def main() -> None:
    """Print the tables."""
    function.arguments("cost", __doc__).parse_args()
    print(text())  # noqa: T201 - this is the result


if __name__ == "__main__":
    function.run(main)
