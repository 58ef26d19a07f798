"""
The errors of the registry. Their type says what the caller should do.

RegistryError
├── InvalidSettings             stop: the function must not start like this
├── NoCredentials               stop: somebody has to log in
├── NotForTheRegistry           skip: the event is as it should be, and of no concern here
│   ├── OtherEventType
│   ├── UnknownEnvironment
│   └── InvalidArtifactPath
│       ├── FolderMarker        … and nobody need look at it
│       └── UploadPart          … and nobody need look at it
├── InvalidEvent                drop: no repeat will mend it, somebody should look at it
├── AppendFailed                repeat: somebody, or time, can mend the cause
├── QueryFailed                 tell whoever asked: the same holds
├── ListingFailed               tell whoever asked: the same holds
└── OutOfOrder                  stop: what would be said could be wrong

This module imports nothing, so that every other one can import it.
"""


class RegistryError(Exception):
    """Any error that the registry raises itself."""


class InvalidSettings(RegistryError, ValueError):
    """The environment variables do not make a configuration; every problem is listed."""


class NoCredentials(RegistryError):
    """There are no credentials for Google Cloud on this machine."""


class NotForTheRegistry(RegistryError, ValueError):
    """An event that is no upload of an artifact."""


class OtherEventType(NotForTheRegistry):
    """An event other than `google.cloud.storage.object.v1.finalized`."""


class UnknownEnvironment(NotForTheRegistry):
    """A bucket whose name does not end in an environment."""


class InvalidArtifactPath(NotForTheRegistry):
    """An object's name that is not `<model>/v<N>/<file>`."""


class FolderMarker(InvalidArtifactPath):
    """The empty object with which tools stand in for a folder."""


class UploadPart(InvalidArtifactPath):
    """A temporary part which Google's own clients leave while uploading a large file."""


class InvalidEvent(RegistryError, ValueError):
    """A finalized event from which a required fact is missing, or in which it is unreadable."""


class AppendFailed(RegistryError):
    """BigQuery did not confirm the row: it may be missing from the table."""


class QueryFailed(RegistryError):
    """BigQuery did not answer a question about the inventory."""


class ListingFailed(RegistryError):
    """Cloud Storage did not list a bucket."""


class OutOfOrder(RegistryError):
    """Names that should come in order do not."""
