"""Lists a bucket of Cloud Storage. It reads names and facts, never contents."""

import os
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from google.api_core.exceptions import Forbidden, GoogleAPIError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.storage import Blob, Client

from registry.clients import LOG_IN, explain
from registry.errors import ListingFailed, NoCredentials
from registry.event import StorageObject, custom_metadata
from registry.settings import Settings

ANSWER_SECONDS = 60.0

# With each list the client also asks for the bucket itself, on a thread of its own, to name it in
# traces. That needs a permission which listing does not, and is logged as denied.
_NO_REQUEST_FOR_TRACES = "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"

_FIELDS = (
    "nextPageToken,items(name,generation,size,timeCreated,timeDeleted,timeFinalized,crc32c,md5Hash,"
    "kmsKeyName,metadata)"
)
_OUT_OF_REACH = "check that this machine reaches Cloud Storage, and try again"
_REMEDIES: Mapping[int | None, str] = {
    HTTPStatus.FORBIDDEN: "you need storage.objects.list, as in roles/storage.legacyBucketReader",
    HTTPStatus.NOT_FOUND: "check its name and --bucket-prefix; deploy/setup.sh makes the buckets",
}


class Bucket:
    """A bucket that can be listed."""

    def __init__(self, client: Client, name: str) -> None:
        """`name` comes without gs://."""
        self._client = client
        self._may_describe = True
        self.name = name

    @classmethod
    def connect(cls, settings: Settings, name: str) -> "Bucket":
        """
        Make the client, of STORAGE_EMULATOR_HOST if it is set; nothing is sent yet.

        Raises:
            ListingFailed: Either the bucket or the table is emulated, but not both: everything
                would look removed.
            NoCredentials: This machine has none.
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

    def objects(
        self, prefix: str = "", *, all_generations: bool = False
    ) -> Iterator[StorageObject]:
        """
        List the objects in the order of their names, a page at a time.

        With `all_generations` also those that were overwritten or deleted, if the bucket keeps
        them.

        Raises:
            ListingFailed: Cloud Storage did not answer; what came before is still right.
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
            yield from map(self._stored, blobs)
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            # It refused, or is out of reach: all errors of requests are OSErrors.
            remedy = _REMEDIES.get(getattr(error, "code", None), _OUT_OF_REACH)
            raise ListingFailed(
                f"expected the list of gs://{self.name}, {explain(error, {})}: {remedy}"
            ) from error

    def describe(self, stored: StorageObject) -> StorageObject:
        """
        Return what the object itself says, which a list may lack: its checksums.

        It needs storage.objects.get. Where that is missing, or the generation is gone, it returns
        what it was given.
        """
        if not self._may_describe:
            return stored
        try:
            blob = self._client.bucket(self.name).get_blob(
                stored.name, generation=stored.generation, timeout=ANSWER_SECONDS
            )
        except Forbidden:
            self._may_describe = False
            return stored
        except (GoogleAPIError, GoogleAuthError, OSError):
            return stored
        return stored if blob is None else self._stored(blob)

    def _stored(self, blob: Blob) -> StorageObject:
        """
        Read an object.

        It is growing if it has no checksum, is not encrypted with a customer-managed key, whose
        objects have none in a list, and nobody has finalized it.
        https://docs.cloud.google.com/storage/docs/appendable-objects
        """
        return StorageObject(
            bucket=self.name,
            name=blob.name,
            generation=blob.generation,
            size=blob.size,
            time_created=blob.time_created,
            crc32c=blob.crc32c,
            md5_hash=blob.md5_hash,
            metadata=custom_metadata(blob.metadata),
            time_deleted=blob.time_deleted,
            is_growing=blob.crc32c is None
            and blob.kms_key_name is None
            and blob._properties.get("timeFinalized") is None,  # noqa: SLF001 - the library asks for another name
        )
