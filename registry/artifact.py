"""The grammar of an artifact's name in its bucket."""

import re
from dataclasses import dataclass
from typing import Self

from registry.errors import FolderMarker, InvalidArtifactPath, UploadPart, shorten

LAYOUT = "<model>/v<N>/<file>"

INT64_MAX = 2**63 - 1
_ARTIFACT = re.compile(
    r"(?P<model_name>[^/]+)/v0*(?P<digits>[0-9]{1,19})/(?P<file_name>.+)",
    re.DOTALL,
)
# gcloud puts them at the bucket's root by default, gsutil in a random folder there.
_UPLOAD_PART = re.compile(r"(.*/)?(gcloud|gsutil)/tmp/parallel_composite_uploads/.*", re.DOTALL)
# What is wrong with a version: the first pattern that fits. They are compiled when one is needed.
_WRONG_VERSIONS = (
    (r"\s+v[0-9]+\s*|v[0-9]+\s+", "has white space around it"),
    (r"[0-9]+", "lacks its v"),
    (r"v", "lacks its number"),
    (r"V[0-9]+", "is not lower case"),
    (r"v?\d+", "has digits other than 0 to 9"),
    (r"(?s).*", "is not v and digits only"),
)


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
    def parse(cls, name: str, *, size: int = 0) -> Self:
        """
        Parse an object's name. Its size tells a folder marker from content with such a name.

        The message of an error says which part is wrong, and what to write instead.

        Raises:
            UploadPart: It is a temporary part of an upload.
            FolderMarker: It ends in a slash, and the object is empty.
            InvalidArtifactPath: It is anything else that is not `<model>/v<N>/<file>`.
        """
        if _UPLOAD_PART.fullmatch(name):
            raise UploadPart(_explain(name, "a temporary part of an upload"))
        if name.endswith("/") and not size:
            raise FolderMarker(_explain(name, "a folder marker"))
        if name.endswith("/"):
            wrong = f"it ends in a slash as a folder does, but holds {size} bytes"
            raise InvalidArtifactPath(_explain(name, _instead(wrong, f"{name}model.pkl")))
        match = _match(name)
        if match is None:
            raise InvalidArtifactPath(_explain(name, _reason(name)))
        return cls(
            model_name=match["model_name"],
            model_version=int(match["digits"]),
            file_name=match["file_name"],
        )

    def __str__(self) -> str:
        """Return what a person calls it: `fraud-detection v3 variables/variables.index`."""
        return f"{self.model_name} v{self.model_version} {self.file_name}"


def read_version(text: str) -> int | None:
    """
    Read a version as people write it; None if it is none.

    >>> [read_version(text) for text in ("3", "v3", "v03", "third")]
    [3, 3, 3, None]
    """
    match = re.fullmatch(r"v?0*([0-9]{1,19})", text)
    return int(match[1]) if match and int(match[1]) <= INT64_MAX else None


def _match(name: str) -> re.Match[str] | None:
    match = _ARTIFACT.fullmatch(name)
    return match if match and int(match["digits"]) <= INT64_MAX else None


def _explain(name: str, reason: str) -> str:
    return f"expected {LAYOUT}, found {shorten(name)}: {reason}"


def _reason(name: str) -> str:
    """Return what is wrong with a name outside the layout, and what to write instead."""
    parts = name.split("/")
    if len(parts) == 1:
        wrong = "there is no model and no version"
        return _instead(wrong, f"my-model/v1/{name or 'model.pkl'}")
    if "" in parts[:2]:
        wrong = "it begins with a slash" if name.startswith("/") else "it has a doubled slash"
        single = re.sub(r"\A/*([^/]+)(/?)/*", r"\1\2", name)
        return _instead(wrong, single, write="write")
    model, second, *file = parts
    version = _version(second)
    if version is None:
        return _without_version(parts)
    if not file:
        return _instead(f"there is no file after {shorten(second)}", f"{model}/{version}/model.pkl")
    if version == second:
        return f"N is at most {INT64_MAX}"
    return _instead(_wrong_version(second), "/".join([model, version, *file]), write="write")


def _without_version(parts: list[str]) -> str:
    """Return the same for a name whose second part is no version, nor nearly one."""
    for place, part in enumerate(parts[:-1]):
        if re.fullmatch(r"[vV][0-9]+", part):
            before = "-".join(filter(None, parts[:place]))
            wrong = (
                f"the version is the second part, but {shorten(part)} is part {place + 1}"
                if before
                else f"there is no model before {shorten(part)}"
            )
            after = "/".join([part.lower(), *parts[place + 1 :]])
            return _instead(wrong, f"{before or 'my-model'}/{after}")
    model, second, *file = parts
    if not file:
        return _instead("there is no version", f"{model}/v1/{second}")
    return f"{_wrong_version(second)}: write a version such as v3"


def _version(part: str) -> str | None:
    """Return the version that a part must mean; None if one would have to guess, as for v1.2."""
    match = re.fullmatch(r"\s*(?:[vV](?:ersion|ERSION)?[=_ ]?)?(\d+)\s*", part)
    return match and "v" + "".join(str(int(digit)) for digit in match[1])


def _wrong_version(part: str) -> str:
    wrong = next(wrong for pattern, wrong in _WRONG_VERSIONS if re.fullmatch(pattern, part))
    return f"the version {shorten(part)} {wrong}"


def _instead(wrong: str, name: str, *, write: str = "write a name such as") -> str:
    """Propose another name, or say what is wrong with that one, too."""
    return f"{wrong}: {write} {shorten(name)}" if _match(name) else f"{wrong}, and {_reason(name)}"
