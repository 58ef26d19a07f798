"""Benchmarks: what is measured, and how, is in the README next to it."""
