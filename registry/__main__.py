"""Run the command line: `python -m registry`."""

from registry.cli import main

main(prog_name="python -m registry")
