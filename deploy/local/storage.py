# /// script
# requires-python = ">=3.12"
# dependencies = ["gcp-storage-emulator==2026.7.19", "google-crc32c==1.9.0"]
# ///
# ruff: noqa: SLF001 - the fixes replace private names
"""
Cloud Storage on this machine: gcp-storage-emulator, fixed for Google's own clients.

Each write and each removal becomes events (eventarc.py), and buckets are versioned, as
deploy/setup.sh makes them. The fixes replace private names of the library, so its version is pinned
exactly. Everything is kept in memory.
"""

import argparse
import base64
import email
import functools
import itertools
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from eventarc import Delivery, without_empty
from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import BadRequest, Conflict, NotFound
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.settings import DEFAULT_PROJECT_NUMBER as PROJECT_NUMBER
from generations import Resource, Storage, timestamp

library_download, library_read_data = objects.download, server._read_data
library_batch_delete = objects._batch_delete

# What a copy keeps of its source, unless the request names any of it.
EDITABLE = {
    *("cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType"),
    *("customTime", "metadata"),
}

type Handler = Callable[[Request, Response, Storage], None]


class Request(server.Request):  # type: ignore[misc] # it has no types
    """A request, with what Cloud Storage checks before it does anything."""

    def asked(self, parameter: str) -> str | None:
        """Read one parameter of the query."""
        values: list[str] = self.query.get(parameter, [None])
        return values[0]

    def flag(self, parameter: str) -> bool:
        """Read a parameter that is true or false."""
        return (self.asked(parameter) or "").lower() == "true"

    def check(self, body: object, storage: Storage) -> None:
        """Refuse a request for another generation, or with a precondition that is not met."""
        if self.asked("upload_id") in storage.completed:
            return
        at = self.params
        given = body if isinstance(body, dict) else {}
        upload = storage.resumable.get(self.asked("upload_id"), given.get("meta", given))
        name = at.get("object_id") or self.asked("name") or upload.get("name")
        if "dest_object_id" in at:
            source, _ = storage.find(at["bucket_name"], name, self.asked("sourceGeneration"))
            require(self.asked, source, of="Source")
        bucket_name = at.get("dest_bucket_name", at.get("bucket_name"))
        found = storage.objects.get(bucket_name, {}).get(at.get("dest_object_id", name))
        if self.method in {"GET", "DELETE", "PATCH"}:
            if not name or self.flag("softDeleted"):
                return
            found, _ = storage.find(bucket_name, name, self.asked("generation"))
        require(self.asked, found)


class Response(server.Response):  # type: ignore[misc] # it has no types
    """An answer as Cloud Storage sends it."""

    def __setitem__(self, key: str, value: str) -> None:
        """Send text as UTF-8, which http.server refuses: custom metadata is sent in headers too."""
        super().__setitem__(key, value.encode().decode("latin-1"))

    def json(self, obj: Resource) -> None:
        """Leave out what is empty."""
        super().json(without_empty(obj))


class PreconditionFailed(Exception):
    """A precondition of a write, such as `ifGenerationMatch=0`, is not met."""


def require(asked: Callable[[str], str | None], resource: Resource | None, of: str = "") -> None:
    """Check each precondition; an object that does not exist has generation 0."""
    for counter, kind in itertools.product(("Generation", "Metageneration"), ("Match", "NotMatch")):
        wanted = asked(f"if{of}{counter}{kind}")
        found = int(resource[counter.lower()]) if resource else 0
        if wanted is not None and (int(wanted) == found) != (kind == "Match"):
            raise PreconditionFailed(f"if{of}{counter}{kind}={wanted}, but it is {found}")


def read_body(handler: server.RequestHandler, query: Mapping[str, Sequence[str]]) -> object:
    """Read an upload as it is; the library would read a JSON file as a request."""
    content_type = handler.headers.get("Content-Type", "")
    related = content_type.startswith("multipart/related")
    if not related and "upload_id" not in query and "media" not in query.get("uploadType", ()):
        return library_read_data(handler, query)
    sent = server._read_raw_data(handler) or b""
    if len(sent) < int(handler.headers.get("Content-Length", 0)):
        raise ConnectionAbortedError("the client went away during an upload")
    content = server._decode_raw_data(sent, handler) or b""
    return multipart(content_type, content) if related else content


