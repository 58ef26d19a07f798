"""The command line: which commands there are, and how their errors are printed."""

import contextlib
import os
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import click

from registry.commands.changes import changes
from registry.commands.check import check_upload
from registry.commands.compare import compare_versions
from registry.commands.get import get
from registry.commands.history import history
from registry.commands.models import models
from registry.commands.promote import promote
from registry.commands.promotions import promotions
from registry.commands.reconcile import reconcile
from registry.commands.show import show
from registry.commands.uri import uri
from registry.commands.withdraw import withdraw
from registry.errors import InvalidSettings, Refused, RegistryError
from registry.options import NOT_FOUND
from registry.output import printable

FAILED = 2
INTERRUPTED = 130
UNREAD = 141


class _Failure(click.ClickException):
    """The question could not be asked."""

    exit_code = FAILED


class _No(click.ClickException):
    """The facts do not allow what was asked."""

    exit_code = NOT_FOUND


class _Commands(click.Group):
    """Commands that print an error as one line."""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as Click has it
        """Run; if not even an error can be written, the exit code says so."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            _discard(sys.stderr)
            sys.exit(UNREAD if isinstance(error, BrokenPipeError) else FAILED)

    def make_context(self, *args: Any, **options: Any) -> click.Context:  # noqa: ANN401 - as Click has it
        """Read the command line, which may already print the help."""
        with _written():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with _written():
                return super().invoke(ctx)
        except InvalidSettings as error:
            raise _Failure(f"{error}: see --project and --table") from error
        except Refused as error:
            raise _No(printable(" ".join(str(error).split()))) from error
        except RegistryError as error:
            raise _Failure(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Raise a failure unless all that is printed in here is also written."""
    if not sys.stdout:
        raise _Failure("expected an output to write to, found it closed: send it to a file")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # at the end Python would flush too late for an exit code
    except BrokenPipeError as error:  # nobody reads the output any more
        _discard(sys.stdout)
        raise click.exceptions.Exit(UNREAD) from error
    except UnicodeEncodeError as error:
        missing = ascii(error.object[error.start : error.end])
        raise _Failure(
            f"expected an output in UTF-8, found {error.encoding}, which has no {missing}:"
            " set PYTHONIOENCODING=utf-8"
        ) from error
    except OSError as error:
        _discard(sys.stdout)
        raise _Failure(
            f"expected to write the whole output, found {error.strerror or error}:"
            " make room, or write it elsewhere"
        ) from error


def _discard(output: TextIO) -> None:
    """Discard what could not be written; Python would try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - as Click calls it
    if wanted:
        click.echo(f"model-registry {_version()}")
        ctx.exit()


def _version() -> str:
    """Return the installed version, or in a checkout the one that would be installed."""
    try:
        return metadata.version("model-registry")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parents[1] / "pyproject.toml"
        return str(tomllib.loads(project.read_text())["project"]["version"])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version, and exit.",
)
def main() -> None:
    """
    Ask the model registry what is where, since when, by whom, and whether it is the same file.

    \b
    Exit codes:
      0  the answer was printed; a list may be empty
      1  nothing is registered under that name, or the facts do not allow it
      2  it could not be asked or done: options, credentials, permission, no table

    \b
    Examples:
      model-registry models
      model-registry models --environment prod --format json
      model-registry show fraud-detection --files
      model-registry compare fraud-detection v3 v4
      model-registry check gs://ml-models-dev/fraud-detection/v3/model.pkl
      model-registry uri fraud-detection --environment prod
      model-registry get fraud-detection --environment prod models/fraud
      model-registry promotions --environment prod --since 7d
      model-registry changes --environment prod --since 7d
      model-registry history gs://ml-models-prod/fraud-detection/v3/model.pkl
      model-registry models --environment prod --at 2026-09-01
      model-registry reconcile dev --dry-run
      model-registry promote fraud-detection v3 --to staging
      model-registry withdraw fraud-detection v3 --from prod
    """  # noqa: D301 - \b keeps Click from filling the lines


_COMMANDS = (
    *(models, show, compare_versions, promotions, changes, history, reconcile),
    *(uri, get, check_upload, promote, withdraw),
)
for _command in _COMMANDS:
    main.add_command(_command)
