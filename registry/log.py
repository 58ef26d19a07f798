"""The one line that is logged of an event."""

import json
import traceback
from collections.abc import Mapping, Sequence

from registry.outcome import Outcome


def line(outcome: Outcome, *, duration_ms: int) -> str:
    """
    Write an outcome as Cloud Logging reads it: one JSON object, the same keys in the same order.

    `severity` and `message` are Cloud Logging's own; a stack in `stack_trace`, there only for an
    event that failed, reaches Error Reporting. All is ASCII and on one line, whatever an object
    is called. A generation is text: as a number it could lose digits in a reader's hands.
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


def reconciled(told: Mapping[str, object], examples: Sequence[str]) -> str:
    """Write what a reconciliation found and settled."""
    message = "reconciled " + ", ".join(f"{key}: {value}" for key, value in told.items())
    return json.dumps({"severity": "INFO", "message": message, **told, "examples": examples})


def problem(error: Exception) -> str:
    """Write an error that is no event's, as Cloud Logging and Error Reporting read it."""
    stack_trace = "".join(traceback.format_exception(error))
    return json.dumps({"severity": "ERROR", "message": str(error), "stack_trace": stack_trace})
