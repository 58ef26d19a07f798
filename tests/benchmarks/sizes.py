"""
Measure the reconciliation and the views as the bucket and the table grow.

BigQuery is the local one, so its share of the time says nothing about Google's. Memory is the
command's.
"""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.cloud import bigquery
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from tests import PROJECT, ROOT
from tests.benchmarks import function, google
from tests.servers.emulator import bigquery_emulator, client_of, make_registry

SIZES = [10_000, 100_000, 1_000_000]
FURTHER = 100_000
MODEL = 100  # files in a model
# The registry knows 99 of 100 objects in the bucket, which google.describe makes. Of ten files of a
# version, one was overwritten after five minutes.
ROWS = """
INSERT INTO {dataset}.models (
  model_name, model_version, environment, gcs_bucket, gcs_path, file_size_bytes, upload_timestamp,
  uploader, registered_at, generation, crc32c, metadata
)
WITH
  objects AS (
    SELECT
      i,
      FORMAT('model-%05d', DIV(i, 100)) AS model_name,
      MOD(DIV(i, 10), 10) AS model_version,
      FORMAT('model-%05d/v%d/file-%d.bin', DIV(i, 100), MOD(DIV(i, 10), 10), MOD(i, 10)) AS name,
      TIMESTAMP_SUB(TIMESTAMP '{time}', INTERVAL 7 * MOD(DIV(i, 100), {weeks}) DAY) AS written_at
    FROM UNNEST(GENERATE_ARRAY(0, {size} - 1)) AS i
    WHERE MOD(i, 100) != 7
  ),
  writes AS (
    SELECT *, 1772366400000000 + i AS generation, 'yZRlqg==' AS crc32c FROM objects
    UNION ALL
    SELECT
      * REPLACE (TIMESTAMP_SUB(written_at, INTERVAL 5 MINUTE) AS written_at),
      1672366400000000 + i AS generation,
      'AAAAAA==' AS crc32c
    FROM objects
    WHERE MOD(i, 10) = 3
  )
SELECT
  model_name, model_version, 'dev', 'b-{size}-dev', name, 1048576, written_at, 'ana@example.com',
  written_at, generation, crc32c, JSON '{{"uploader": "ana@example.com"}}'
FROM writes;

INSERT INTO {dataset}.removals (
  gcs_bucket, gcs_path, generation, upload_timestamp, removed_at, recorded_at, recorded_by
)
SELECT
  gcs_bucket, gcs_path, generation, upload_timestamp,
  TIMESTAMP_ADD(upload_timestamp, INTERVAL 5 MINUTE), registered_at, 'archived'
FROM {dataset}.models
WHERE crc32c = 'AAAAAA==';
"""
# Starts a program and prints its memory in kB. On Linux a program starts with the peak of its
# parent, so that has to be a small one.
SMALL = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
COMMANDS = {
    "reconcile": ["reconcile", "dev", "--dry-run"],
    "models": ["models"],
    "show": ["show", "model-00000"],
    "changes": ["changes", "--since", google.LAST_WEEK],
}


def load(client: bigquery.Client, size: int) -> None:
    """Make a registry with so many uploads, in a dataset of its own."""
    dataset = f"b{size}"
    make_registry(client, dataset)
    values = {"dataset": dataset, "size": size, "time": google.TIME, "weeks": google.WEEKS}
    client.query_and_wait(ROWS.format_map(values))


def rows_of(command: str, size: int) -> int:
    """Return how many rows a command prints."""
    models = size // MODEL
    match command:
        case "show":
            return 10
        case "changes":  # each version of its models arrived, and was overwritten in part
            return math.ceil(models / google.WEEKS) * 10 * 2
        case _:
            return models


def run(command: Sequence[str], environ: Mapping[str, str], output: Path) -> tuple[float, float]:
    """Run the command line; return the seconds it took, and its most memory in MB."""
    started = time.monotonic()
    with output.open("wb") as file:
        ended = subprocess.run(
            [
                *(sys.executable, "-I", "-S", "-c", SMALL, sys.executable),
                *("-m", "registry", *command, "--format", "csv"),
            ],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=file,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    seconds = time.monotonic() - started
    assert ended.returncode in {0, 1}, ended.stderr
    return seconds, int(ended.stderr.split()[-1]) * 1024 / 1e6


def main() -> None:
    """Measure everything, and print the table."""
    parser = function.arguments("sizes", __doc__)
    parser.add_argument(
        "--sizes",
        type=function.at_least(MODEL),
        nargs="+",
        default=SIZES,
        help=f"several sizes, growing, in objects; each a multiple of {MODEL}",
    )
    parser.add_argument("--rounds", type=function.at_least(1), default=3, help="how many rounds")
    options = parser.parse_args()
    grow = len(options.sizes) > 1 and options.sizes == sorted(set(options.sizes))
    if not grow or any(size % MODEL for size in options.sizes):
        sizes = " ".join(map(str, options.sizes))
        parser.error(f"--sizes: expected several multiples of {MODEL} that grow, found {sizes}")

    console = Console()
    measured: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (
        tempfile.TemporaryDirectory() as temporary,
        bigquery_emulator(Path(temporary), threads=os.cpu_count() or 1) as url,
    ):
        for size in options.sizes:
            with console.status(f"loading {size:,} rows"):
                load(client_of(url), size)
        with google.serving(Path(temporary)) as storage:
            for number in range(options.rounds):
                for size in options.sizes:
                    environ = {
                        "GCP_PROJECT_ID": PROJECT,
                        "BIGQUERY_EMULATOR_HOST": url,
                        "STORAGE_EMULATOR_HOST": f"http://{storage.metadata}",
                        "BUCKET_PREFIX": f"b-{size}",
                        "REGISTRY_TABLE": f"b{size}.models",
                    }
                    for name, command in COMMANDS.items():
                        with console.status(f"{name} {number + 1}/{options.rounds}: {size:,}"):
                            output = Path(temporary) / name
                            seconds, megabytes = run(command, environ, output)
                        found = len(output.read_text().splitlines()) - 1
                        assert found == rows_of(name, size), (name, found)
                        measured[f"{name}, s"][size].append(seconds)
                        measured[f"{name}, MB"][size].append(megabytes)
    function.show(_table(measured, options.sizes))


def _table(measured: Mapping[str, Mapping[int, Sequence[float]]], sizes: Sequence[int]) -> Table:
    smaller, larger = sizes[-2:]
    names = [f"{size:,}" for size in sizes]
    table = Table("medians of the rounds", *names, f"each further {FURTHER:,}", box=MARKDOWN)
    for name, values in measured.items():
        growth = statistics.median(values[larger]) - statistics.median(values[smaller])
        slope = growth / (larger - smaller) * FURTHER
        table.add_row(
            name,
            *(function.median_and_range(values[size]) for size in sizes),
            function.median_and_range([slope]),
        )
    return table


if __name__ == "__main__":
    function.run(main)
