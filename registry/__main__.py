"""Run the command line: `model-registry`, or `python -m registry`."""

import sys

FAILED = 2


def run(prog_name: str | None = None) -> None:
    """Run it, or say in one line that its packages are not installed."""
    try:
        from registry.cli import main  # noqa: PLC0415 - it may be missing what it imports
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"Error: expected the packages of the command line, found no {error.name}:"
            " install model-registry[cli]\n"
        )
        sys.exit(FAILED)
    main(prog_name=prog_name)


if __name__ == "__main__":
    run(prog_name="python -m registry")
