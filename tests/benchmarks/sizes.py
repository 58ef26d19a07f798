"""
Measure the reconciliation and the views as the bucket and the table grow.

BigQuery is the local one, so its share of the time says nothing about Google's. Memory is the
command's.
"""

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
# The registry knows 99 of 100 objects in the bucket; google.describe makes the objects.
ROWS = """
INSERT INTO {dataset}.models (
  model_name, model_version, environment, gcs_bucket, gcs_path, file_size_bytes, upload_timestamp,
  uploader, registered_at, generation, crc32c, metadata
)
SELECT
  FORMAT('model-%05d', DIV(i, 100)), MOD(DIV(i, 10), 10), 'dev', 'b-{size}-dev',
  FORMAT('model-%05d/v%d/file-%d.bin', DIV(i, 100), MOD(DIV(i, 10), 10), MOD(i, 10)), 1048576,
  TIMESTAMP '{time}', 'ana@example.com', TIMESTAMP '{time}', 1772366400000000 + i, 'yZRlqg==',
  JSON '{{"uploader": "ana@example.com"}}'
FROM UNNEST(GENERATE_ARRAY(0, {size} - 1)) AS i
WHERE MOD(i, 100) != 7
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
}


def load(client: bigquery.Client, size: int) -> None:
    """Make a registry with so many uploads, in a dataset of its own."""
    dataset = f"b{size}"
    make_registry(client, dataset)
    client.query_and_wait(ROWS.format(dataset=dataset, size=size, time=google.TIME))


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
                        assert found == (10 if name == "show" else size // MODEL), (name, found)
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
