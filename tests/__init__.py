"""The tests; run.sh runs them all."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "soufianesys"
