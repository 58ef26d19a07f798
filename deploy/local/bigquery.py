# /// script
# requires-python = ">=3.13,<3.14"
# dependencies = [
#   "local-bigquery==0.3.2",
#   "duckdb==1.5.5",
#   "duckdb-extensions==1.5.5",
#   "duckdb-extension-ducklake==1.5.5",
#   "duckdb-extension-icu==1.5.5",
# ]
# ///
"""
BigQuery on this machine: local-bigquery, on a loopback address, without downloads at its start.

It has an environment of its own, because it does not run on the deployed function's Python.
"""

import argparse
import collections
import gc
import os
import pathlib
import sys

EXTENSIONS = ["icu", "ducklake"]
RESULTS_KEPT = 50


def main() -> None:
    """Serve until ended by a signal."""
    parser = argparse.ArgumentParser(description="Serve BigQuery's REST API on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--data-dir", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=1, help="for large tables (default: 1)")
    options = parser.parse_args()

    # DuckDB looks for its extensions in HOME: make that this environment, which has them.
    os.environ["HOME"] = sys.prefix
    install_extensions()

    # Not its own command: that also serves gRPC, whose imports take a fifth of the start.
    gc.disable()  # nothing of the imports is garbage
    import uvicorn  # noqa: PLC0415 - 0.1 s
    from local_bigquery.app import app  # noqa: PLC0415 - reads HOME when it is imported
    from local_bigquery.engine import database  # noqa: PLC0415 - as above
    from local_bigquery.settings import settings  # noqa: PLC0415 - as above

    gc.freeze()
    gc.enable()

    settings.data_dir = options.data_dir
    settings.default_project_id = options.project
    settings.default_dataset_id = "scratch"
    keep_in_memory()
    # Their extension takes a fifth of the start, and the registry stores no places on earth.
    database.FUNCTIONS = [path for path in database.FUNCTIONS if path.stem != "geography"]
    # On small tables a second thread costs a query a quarter more CPU time, and saves none.
    database.execute(f"SET threads = {options.threads}")
    uvicorn.run(app, host="127.0.0.1", port=options.port, access_log=False)


def install_extensions() -> None:
    """Install from wheels what DuckDB would download when it first needs it."""
    import duckdb  # noqa: PLC0415 - reads HOME when it is imported
    from duckdb_extensions import import_extension  # noqa: PLC0415 - as above

    # An extension that is linked into DuckDB counts as installed, but is not found when needed.
    installed = duckdb.sql(
        "SELECT extension_name FROM duckdb_extensions()"
        " WHERE installed AND install_mode <> 'STATICALLY_LINKED'"
    )
    for name in set(EXTENSIONS) - {name for (name,) in installed.fetchall()}:
        import_extension(name)


def keep_in_memory() -> None:
    """
    Keep in memory what ends with this process: tables, jobs and the latest results.

    On disk, a query takes twice as much CPU time, and more with each query before it.
    """
    from duckdb import DuckDBPyConnection as Connection  # noqa: PLC0415 - as in main
    from local_bigquery.engine import database, results  # noqa: PLC0415 - as in main
    from local_bigquery.jobs import store  # noqa: PLC0415 - as in main
    from local_bigquery.models import Job  # noqa: PLC0415 - as in main

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


if __name__ == "__main__":
    main()
