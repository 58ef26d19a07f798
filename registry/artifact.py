"""The grammar of an artifact's name in its bucket."""

import re
from dataclasses import dataclass
from typing import Self

from registry.errors import FolderMarker, InvalidArtifactPath, UploadPart

LAYOUT = "<model>/v<N>/<file>"

INT64_MAX = 2**63 - 1
_ARTIFACT = re.compile(
    r"(?P<model_name>[^/]+)/v0*(?P<digits>[0-9]+)/(?P<file_name>.+)",
    re.DOTALL,
)
# gcloud puts them at the bucket's root by default, gsutil in a random folder there.
_UPLOAD_PART = re.compile(r"(.*/)?(gcloud|gsutil)/tmp/parallel_composite_uploads/.*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPath:
    """
    Where an artifact lives in its bucket: `<model>/v<N>/<file>`.

    N may be zero-padded, because people pad versions so that they sort. The file may itself
    hold slashes: a SavedModel is a folder of artifacts.

    >>> path = ArtifactPath.parse("fraud-detection/v03/variables/variables.index")
    >>> path.model_name, path.model_version, path.file_name
    ('fraud-detection', 3, 'variables/variables.index')
    """

    model_name: str
    model_version: int
    file_name: str

    @classmethod
    def parse(cls, name: str) -> Self:
        """
        Parse an object's name.

        Raises:
            FolderMarker: It ends in a slash.
            UploadPart: It is a temporary part of an upload.
            InvalidArtifactPath: It is anything else that is not `<model>/v<N>/<file>`.
        """
        if name.endswith("/"):
            raise FolderMarker(_explain(name, "a folder marker"))
        if _UPLOAD_PART.fullmatch(name):
            raise UploadPart(_explain(name, "a temporary part of an upload"))
        match = _ARTIFACT.fullmatch(name)
        if match is None:
            raise InvalidArtifactPath(_explain(name, "upload it to a folder <model>/v<N>/"))
        if len(match["digits"]) > len(str(INT64_MAX)) or int(match["digits"]) > INT64_MAX:
            raise InvalidArtifactPath(_explain(name, f"N is at most {INT64_MAX}"))
        return cls(
            model_name=match["model_name"],
            model_version=int(match["digits"]),
            file_name=match["file_name"],
        )


def _explain(name: str, reason: str) -> str:
    return f"expected {LAYOUT}, found {name!r}: {reason}"
