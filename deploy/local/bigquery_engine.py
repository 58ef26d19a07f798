"""
The emulated BigQuery as the registry needs it: in memory, and quick to start.

It replaces functions of local-bigquery, whose version is pinned.
"""

import collections
import pathlib
import sys

import uvicorn
from duckdb import DuckDBPyConnection as Connection
from local_bigquery.app import app
from local_bigquery.engine import database, results
from local_bigquery.jobs import store
from local_bigquery.models import Job
from local_bigquery.settings import settings

RESULTS_KEPT = 50


def serve(port: int, project: str, data_dir: pathlib.Path, threads: int) -> None:
    """Serve on 127.0.0.1 until ended by a signal."""
    settings.data_dir = data_dir
    settings.default_project_id = project
    settings.default_dataset_id = "scratch"
    keep_in_memory()
    # Their extension takes a fifth of the start, and the registry stores no places on earth.
    database.FUNCTIONS = [path for path in database.FUNCTIONS if path.stem != "geography"]
    # On small tables a second thread costs a query a quarter more CPU time, and saves none.
    database.execute(f"SET threads = {threads}")
    # Not its own command: that also serves gRPC, whose imports take a fifth of the start.
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False)


def keep_in_memory() -> None:
    """
    Keep in memory what ends with this process: tables, jobs and the latest results.

    On disk, a query takes twice as much CPU time, and more with each query before it.
    """

    def attach(connection: Connection, project: str) -> None:
        connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {database.quote(project)}")
        database._attached.add(project)  # noqa: SLF001 - part of what is replaced

    database._attach = attach  # noqa: SLF001 - its version is pinned
    database.EMULATOR_SCHEMA = (
        f"DETACH emulator; ATTACH ':memory:' AS emulator; {database.EMULATOR_SCHEMA}"
    )

    jobs: dict[tuple[str, str], Job] = {}

    def save(job: Job) -> Job:
        jobs[job.jobReference.projectId, job.jobReference.jobId] = job
        return job

    def load(project: str, job: str) -> Job | None:
        return jobs.get((project, job))

    def children(project: str, _states: object, parent: str | None, *_: object) -> list[Job]:
        # The real bq asks for the parts of a script, and waits for as long as there are none.
        found = [job for (of, _), job in list(jobs.items()) if of == project]
        return [job for job in reversed(found) if job.statistics.parentJobId == parent]

    store.save, store.load, store.list_ = save, load, children

    materialise = results.materialise
    kept: collections.deque[str] = collections.deque()

    def materialise_and_forget(cursor: Connection, query: str, name: str, *others: object) -> None:
        materialise(cursor, query, name, *others)
        if name.startswith('"emulator"."_results".'):
            kept.append(name)
            if len(kept) > RESULTS_KEPT:
                database.execute(f"DROP TABLE IF EXISTS {kept.popleft()}")

    results.materialise = materialise_and_forget

    # DuckDB asks for it at each query with parameters; each time Python would look in all folders.
    sys.modules["pandas"] = None  # type: ignore[assignment] # how Python marks what is not there
