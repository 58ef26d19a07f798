"""The one line that is logged of an event."""

import json

from hypothesis import given
from hypothesis import strategies as st

from registry import log
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
