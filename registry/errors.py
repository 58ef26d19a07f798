"""
The errors of the registry. An error's type says what the caller should do.

RegistryError
├── InvalidSettings             stop: the function must not start like this
├── NoCredentials               stop: somebody has to log in
├── InvalidMoment               report it to the person who asked
├── InvalidCondition            the same
├── NotForTheRegistry           skip: nothing is wrong with the event, but it is not ours
│   ├── OtherEventType
│   ├── UnknownEnvironment
│   └── InvalidArtifactPath
│       ├── FolderMarker        … and nobody needs to look at it
│       └── UploadPart          … and nobody needs to look at it
├── InvalidEvent                drop: no retry can fix it; somebody should look at it
├── AppendFailed                retry: somebody, or time, can fix the cause
├── QueryFailed                 report it to the person who asked: somebody, or time, can fix it
├── ListingFailed               the same
├── StorageFailed               the same: Cloud Storage did not copy or remove an object
├── DownloadFailed              the same
├── Refused                     report it: the facts do not allow what was asked
└── OutOfOrder                  stop: a result could be wrong

It imports nothing, so that every other module can import it.
"""

_SHOWN_CHARACTERS = 200


class RegistryError(Exception):
    """Any error that the registry raises itself."""


class InvalidSettings(RegistryError, ValueError):
    """The environment variables are not a valid configuration; every problem is listed."""


class NoCredentials(RegistryError):
    """There are no credentials for Google Cloud on this machine."""


class InvalidMoment(RegistryError, ValueError):
    """A text that is no time, or one in the future where only the past is known."""


class InvalidCondition(RegistryError, ValueError):
    """A text that is no condition on custom metadata."""


class NotForTheRegistry(RegistryError, ValueError):
    """An event that is not the upload of an artifact."""


class OtherEventType(NotForTheRegistry):
    """An event other than `google.cloud.storage.object.v1.finalized`."""


class UnknownEnvironment(NotForTheRegistry):
    """A bucket whose name does not end in an environment."""


class InvalidArtifactPath(NotForTheRegistry):
    """An object's name that is not `<model>/v<N>/<file>`."""


class FolderMarker(InvalidArtifactPath):
    """The empty object that tools create for a folder."""


class UploadPart(InvalidArtifactPath):
    """A temporary part that Google's own clients leave while they upload a large file."""


class InvalidEvent(RegistryError, ValueError):
    """A finalized event in which a required fact is missing or unreadable."""


class AppendFailed(RegistryError):
    """BigQuery did not confirm the row: it may be missing from the table."""


class QueryFailed(RegistryError):
    """BigQuery did not answer a question about the inventory."""


class ListingFailed(RegistryError):
    """Cloud Storage did not list a bucket."""


class StorageFailed(RegistryError):
    """Cloud Storage did not copy, remove or restore an object."""


class DownloadFailed(RegistryError):
    """Files could not be read from Cloud Storage, or not be written on this machine."""


class Refused(RegistryError):
    """What was asked would be wrong, or is not true yet."""


class OutOfOrder(RegistryError):
    """Names that should come in order do not."""


def shorten(value: object) -> str:
    """Return a value for a message, or the beginning of a long one."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
