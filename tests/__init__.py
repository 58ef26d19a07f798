"""The tests; run.sh runs them all."""
