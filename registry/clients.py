"""Google's clients, and readable messages for their errors."""

from collections.abc import Mapping

from google.api_core.exceptions import RetryError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import bigquery

from registry.errors import NoCredentials
from registry.settings import Settings

_SHOWN_CHARACTERS = 500
LOG_IN = "run gcloud auth application-default login"


def connect(settings: Settings) -> bigquery.Client:
    """
    Make BigQuery's client; nothing is sent yet.

    Raises:
        NoCredentials: This machine has none.
    """
    credentials = AnonymousCredentials() if settings.emulated else None  # type: ignore[no-untyped-call] # google-auth types this class in part
    try:
        return bigquery.Client(project=settings.project, credentials=credentials)
    except (DefaultCredentialsError, OSError) as error:
        raise NoCredentials(f"expected Google credentials, found: {error}: {LOG_IN}") from error


def reasons(error: BaseException | None) -> list[str]:
    """Return BigQuery's reason codes; a proxy's error has none."""
    return [problem["reason"] for problem in getattr(error, "errors", ()) if "reason" in problem]


def explain(error: Exception, remedies: Mapping[str, str]) -> str:
    """Return what was found instead of an answer, and the remedy for each reason code."""
    cause: BaseException | None = error
    while isinstance(cause, RetryError):
        cause = cause.cause
    text = str(cause)
    if len(text) > _SHOWN_CHARACTERS:  # a proxy may answer with a whole web page
        text = f"{text[:_SHOWN_CHARACTERS]}…"
    found = f"found {type(cause).__name__}: {text}"
    return ": ".join([found, *(remedies[name] for name in reasons(cause) if name in remedies)])
