"""The objects of Cloud Storage on this machine, with their live, kept and deleted generations."""

import hashlib
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from gcp_storage_emulator import storage as library
from gcp_storage_emulator.exceptions import BadRequest, Conflict, NotFound

type Resource = dict[str, Any]


def timestamp(generation: int) -> str:
    """Return the time of a generation, which counts microseconds, as Cloud Storage writes it."""
    time_of = datetime.fromtimestamp(generation / 1_000_000, UTC)
    return time_of.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Storage(library.Storage):  # type: ignore[misc] # it has no types
    """The library's storage in memory, which describes objects as Cloud Storage does."""

    def __init__(self, send: Callable[[str, Resource, str], None]) -> None:
        """Start without buckets. `send` takes an event's kind, its object and its time."""
        super().__init__(use_memory_fs=True)
        self.lock = threading.Lock()
        self.completed: dict[str | None, Resource] = {}
        # By bucket, name and generation.
        self.noncurrent: dict[tuple[str, str, str], tuple[Resource, bytes]] = {}
        self._send = send
        self._generation = 0
        self.request: Any  # the one that is being answered

    def create_file(
        self,
        bucket_name: str,
        file_name: str,
        content: bytes,
        file_obj: Resource,
        file_id: str | None = None,
    ) -> None:
        """Complete a write: every way of writing an object ends here."""
        if file_name in {None, "", ".", ".."} or re.search(r"[\r\n]", file_name):
            raise BadRequest(f"Invalid object name: {file_name!r}")
        self._generation = max(self._generation + 1, time.time_ns() // 1000)
        generation = self._asked_time() or self._generation
        created = timestamp(generation)
        path = f"b/{bucket_name}/o/{quote(file_name, safe='')}"
        address = file_obj["mediaLink"].partition("/download/")[0]
        media = f"{path}?generation={generation}&alt=media"
        file_obj |= {
            "id": f"{bucket_name}/{file_name}/{generation}",
            "selfLink": f"{address}/storage/v1/{path}",
            "mediaLink": f"{address}/download/storage/v1/{media}",
            "generation": str(generation),
            "metageneration": "1",
            "size": str(len(content)),
            "timeCreated": created,
            "updated": created,
            "timeStorageClassUpdated": created,
        }
        file_obj.pop("timeDeleted", None)  # of the generation that is restored
        if file_name in self.objects.get(bucket_name, {}):
            self.delete_file(bucket_name, file_name, deleted=created)
        super().create_file(bucket_name, file_name, content, file_obj, file_id)
        if file_id:
            self.completed[file_id] = file_obj
        self._send("finalized", file_obj, created)

    def find(
        self, bucket_name: str, name: str, generation: object = None
    ) -> tuple[Resource, bytes]:
        """Return a generation and its content: the live one, unless another is named."""
        live = self.objects.get(bucket_name, {}).get(name)
        if live and str(generation or live["generation"]) == live["generation"]:
            return live, super().get_file(bucket_name, name)
        key = bucket_name, name, str(generation)
        if key not in self.noncurrent:
            which = f" with generation {generation}" if generation else ""
            raise NotFound(f"No such object: {bucket_name}/{name}{which}")
        return self.noncurrent[key]

    def get_file_obj(self, bucket_name: str, file_name: str) -> Resource:
        """Return the generation that the request asks for."""
        return self.find(bucket_name, file_name, self.request.asked("generation"))[0]

    def get_file(self, bucket_name: str, file_name: str, show_error: bool = True) -> bytes:  # noqa: FBT001, FBT002 - as the library
        """Return the content of the generation that the request asks for."""
        if bucket_name == library.RESUMABLE_DIR:
            received: bytes = super().get_file(bucket_name, file_name, show_error)
            return received
        return self.find(bucket_name, file_name, self.request.asked("generation"))[1]

    def delete_file(
        self,
        bucket_name: str,
        file_name: str,
        generation: object = None,
        deleted: str | None = None,
    ) -> None:
        """
        Delete the live generation, which a versioned bucket keeps, or a named one for good.

        For good means that it can be restored for as long as the bucket's soft-delete policy says.
        """
        resource, content = self.find(bucket_name, file_name, generation)
        now = deleted or timestamp(self._asked_time() or time.time_ns() // 1000)
        key = bucket_name, file_name, resource["generation"]
        versioned = (self.buckets[bucket_name].get("versioning") or {}).get("enabled")
        if self.noncurrent.pop(key, None) is None:
            self._hard_delete_file(bucket_name, file_name)
            resource = {**resource, "timeDeleted": now}
            if versioned and not generation:
                self.noncurrent[key] = resource, content
                self._send("archived", resource, now)
                return
        self._soft_delete(resource, content)
        self._send("deleted", resource, now)

    def _soft_delete(self, resource: Resource, content: bytes) -> None:
        bucket_name, name, generation = (resource[key] for key in ("bucket", "name", "generation"))
        seconds = self._bucket_soft_delete_retention_seconds(bucket_name)
        if not seconds:
            return
        now = datetime.now(UTC)
        times = {"softDeleteTime": now, "hardDeleteTime": now + timedelta(seconds=seconds)}
        written = {key: value.isoformat().replace("+00:00", "Z") for key, value in times.items()}
        of_name = self.soft_deleted.setdefault(bucket_name, {}).setdefault(name, {})
        of_name[generation] = resource | written
        path = self._soft_delete_content_path(bucket_name, name, generation)
        self._store.write_bytes(path, content)

    def delete_bucket(self, bucket_name: str) -> None:
        """Refuse to delete a bucket that keeps noncurrent generations."""
        if any(of == bucket_name for of, *_ in self.noncurrent):
            raise Conflict(f"Bucket {bucket_name} is not empty")
        super().delete_bucket(bucket_name)

    def _list_live_candidates(
        self, bucket_name: str, prefix: str | None = None
    ) -> list[tuple[str, Resource]]:
        found: list[tuple[str, Resource]] = super()._list_live_candidates(bucket_name, prefix)
        if self.request.flag("versions"):
            found += [
                (name, resource)
                for (of, name, _), (resource, _) in self.noncurrent.items()
                if of == bucket_name and name.startswith(prefix or "")
            ]
        return found

    def _asked_time(self) -> int:
        """Read our own header, with which the sample data gets a history."""
        return int(self.request.get_header("x-time", 0))

    def _object_path(self, bucket_name: str, file_name: str) -> str:
        # The library takes a name for a path, in which `a//b` is `a/b` and `..` is an error.
        return f"{bucket_name}/{hashlib.sha256(file_name.encode()).hexdigest()}"

    def _write_config_to_file(self) -> None:
        """Save nothing: nobody reads it, and it takes longer with each object."""