def multipart(content_type: str, body: bytes) -> Resource:
    """
    Split an upload into metadata and content, byte for byte.

    gcloud quotes the boundary with `'`, and ends lines with a line feed alone.
    """
    boundary = re.search(r"boundary=(['\"]?)([^;]+)\1", content_type)
    if not boundary:
        raise BadRequest(f"expected a multipart boundary, found {content_type!r}")
    delimiter = b"--" + boundary[2].encode()
    newline = b"\r\n" if body.startswith(delimiter + b"\r\n") else b"\n"
    _, metadata, rest = (newline + body).split(newline + delimiter, 2)
    header, _, content = rest.partition(newline * 2)
    return {
        "meta": json.loads(metadata.partition(newline * 2)[2]),
        "content": content[: content.rindex(newline + delimiter)],
        "content-type": email.message_from_bytes(header.lstrip())["Content-Type"],
    }


def write(request: Request, storage: Storage, content: bytes, given: Resource) -> Resource:
    """Write an object made of others. Hashes are computed, whatever the client sent."""
    at = request.params
    bucket_name = at.get("dest_bucket_name", at["bucket_name"])
    name = at.get("dest_object_id", at["object_id"])
    properties = {**given, "crc32c": None, "md5Hash": None}
    resource: Resource = objects._make_object_resource(
        request.base_url, bucket_name, name, given.get("contentType"), len(content), properties
    )
    objects._checksums(content, resource)
    if components := given.get("componentCount"):
        resource |= {"componentCount": components, "md5Hash": None}
    storage.create_file(bucket_name, name, content, resource)
    return resource


def copied(request: Request, storage: Storage) -> Resource:
    """Copy an object with its metadata, or with those of the request: then none are kept."""
    source = request.params["bucket_name"], request.params["object_id"]
    resource, content = storage.find(*source, request.asked("sourceGeneration"))
    given = request.data or {}
    kept = {key: None for key in EDITABLE if EDITABLE & given.keys()}
    return write(request, storage, content, {**resource, **kept, **given})


def copy(request: Request, response: Response, storage: Storage) -> None:
    """Answer objects.copy."""
    response.json(copied(request, storage))


def rewrite(request: Request, response: Response, storage: Storage) -> None:
    """Answer objects.rewrite, always in one go."""
    resource = copied(request, storage)
    sizes = dict.fromkeys(("objectSize", "totalBytesRewritten"), resource["size"])
    response.json({"kind": "storage#rewriteResponse", "done": True, "resource": resource, **sizes})


def move(request: Request, response: Response, storage: Storage) -> None:
    """Answer objects.move. The source is deleted for good; even soft delete does not keep it."""
    source = request.params["bucket_name"], request.params["object_id"]
    generation = storage.find(*source, request.asked("sourceGeneration"))[0]["generation"]
    resource = copied(request, storage)
    storage.delete_file(*source, generation)
    storage._remove_soft_deleted_generation(*source, generation)
    response.json(resource)


def delete(request: Request, _: Response, storage: Storage) -> None:
    """Answer objects.delete."""
    at = request.params
    storage.delete_file(at["bucket_name"], at["object_id"], request.asked("generation"))


def batch_delete(request: Request, item: Resource, storage: Storage, *of: Any) -> bool:  # noqa: ANN401 - as the library
    """Answer objects.delete in a batch, where the library would not read the generation."""
    bucket_name, name, _, response = of
    [generation] = parse_qs(item.get("query", "")).get("generation", [None])
    if not name or not generation:
        answered: bool = library_batch_delete(request, item, storage, *of)
        return answered
    try:
        storage.delete_file(bucket_name, name, generation)
    except NotFound:
        return False
    response.write("HTTP/1.1 204 No Content\r\n\r\n")
    return True


