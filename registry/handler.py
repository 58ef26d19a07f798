"""The use case: register what an event says, an arrival or a removal."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from cloudevents.http import CloudEvent

from registry.artifact import ArtifactPath
from registry.environment import Environment
from registry.errors import FolderMarker, InvalidEvent, NotForTheRegistry, UploadPart, shorten
from registry.event import StorageObject, unwrap
from registry.outcome import Outcome, Result, Severity
from registry.registration import Registration
from registry.removal import Removal
from registry.table import RegistryTable


def register(event: CloudEvent, table: RegistryTable, clock: Callable[[], datetime]) -> Outcome:
    """
    Register that an artifact arrived, or was removed, if the event is about one.

    Never raises: what went wrong is in the outcome, whose `error` is set if the event has to be
    delivered again. `clock` returns the time of the registration, with a time zone.
    """
    event = unwrap(event)
    stored = artifact = environment = failure = None
    try:
        stored = StorageObject.from_event(event)
        artifact = ArtifactPath.parse(stored.name, size=stored.size)
        environment = Environment.of_bucket(stored.bucket)
        if stored.time_deleted is None:
            registration = Registration(
                artifact=artifact, environment=environment, stored=stored, registered_at=clock()
            )
            table.append(registration)
            result, message = Result.REGISTERED, f"registered {registration}"
        else:
            table.append_removals(
                Removal(
                    bucket=stored.bucket,
                    name=stored.name,
                    generation=stored.generation,
                    upload_timestamp=stored.time_created,
                    removed_at=stored.time_deleted,
                    recorded_at=clock(),
                    recorded_by=event["type"].rpartition(".")[2],
                )
            )
            result, message = Result.REMOVED, f"removed {artifact} from {environment}"
        severity = Severity.INFO
    except (FolderMarker, UploadPart) as error:
        result, severity, message = Result.SKIPPED, Severity.INFO, str(error)
    except NotForTheRegistry as error:
        result, severity, message = Result.SKIPPED, Severity.WARNING, str(error)
    except InvalidEvent as error:
        result, severity, message = Result.INVALID, Severity.ERROR, str(error)
    except Exception as error:  # noqa: BLE001 - AppendFailed, or a bug of ours: nothing is lost
        result, severity, message = Result.FAILED, Severity.ERROR, str(error)
        failure = error

    fields = event.data if isinstance(event.data, Mapping) else {}
    return Outcome(
        result=result,
        severity=severity,
        message=message,
        event_id=_text_or_none(str(event["id"])),
        environment=environment,
        gcs_bucket=_text_or_none(fields.get("bucket")),
        gcs_path=_text_or_none(fields.get("name")),
        generation=stored.generation if stored else None,
        model_name=artifact.model_name if artifact else None,
        model_version=artifact.model_version if artifact else None,
        error=failure,
    )


def unreadable(headers: Iterable[str], content_type: str | None, body: bytes) -> Outcome:
    """Return the outcome of a request that is not a CloudEvent, by its headers' names."""
    ours = sorted(name.lower() for name in headers if name.lower().startswith("ce-"))
    message = (
        "expected a CloudEvent, with the headers ce-id, ce-source, ce-specversion, ce-type and JSON"
        f" data, or all in one JSON body; found the headers {', '.join(ours) or '(none)'},"
        f" content type {shorten(content_type)} and the body {shorten(body)}"
    )
    return Outcome(result=Result.INVALID, severity=Severity.ERROR, message=message)


def _text_or_none(value: object) -> str | None:
    """Return text, at most as long as a name can be: a log line has its limits."""
    return value[:1024] if isinstance(value, str) else None
