"""The log: one line for an event, a reconciliation or an error."""

import json
import threading
import traceback
from collections.abc import Mapping, Sequence

from registry.outcome import Outcome, Severity

_WRITING = threading.Lock()


def line(outcome: Outcome, *, duration_ms: int) -> str:
    """
    Return an outcome as Cloud Logging reads it: a JSON object, the same keys in the same order.

    `severity` and `message` are Cloud Logging's own fields. `stack_trace` is set only for a failed
    event, and reaches Error Reporting. All of it is ASCII on one line, whatever the object's name.
    The generation is text, because many JSON parsers lose digits of a large number.
    """
    fields = {
        "severity": outcome.severity,
        "message": outcome.message,
        "outcome": outcome.result,
        "environment": outcome.environment,
        "event_id": outcome.event_id,
        "gcs_bucket": outcome.gcs_bucket,
        "gcs_path": outcome.gcs_path,
        "generation": None if outcome.generation is None else str(outcome.generation),
        "model_name": outcome.model_name,
        "model_version": outcome.model_version,
        "duration_ms": duration_ms,
    }
    if outcome.error is not None:
        fields["stack_trace"] = "".join(traceback.format_exception(outcome.error))
    return json.dumps(fields)


def reconciled(
    counts: Mapping[str, object],
    examples: Sequence[str],
    *,
    lost: int,
    lost_examples: Sequence[str],
) -> str:
    """
    Return the line for what a reconciliation found and corrected, with the first of each kind.

    Its outcome is `lost` if events were lost: that is a WARNING, which an alert counts.
    """
    message = "reconciled " + ", ".join(f"{key}: {value}" for key, value in counts.items())
    if lost:
        message += f". Events were lost, of {_named(lost_examples, lost)}"
    fields = {
        "severity": Severity.WARNING if lost else Severity.INFO,
        "message": message,
        "outcome": "lost" if lost else "reconciled",
        **counts,
        "examples": examples,
    }
    return json.dumps(fields)


def unlike_staging(counts: Mapping[str, int], examples: Mapping[str, Sequence[str]]) -> str:
    """Return the line for what is in prod and not the same in staging, which an alert counts."""
    named = [f"{kind}: {_named(examples[kind], count)}" for kind, count in counts.items()]
    fields = {
        "severity": Severity.WARNING,
        "message": f"prod is not what staging has. {'; '.join(named)}",
        "outcome": "unlike_staging",
        **counts,
        "examples": examples,
    }
    return json.dumps(fields)


def _named(examples: Sequence[str], count: int) -> str:
    more = count - len(examples)
    return ", ".join(examples) + (f" and {more} more" if more else "")


def warning(message: str) -> str:
    """Return the line for what works, but not as it should."""
    return json.dumps({"severity": "WARNING", "message": message})


def problem(error: Exception) -> str:
    """Return the line for an error outside of an event, for Cloud Logging and Error Reporting."""
    stack_trace = "".join(traceback.format_exception(error))
    return json.dumps({"severity": "ERROR", "message": str(error), "stack_trace": stack_trace})


def write(line: str) -> None:
    """
    Print a line to standard output, which is the log.

    With LOG_EXECUTION_ID, which Google sets, the framework writes a line and its end separately:
    the lock keeps the lines of two threads apart.
    """
    with _WRITING:
        print(line, flush=True)  # noqa: T201 - this is the log
