"""Google's clients, and readable messages for their errors."""

import contextlib
import os
import re
from collections.abc import Mapping

from google.api_core.exceptions import RetryError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import bigquery
from requests.adapters import HTTPAdapter

from registry.errors import NoCredentials
from registry.settings import Settings

_SHOWN_CHARACTERS = 500
LOG_IN = "run gcloud auth application-default login"


def certificates(folder: str, environ: Mapping[str, str]) -> str | None:
    """
    Return which certificates connections should trust; None for requests' own choice, certifi's.

    What one of requests' variables names stays in force. Otherwise it is the system's `folder`, if
    OpenSSL can find any in there, by a name such as `002c0b4f.0`. From a folder OpenSSL reads only
    the certificate that it needs. From certifi's file it reads all of them, which is a tenth of a
    start's work.
    """
    chosen = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    if chosen:
        return chosen
    with contextlib.suppress(OSError), os.scandir(folder) as files:
        if any(
            re.fullmatch(r"[0-9a-f]{8}\.[0-9]+", file.name) and file.is_file() for file in files
        ):
            return folder
    return None


def connect(settings: Settings) -> bigquery.Client:
    """
    Make BigQuery's client; nothing is sent yet.

    It keeps a connection for each thread. By default it would keep ten, and throw the others away.

    Raises:
        NoCredentials: This machine has none.
    """
    credentials = AnonymousCredentials() if settings.emulated else None  # type: ignore[no-untyped-call] # google-auth types this class in part
    try:
        client = bigquery.Client(project=settings.project, credentials=credentials)
    except (DefaultCredentialsError, OSError) as error:
        raise NoCredentials(f"expected Google credentials, found: {error}: {LOG_IN}") from error
    for scheme in ("https://", "http://"):
        client._http.mount(scheme, HTTPAdapter(pool_maxsize=settings.threads))  # noqa: SLF001 - the client takes no other way to set this
    return client


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
