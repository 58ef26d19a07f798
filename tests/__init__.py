"""The tests; run.sh runs them all."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "soufianesys"

# What a person reads on a slow machine, before the answer.
STILL_TRYING = "BigQuery has not answered yet: still trying\n"
