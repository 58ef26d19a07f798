"""The BigQuery emulator, and the registry's tables and views on it."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from tests import PROJECT, ROOT
from tests.processes import answers, free_port, process, wait_until

# The views, in the order in which they are made: each reads those before it.
VIEWS = [path.stem[2:] for path in sorted((ROOT / "deploy/bigquery").glob("[4-8]-*.sql"))]


@contextlib.contextmanager
def bigquery_emulator(folder: Path, threads: int = 1) -> Iterator[str]:
    """Run the BigQuery emulator, empty, until the end of the block; returns its address."""
    port = free_port()
    command = [
        ROOT / ".local/venv/bigquery/bin/python",
        *(ROOT / "deploy/local/bigquery.py", "--port", port),
        *("--project", PROJECT, "--data-dir", folder / "data", "--threads", threads),
    ]
    log = folder / "log"
    with process(command, log) as running:
        url = f"http://127.0.0.1:{port}"
        wait_until(answers(f"{url}/bigquery/v2/projects/{PROJECT}/datasets", running, log), 60)
        yield url


def client_of(bigquery_url: str, project: str = PROJECT) -> bigquery.Client:
    """Make a client of an emulator."""
    return bigquery.Client(
        project,
        AnonymousCredentials(),  # type: ignore[no-untyped-call] # google-auth types it in part
        client_options={"api_endpoint": bigquery_url},
    )


def sql_of(name: str, *, dataset: str, table: str = "models", member: str = "") -> str:
    """Return a file of deploy/bigquery/, named without its number."""
    [path] = (ROOT / "deploy/bigquery").glob(f"?-{name}.sql")
    values = {"project": PROJECT, "dataset": dataset, "table": table, "location": "US"}
    values["member"] = member
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], path.read_text())


def apply_sql(client: bigquery.Client, name: str, *, dataset: str, table: str = "models") -> None:
    """Run a file of deploy/bigquery/."""
    client.query_and_wait(sql_of(name, dataset=dataset, table=table))


def make_registry(client: bigquery.Client, dataset: str, table: str = "models") -> None:
    """Make a dataset with the tables and the views, as setup.sh does."""
    for path in sorted((ROOT / "deploy/bigquery").glob("[1-8]-*.sql")):
        apply_sql(client, path.stem[2:], dataset=dataset, table=table)
