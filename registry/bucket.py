"""A bucket of Cloud Storage: lists, copies and removes objects, and never reads their contents."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Self

from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, PreconditionFailed
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.storage import Blob, Client

from registry.clients import LOG_IN, explain
from registry.errors import ListingFailed, NoCredentials, Refused, StorageFailed
from registry.event import StorageObject, custom_metadata
from registry.settings import Settings

ANSWER_SECONDS = 60.0

# With each list the client also asks for the bucket itself, on a thread of its own, to name it in
# traces. That needs a permission which listing does not, and is logged as denied.
_NO_REQUEST_FOR_TRACES = "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"

# A rewrite whose request has one of these keeps none of the source's, so all of them are sent.
# https://docs.cloud.google.com/storage/docs/json_api/v1/objects/rewrite
_KEPT = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
)
_FIELDS = (
    "nextPageToken,items(name,generation,size,timeCreated,timeDeleted,timeFinalized,crc32c,md5Hash,"
    "kmsKeyName,metadata)"
)
_FIELDS_FOR_COPIES = _FIELDS.replace(")", f",{','.join(_KEPT)})")
_OTHER = (
    "found one with other bytes: nothing is overwritten; withdraw it first, or give this model a"
    " new version"
)
_OUT_OF_REACH = "check that this machine reaches Cloud Storage, and try again"
_REMEDIES: Mapping[int | None, str] = {
    HTTPStatus.FORBIDDEN: "you need storage.objects.list, as in roles/storage.legacyBucketReader",
    HTTPStatus.NOT_FOUND: "check its name (--bucket-prefix); deploy/setup.sh makes the buckets",
}


_WRITE_REMEDIES: Mapping[int | None, str] = {
    HTTPStatus.FORBIDDEN: "you need roles/storage.objectUser on the buckets; then run it again",
    HTTPStatus.NOT_FOUND: "check that the bucket exists; deploy/setup.sh makes the buckets",
}


class Bucket:
    """A bucket whose objects can be listed, copied within Cloud Storage, and removed."""

    def __init__(self, client: Client, name: str) -> None:
        """`name` comes without gs://."""
        self._client = client
        self._may_describe = True
        self.name = name

    @classmethod
    def connect(cls, settings: Settings, name: str) -> Self:
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
        self, prefix: str = "", *, all_generations: bool = False, for_copies: bool = False
    ) -> Iterator[StorageObject]:
        """
        List the objects in the order of their names, a page at a time.

        With `all_generations` also those that were overwritten or deleted, if the bucket keeps
        them. With `for_copies` they have all the properties that a copy keeps.

        Raises:
            ListingFailed: Cloud Storage did not answer; what came before is still right.
        """
        try:
            blobs = self._client.list_blobs(
                self.name,
                prefix=prefix or None,
                versions=all_generations,
                fields=_FIELDS_FOR_COPIES if for_copies else _FIELDS,
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

    @property
    def keeps_removed(self) -> bool:
        """
        Whether an object that is removed can be brought back: by versioning, or soft delete.

        Raises:
            StorageFailed: The bucket did not answer.
        """
        with self._asking("what the bucket keeps", f"gs://{self.name}"):
            bucket = self._client.get_bucket(self.name, timeout=ANSWER_SECONDS)
        soft = bucket.soft_delete_policy.retention_duration_seconds
        return bool(bucket.versioning_enabled or int(soft or 0))

    @property
    def account(self) -> str | None:
        """Who makes the requests, where the credentials say it."""
        credentials = self._client._credentials  # noqa: SLF001 - the library has no other way
        for attribute in ("service_account_email", "account"):
            found = getattr(credentials, attribute, None)
            if isinstance(found, str) and "@" in found:
                return found
        return None

    def copy(self, source: StorageObject, added: Mapping[str, str]) -> None:
        """
        Copy a generation into this bucket, under its own name, with more custom metadata.

        Nothing is overwritten. The same bytes under the name are left as they are. A source that is
        live must still be live. Cloud Storage copies the contents itself, a part at a time.

        Raises:
            Refused: The name has other bytes, or the source has changed.
            StorageFailed: Cloud Storage did not copy it.
        """
        found = self._client.bucket(source.bucket).blob(source.name)
        pinned = {"if_source_generation_match": source.generation}
        if source.time_deleted is not None:
            found = self._client.bucket(source.bucket).blob(
                source.name, generation=source.generation
            )
            pinned = {}
        target = self._client.bucket(self.name).blob(source.name)
        target._properties |= {  # noqa: SLF001 - as they were listed
            **source.properties,
            "metadata": {**source.metadata, **added},
        }
        token: str | None = None
        address = f"gs://{self.name}/{source.name}"
        with self._asking("a copy at", address):
            while True:
                try:
                    token, _, _ = target.rewrite(
                        found, token=token, if_generation_match=0, timeout=ANSWER_SECONDS, **pinned
                    )
                except (NotFound, PreconditionFailed):
                    self._check_copied(source)
                    return
                if token is None:
                    return

    def _check_copied(self, source: StorageObject) -> None:
        """Find out why a copy was refused. The same bytes are there if it was run twice."""
        there = self._client.bucket(self.name).get_blob(source.name, timeout=ANSWER_SECONDS)
        if there is not None:
            if (there.size, there.crc32c) == (source.size, source.crc32c):
                return
            raise Refused(f"expected no gs://{self.name}/{source.name}, {_OTHER}")
        # Or there is no such bucket.
        next(iter(self._client.list_blobs(self.name, max_results=1, timeout=ANSWER_SECONDS)), None)
        raise Refused(
            f"expected gs://{source.bucket}/{source.name}#{source.generation}, found that it was"
            " overwritten or deleted meanwhile: look at the version, and run it again"
        )

    def remove(self, stored: StorageObject) -> None:
        """
        Delete a live object, if it is still this generation. The bucket may keep it.

        A request that names the generation itself would delete it for good.

        Raises:
            Refused: It was overwritten.
            StorageFailed: Cloud Storage did not delete it.
        """
        with self._asking("to delete", f"gs://{self.name}/{stored.name}"):
            try:
                self._client.bucket(self.name).blob(stored.name).delete(
                    if_generation_match=stored.generation, timeout=ANSWER_SECONDS
                )
            except NotFound:  # somebody else was faster
                return
            except PreconditionFailed as error:
                raise Refused(
                    f"expected gs://{self.name}/{stored.name}#{stored.generation}, found that it"
                    " was overwritten meanwhile: look at the version, and run it again"
                ) from error

    def restore(self, name: str, generation: int, crc32c: str | None) -> None:
        """
        Restore an object that the bucket keeps by soft delete, unless the same bytes are live.

        Raises:
            Refused: The bucket does not have it any more, or other bytes are live.
            StorageFailed: Cloud Storage did not restore it.
        """
        with self._asking("to restore", f"gs://{self.name}/{name}"):
            try:
                self._client.bucket(self.name).restore_blob(
                    name, generation=generation, if_generation_match=0, timeout=ANSWER_SECONDS
                )
            except PreconditionFailed as error:
                there = self._client.bucket(self.name).get_blob(name, timeout=ANSWER_SECONDS)
                if there is None or there.crc32c != crc32c:
                    raise Refused(f"expected no gs://{self.name}/{name}, {_OTHER}") from error
            except NotFound as error:
                raise Refused(
                    f"expected gs://{self.name}/{name}#{generation} to be kept, found that it is"
                    " gone for good: upload it again"
                ) from error

    @contextlib.contextmanager
    def _asking(self, wanted: str, address: str) -> Iterator[None]:
        try:
            yield
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            # It refused, or is out of reach: all errors of requests are OSErrors.
            remedy = _WRITE_REMEDIES.get(getattr(error, "code", None), _OUT_OF_REACH)
            raise StorageFailed(
                f"expected {wanted} {address}, {explain(error, {})}: {remedy}"
            ) from error

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
            properties={
                key: blob._properties[key]  # noqa: SLF001 - as they are sent
                for key in _KEPT
                if key in blob._properties  # noqa: SLF001
            },
            is_growing=blob.crc32c is None
            and blob.kms_key_name is None
            and blob._properties.get("timeFinalized") is None,  # noqa: SLF001 - the library asks for another name
        )
