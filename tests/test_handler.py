"""The use case, with a table that can be made to fail."""

from datetime import UTC, datetime

import pytest

from registry.errors import AppendFailed
from registry.event import ARCHIVED, DELETED, FINALIZED
from registry.handler import register
from registry.outcome import Result, Severity
from registry.registration import Registration
from registry.removal import Removal
from registry.table import RegistryTable
from tests.events import MISSING, body, finalized

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Table(RegistryTable):
    """A table which keeps what is appended in a list, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        """`error` is raised instead of appending."""
        self.registrations: list[Registration] = []
        self.removals: list[Removal] = []
        self.error = error

    def append(self, *registrations: Registration) -> None:
        """Append to the list."""
        if self.error is not None:
            raise self.error
        self.registrations += registrations

    def append_removals(self, *removals: Removal) -> None:
        """Do the same."""
        if self.error is not None:
            raise self.error
        self.removals += removals


def test_an_artifact_is_registered_at_the_clocks_time() -> None:
    table = Table()
    outcome = register(finalized(body()), table, clock=lambda: NOW)

    [registration] = table.registrations
    assert registration.registered_at == NOW
    assert (outcome.result, outcome.severity) == (Result.REGISTERED, Severity.INFO)
    assert outcome.error is None


@pytest.mark.parametrize(
    ("changes", "result", "severity"),
    [
        ({"name": "fraud/v1/", "size": "0"}, Result.SKIPPED, Severity.INFO),
        ({"name": "fraud/v1/", "size": "352"}, Result.SKIPPED, Severity.WARNING),
        ({"name": "gcloud/tmp/parallel_composite_uploads/a_0"}, Result.SKIPPED, Severity.INFO),
        ({"name": "model.pkl"}, Result.SKIPPED, Severity.WARNING),
        ({"bucket": "ml-models"}, Result.SKIPPED, Severity.WARNING),
        ({"size": MISSING}, Result.INVALID, Severity.ERROR),
    ],
)
def test_a_permanent_error_is_not_asked_for_again(
    changes: dict[str, object], result: Result, severity: Severity
) -> None:
    table = Table()
    outcome = register(finalized(body(**changes)), table, clock=lambda: NOW)

    assert table.registrations == []
    assert (outcome.result, outcome.severity) == (result, severity)
    assert outcome.error is None


@pytest.mark.parametrize("event_type", [DELETED, ARCHIVED])
def test_a_removal_is_recorded_with_its_event(event_type: str) -> None:
    table = Table()
    data = body(timeDeleted="2026-03-01T11:00:00Z")
    outcome = register(finalized(data, event_type), table, clock=lambda: NOW)

    assert table.registrations == []
    assert table.removals == [
        Removal(
            bucket="ml-models-dev",
            name="titanic-survival/v1/model.pkl",
            generation=1587627537231057,
            upload_timestamp=datetime(2020, 4, 23, 7, 38, 57, 230000, tzinfo=UTC),
            removed_at=datetime(2026, 3, 1, 11, tzinfo=UTC),
            recorded_at=NOW,
            recorded_by=event_type.rpartition(".")[2],
        )
    ]
    assert (outcome.result, outcome.severity) == (Result.REMOVED, Severity.INFO)
    assert outcome.message == "removed titanic-survival v1 model.pkl from dev"


@pytest.mark.parametrize("event_type", [FINALIZED, DELETED])
@pytest.mark.parametrize("error", [AppendFailed("table missing"), KeyError("a fault of our own")])
def test_an_event_that_was_not_written_is_asked_for_again_for_any_reason(
    error: Exception, event_type: str
) -> None:
    outcome = register(finalized(body(), event_type), Table(error), clock=lambda: NOW)

    assert (outcome.result, outcome.severity) == (Result.FAILED, Severity.ERROR)
    assert outcome.error is error
    assert outcome.message == str(error)


def test_an_outcome_has_all_that_could_be_read() -> None:
    outcome = register(finalized(body(bucket="ml-models")), Table(), clock=lambda: NOW)

    assert (outcome.gcs_bucket, outcome.gcs_path) == ("ml-models", "titanic-survival/v1/model.pkl")
    assert (outcome.model_name, outcome.model_version) == ("titanic-survival", 1)
    assert outcome.generation == 1587627537231057
    assert outcome.environment is None
