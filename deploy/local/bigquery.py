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
import gc
import os
import pathlib
import sys

EXTENSIONS = ["icu", "ducklake"]


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

    gc.disable()  # nothing of the imports is garbage
    from bigquery_engine import serve  # noqa: PLC0415 - its imports read HOME

    gc.freeze()
    gc.enable()
    serve(options.port, options.project, options.data_dir, options.threads)


def install_extensions() -> None:
    """Install from wheels what DuckDB would download when it first needs it."""
    import duckdb  # noqa: PLC0415 - it reads HOME
    from duckdb_extensions import import_extension  # noqa: PLC0415 - it imports duckdb

    # An extension that is linked into DuckDB counts as installed, but is not found when needed.
    installed = duckdb.sql(
        "SELECT extension_name FROM duckdb_extensions()"
        " WHERE installed AND install_mode <> 'STATICALLY_LINKED'"
    )
    for name in set(EXTENSIONS) - {name for (name,) in installed.fetchall()}:
        import_extension(name)


if __name__ == "__main__":
    main()
