"""Where the files of a version go below a folder. Their names come from whoever uploaded them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry.errors import Refused, shorten
from registry.rows import Artifact

_NAME_MAX_BYTES = 255  # of a file, in all usual file systems


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """
    One generation of an object, what it must be, and its path below a folder.

    `size` is in bytes, `crc32c` in base64.
    """

    bucket: str
    name: str
    generation: int
    size: int
    crc32c: str
    path: str

    def __str__(self) -> str:
        """Return where it is: `gs://ml-models-prod/churn/v3/model.pkl#1234`."""
        return f"gs://{self.bucket}/{self.name}#{self.generation}"


def place(artifacts: Sequence[Artifact]) -> list[Placed]:
    """
    Place the files of a version, by path. No path leads out of the folder.

    Raises:
        Refused: A name cannot be a file's, two are one, or the registry lacks a checksum.
    """
    placed = sorted(map(_placed, artifacts), key=lambda one: one.path)
    by_path: dict[str, Placed] = {}
    for one in placed:
        if other := by_path.get(one.path):
            raise Refused(f"expected one file {shorten(one.path)}, found {other} and {one}")
        by_path[one.path] = one
    for one in placed:
        for folder in PurePosixPath(one.path).parents:
            if other := by_path.get(str(folder)):
                raise Refused(
                    f"expected {shorten(str(folder))} to be a file or a folder, found both,"
                    f" {other} and {one}: no file system can hold that"
                )
    return placed


def _placed(artifact: Artifact) -> Placed:
    where = f"gs://{artifact.gcs_bucket}/{artifact.gcs_path}"
    for wrong in _wrong(artifact.file_name):
        raise Refused(f"expected a name that a file can have, found {shorten(where)}: {wrong}")
    generation, size, crc32c = artifact.generation, artifact.file_size_bytes, artifact.crc32c
    if generation is None or size is None or crc32c is None:
        raise Refused(
            f"expected the generation, the size and the checksum of {where}, found a registration"
            f" without: run model-registry reconcile {artifact.environment}, which completes it"
        )
    return Placed(
        bucket=artifact.gcs_bucket,
        name=artifact.gcs_path,
        generation=generation,
        size=size,
        crc32c=crc32c,
        path=artifact.file_name,
    )


def _wrong(name: str) -> Iterator[str]:
    parts = name.split("/")
    if "" in parts:
        yield "it has a slash at its beginning, at its end, or a doubled one"
    if dots := {".", ".."} & {*parts}:
        yield f"a part of it is {' and '.join(sorted(dots))}"
    if "\0" in name:
        yield "it has a NUL"
    if max(len(part.encode()) for part in parts) > _NAME_MAX_BYTES:
        yield f"a part of it is longer than {_NAME_MAX_BYTES} bytes"