def compose(request: Request, response: Response, storage: Storage) -> None:
    """Answer objects.compose. The new object has no MD5, and a count of its components."""
    bucket_name = request.params["bucket_name"]
    sources, contents = [], []
    for part in request.data["sourceObjects"]:
        source, content = storage.find(bucket_name, part["name"], part.get("generation"))
        require(part.get("objectPreconditions", {}).get, source)
        sources.append(source)
        contents.append(content)
    given = {"contentType": sources[0].get("contentType"), **request.data.get("destination", {})}
    given["componentCount"] = sum(source.get("componentCount", 1) for source in sources)
    response.json(write(request, storage, b"".join(contents), given))


def patched(storage: Storage, bucket_name: str, name: str, changes: Resource) -> Resource | None:
    """Merge as Cloud Storage does: a null removes a property, or a key of the metadata."""
    try:
        resource = storage.get_file_obj(bucket_name, name)
    except NotFound:
        return None
    before = {**(resource.get("metadata") or {})}
    objects._patch_object(resource, changes)
    resource |= {key: None for key, value in changes.items() if value is None}
    if changes.get("metadata"):
        metadata = {**before, **changes["metadata"]}
        resource["metadata"] = {key: v for key, v in metadata.items() if v is not None}
    resource["updated"] = timestamp(time.time_ns() // 1000)
    return resource


def list_objects(request: Request, response: Response, storage: Storage) -> None:
    """Answer objects.list, a page at a time. A page's token is the end of the page before."""
    found, prefixes = storage.get_file_list(
        request.params["bucket_name"],
        *(request.asked(parameter) for parameter in ("prefix", "delimiter", "matchGlob")),
        soft_deleted=request.flag("softDeleted"),
    )
    # An object may be there in several generations.
    listed = {f"{resource['name']}\0{resource['generation']}": resource for resource in found}
    after = base64.urlsafe_b64decode(request.asked("pageToken") or "").decode()
    left = sorted(key for key in [*listed, *prefixes] if key > after)
    page = left[: int(request.asked("maxResults") or 1000)]
    answer = {
        "kind": "storage#objects",
        "prefixes": [key for key in page if key not in listed],
        "items": [listed[key] for key in page if key in listed],
    }
    if len(page) < len(left):
        answer["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    response.json(answer)


def download(request: Request, response: Response, storage: Storage) -> None:
    """Answer with the content; headers say which generation it is."""
    library_download(request, response, storage)
    resource = storage.get_file_obj(*request.params.values())
    response["X-Goog-Generation"] = resource["generation"]
    response["X-Goog-Metageneration"] = resource["metageneration"]
    response["X-Goog-Storage-Class"] = resource["storageClass"]
    if not resource["md5Hash"] and "X-Goog-Hash" in response._headers:
        response["X-Goog-Hash"] = f"crc32c={resource['crc32c']}"


def storage_layout(request: Request, response: Response, storage: Storage) -> None:
    """Answer buckets.getStorageLayout, which gcloud asks before it walks a folder."""
    bucket = storage.buckets.get(request.params["bucket_name"])
    if not bucket:
        raise NotFound("The specified bucket does not exist.")
    layout = {"kind": "storage#storageLayout", "bucket": bucket["name"]}
    layout |= {key: bucket[key] for key in ("location", "locationType")}
    response.json(layout | {"hierarchicalNamespace": {"enabled": False}})


def managed_folders(_: Request, response: Response, __: Storage) -> None:
    """Answer managedFolders.list, which gcloud asks before it removes a bucket: there are none."""
    response.json({"kind": "storage#managedFolders"})


def project(request: Request, response: Response, _: Storage) -> None:
    """Answer Resource Manager's projects.get, which the scripts of deploy/ ask first."""
    names = {"projectId": request.params["project"], "projectNumber": PROJECT_NUMBER}
    response.json({**names, "lifecycleState": "ACTIVE"})


def permissions(request: Request, response: Response, _: Storage) -> None:
    """Answer projects.testIamPermissions: here one may do everything."""
    response.json({"permissions": request.data["permissions"]})


def upload_partial(request: Request, response: Response, storage: Storage) -> None:
    """Continue an upload. If it is complete, answer with its object: a client may ask again."""
    if completed := storage.completed.get(request.asked("upload_id")):
        response.json(completed)
    else:
        objects.upload_partial(request, response, storage)


def resumable_incomplete(response: Response, storage: Storage, upload_id: str, **_: object) -> None:
    """Say how much has arrived. For nothing, the library would say one byte."""
    response.status = objects.GoogleHTTPStatus.RESUME_INCOMPLETE
    if received := storage.get_resumable_byte_count(upload_id):
        response["Range"] = f"bytes=0-{received - 1}"


STATUSES: Mapping[type[Exception], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    BadRequest: HTTPStatus.BAD_REQUEST,
    Conflict: HTTPStatus.BAD_REQUEST,  # a hash that does not match
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
}


def answered(handler: Handler) -> Handler:
    """Handle one request at a time, with a reason for each refusal, as clients expect."""

    def answer(request: Request, response: Response, storage: Storage) -> None:
        message = ""
        try:
            body = request.data  # before the lock: a slow upload delays no other
            with storage.lock:
                storage.request = request
                request.check(body, storage)
                handler(request, response, storage)
        except tuple(STATUSES) as error:
            message = str(error)
            response.status = STATUSES[type(error)]
        if request.method == "GET" and "NotMatch" in message:
            response.status = HTTPStatus.NOT_MODIFIED
        elif response.status >= HTTPStatus.BAD_REQUEST and not response._content:
            reason = {"code": response.status, "message": message or response.status.phrase}
            response.json({"error": reason})

    return answer


def fix_library() -> None:
    """Replace the library's functions by those above."""
    server.Request, server.Response = Request, Response
    objects.download, objects._patch = download, patched
    objects._resumable_incomplete, server._read_data = resumable_incomplete, read_body
    objects._BATCH_METHOD_HANDLERS["DELETE"] = batch_delete
    server.BATCH_HANDLERS = tuple(
        path.replace(server._QUERY, r"(?:\?(?P<query>\S*))?") for path in server.BATCH_HANDLERS
    )
    bucket = r"/b/(?P<bucket_name>[-.\w]+)"
    moved = r"(?P<object_id>.+)/moveTo/o/(?P<dest_object_id>.+)"
    upload = {"POST": objects.insert, "PUT": objects.upload_partial}
    routes = (
        (rf"(?:/storage/v1)?{bucket}/o/{moved}", {"POST": move}),
        (rf"/resumable/upload/storage/v1{bucket}/o", upload),
        (rf"(?:/storage/v1)?{bucket}/storageLayout", {"GET": storage_layout}),
        (rf"(?:/storage/v1)?{bucket}/managedFolders", {"GET": managed_folders}),
        (r"/v1/projects/(?P<project>[-.:\w]+):testIamPermissions", {"POST": permissions}),
        (r"/v1/projects/(?P<project>[-.:\w]+)", {"GET": project}),
        *server.HANDLERS,
    )
    fixed = {
        objects.ls: list_objects,
        objects.copy: copy,
        objects.rewrite: rewrite,
        objects.compose: compose,
        objects.delete: delete,
        objects.upload_partial: upload_partial,
        library_download: download,
    }
    server.HANDLERS = tuple(
        (path, {method: answered(fixed.get(handler, handler)) for method, handler in of.items()})
        for path, of in routes
    )


class Server(ThreadingHTTPServer):
    """A server for many connections at once, which clients may break."""

    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class
        """Report errors, except that the client has gone away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    """Serve until ended by a signal."""
    parser = argparse.ArgumentParser(description="Serve Cloud Storage's JSON API on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--project", help="the project of the buckets; nothing checks it")
    parser.add_argument("--deliver-to", required=True, help="where events are sent")
    parser.add_argument("--bucket", action="append", default=[], help="made at the start")
    options = parser.parse_args()

    # Everything is in memory: there is nothing to save.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    logging.disable()  # the library logs each 404, which the client sees anyway
    fix_library()
    storage = Storage(Delivery(options.deliver_to).send)
    for name in options.bucket:
        buckets.create_bucket(name, storage)["versioning"] = {"enabled": True}
    try:
        serving = Server(
            ("127.0.0.1", options.port), functools.partial(server.RequestHandler, storage)
        )
    except OSError as error:
        sys.exit(f"cannot listen on 127.0.0.1:{options.port}: {error.strerror}")
    serving.serve_forever()


if __name__ == "__main__":
    main()
