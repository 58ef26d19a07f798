"""The one line that is logged of an event."""

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from registry import log
from registry.finding import Difference, Finding, Summary
from registry.outcome import Outcome, Result, Severity

SKIPPED = Outcome(result=Result.SKIPPED, severity=Severity.INFO, message="a folder marker")


def test_what_could_not_be_read_is_null() -> None:
    assert json.loads(log.line(SKIPPED, duration_ms=3)) == {
        "severity": "INFO",
        "message": "a folder marker",
        "outcome": "skipped",
        "environment": None,
        "event_id": None,
        "gcs_bucket": None,
        "gcs_path": None,
        "generation": None,
        "model_name": None,
        "model_version": None,
        "duration_ms": 3,
    }


@given(st.text())
def test_it_is_one_line_of_ascii_for_any_object_name(name: str) -> None:
    outcome = Outcome(result=Result.SKIPPED, severity=Severity.INFO, message=name, gcs_path=name)
    line = log.line(outcome, duration_ms=0)

    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["gcs_path"] == name


def test_a_failure_brings_its_stack_and_what_caused_it() -> None:
    try:
        try:
            raise ConnectionError("reset")  # noqa: TRY301 - a cause is wanted
        except ConnectionError as cause:
            raise RuntimeError("not confirmed") from cause
    except RuntimeError as error:
        outcome = Outcome(result=Result.FAILED, severity=Severity.ERROR, message="no", error=error)

    stack = json.loads(log.line(outcome, duration_ms=0))["stack_trace"]
    assert "ConnectionError: reset" in stack
    assert stack.endswith("RuntimeError: not confirmed\n")


def test_a_warning_is_one_line() -> None:
    line = log.warning("expected a ü,\nfound none")

    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line) == {"severity": "WARNING", "message": "expected a ü,\nfound none"}


def test_a_reconciliation_is_a_warning_only_if_events_were_lost() -> None:
    """Metadata that was set later has no event, nor has what is there again."""
    kinds = [Difference.CHANGED, Difference.REAPPEARED, Difference.OUTSIDE_THE_LAYOUT]
    found = Summary()

    def logged() -> dict[str, Any]:
        counts = {"bucket": "b-dev", **found.by_kind()}
        line = log.reconciled(
            counts, found.examples, lost=found.lost, lost_examples=found.lost_examples
        )
        return cast("dict[str, Any]", json.loads(line))

    for kind in kinds:
        found.add(Finding(difference=kind, name="m/v1/f", generation=1, time=None))
    quiet = logged()
    for number in range(12):
        kind = Difference.REMOVED if number else Difference.UNREGISTERED
        found.add(Finding(difference=kind, name=f"m/v{number}/f", generation=1, time=None))
    lost = logged()

    assert (quiet["severity"], quiet["outcome"]) == ("INFO", "reconciled")
    assert (lost["severity"], lost["outcome"]) == ("WARNING", "lost")
    assert lost["bucket"] == "b-dev"
    assert (lost["unregistered"], lost["removed"], lost["reappeared"]) == (1, 11, 1)
    names = ", ".join(f"m/v{number}/f" for number in range(10))
    assert lost["message"].endswith(f"Events were lost, of {names} and 2 more")


def test_what_is_unlike_staging_is_counted_and_named() -> None:
    counts = {"different": 1, "skipped": 3}
    examples = {"different": ["m/v1"], "skipped": ["m/v3", "m/v2"]}

    assert json.loads(log.unlike_staging(counts, examples)) == {
        "severity": "WARNING",
        "message": "prod is not what staging has. different: m/v1; skipped: m/v3, m/v2 and 1 more",
        "outcome": "unlike_staging",
        **counts,
        "examples": examples,
    }
