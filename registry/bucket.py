"""A bucket of Cloud Storage: what is there. It reads names and facts, never contents."""

import os
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.storage import Client

from registry.bigquery import LOG_IN, explain
from registry.errors import ListingFailed, NoCredentials
from registry.event import StorageObject
from registry.reconciliation import Listed
from registry.settings import Settings

ANSWER_SECONDS = 60.0

# Beside a list the client asks for the bucket itself, in a thread that goes on alone, for what
# traces would show: it takes a permission which listing does not, and is logged as denied.
_NO_REQUEST_FOR_TRACES = "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"

_FIELDS = (
    "nextPageToken,items(name,generation,size,timeCreated,timeDeleted,crc32c,md5Hash,metadata)"
)
_OUT_OF_REACH = "see whether this machine reaches Cloud Storage, and ask again"
_REMEDIES: Mapping[int | None, str] = {
    HTTPStatus.FORBIDDEN: "it takes storage.objects.list, as in roles/storage.legacyBucketReader",
    HTTPStatus.NOT_FOUND: "see its name, --bucket-prefix; deploy/setup.sh makes the buckets",
}


class Bucket:
    """A bucket that can be listed."""

    def __init__(self, client: Client, name: str) -> None:
        """`name` comes without gs://."""
        self._client = client
        self.name = name

    @classmethod
    def connect(cls, settings: Settings, name: str) -> "Bucket":
        """
        Make the client, as STORAGE_EMULATOR_HOST says if it is set; nothing is sent yet.

        Raises:
            ListingFailed: Of bucket and table one is real, the other emulated: what the real table
                holds would be taken for gone.
            NoCredentials: There are none on this machine.
        """
        if bool(os.environ.get("STORAGE_EMULATOR_HOST")) != settings.emulated:
            raise ListingFailed(
                "expected STORAGE_EMULATOR_HOST and BIGQUERY_EMULATOR_HOST, or neither, found one:"
                " set both for the local system, unset both for Google Cloud"
            )
        os.environ.setdefault(_NO_REQUEST_FOR_TRACES, "true")
        try:
            return cls(Client(project=settings.project), name)
        except DefaultCredentialsError as error:
            raise NoCredentials(f"expected Google credentials, found none: {LOG_IN}") from error

    def objects(self, prefix: str = "", *, all_generations: bool = False) -> Iterator[Listed]:
        """
        List what is there in the order of its names, a page at a time.

        With `all_generations` also what was overwritten or deleted, as far as the bucket keeps it.

        Raises:
            ListingFailed: Cloud Storage did not answer; what came before is right all the same.
        """
        try:
            blobs = self._client.list_blobs(
                self.name,
                prefix=prefix or None,
                versions=all_generations,
                fields=_FIELDS,
                timeout=ANSWER_SECONDS,
            )
        except ValueError as error:  # nothing has been sent yet
            raise ListingFailed(
                f"expected a bucket's name, found {self.name!r}: {error}"
            ) from error
        try:
            for blob in blobs:
                stored = StorageObject(
                    bucket=self.name,
                    name=blob.name,
                    generation=blob.generation,
                    size=blob.size,
                    time_created=blob.time_created,
                    crc32c=blob.crc32c,
                    md5_hash=blob.md5_hash,
                    metadata=blob.metadata or {},
                )
                yield Listed(stored=stored, live=blob.time_deleted is None)
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            # It refused, or was out of reach: all errors of requests are OSErrors.
            remedy = _REMEDIES.get(getattr(error, "code", None), _OUT_OF_REACH)
            raise ListingFailed(
                f"expected the list of gs://{self.name}, {explain(error, {})}: {remedy}"
            ) from error
