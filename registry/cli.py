"""The command line: which commands there are, and how their errors are printed."""

import os
import sys

import click

from registry.commands.changes import changes
from registry.commands.compare import compare_versions
from registry.commands.history import history
from registry.commands.models import models
from registry.commands.promotions import promotions
from registry.commands.reconcile import reconcile
from registry.commands.show import show
from registry.errors import InvalidSettings, RegistryError

FAILED = 2
INTERRUPTED = 130
UNREAD = 141


class _Failure(click.ClickException):
    """The question could not be asked."""

    exit_code = FAILED


class _Commands(click.Group):
    """Commands that print an error as one line."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InvalidSettings as error:
            raise _Failure(f"{error}: see --project and --table") from error
        except RegistryError as error:
            raise _Failure(" ".join(str(error).split())) from error
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # nobody reads the output any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """
    Ask the model registry what is where, since when, by whom, and whether it is the same file.

    \b
    Exit codes:
      0  the answer was printed; a list may be empty
      1  nothing is registered under the name that was given
      2  the question could not be asked: options, credentials, permissions, no such table

    \b
    Examples:
      python -m registry models
      python -m registry models --environment prod --format json
      python -m registry show fraud-detection --files
      python -m registry compare fraud-detection v3 v4
      python -m registry promotions --environment prod --since 7d
      python -m registry changes --environment prod --since 7d
      python -m registry history gs://ml-models-prod/fraud-detection/v3/model.pkl
      python -m registry models --environment prod --at 2026-09-01
      python -m registry reconcile dev --dry-run
    """  # noqa: D301 - \b keeps Click from filling the lines


for _command in (models, show, compare_versions, promotions, changes, history, reconcile):
    main.add_command(_command)
