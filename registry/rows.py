"""The views' rows as types."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from registry.environment import Environment
from registry.errors import QueryFailed

NAMED_FILES = 10  # of each kind; the view names no more
NAMED_VERSIONS = 5
OUTDATED = "run deploy/setup.sh, which updates the table and the views"


class Comparison(StrEnum):
    """How a model version compares with the same version in the environment before."""

    IDENTICAL = "identical"
    INCOMPLETE = "incomplete"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a view: a field for each column."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read the columns that are known here; the view may have more."""
        try:
            return cls(**{field.name: row[field.name] for field in fields(cls)})
        except KeyError as error:
            raise QueryFailed(
                f"expected views with the columns of this program, found {error}: {OUTDATED}"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation(Row):
    """
    A row of `registrations`: one write of an artifact's content. Sizes are in bytes.

    `removed_at` is when it was no longer there: deleted, or overwritten.
    """

    model_name: str
    model_version: int
    environment: str
    gcs_bucket: str
    gcs_path: str
    file_size_bytes: int | None
    upload_timestamp: datetime | None
    uploader: str | None
    registered_at: datetime
    generation: int | None
    crc32c: str | None
    md5_hash: str | None
    metadata: object
    removed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact(Generation):
    """A row of `artifacts`: the newest generation, and how many there were before it."""

    first_upload_timestamp: datetime
    overwrites: int

    @property
    def file_name(self) -> str:
        """Its name below the version's folder."""
        return self.gcs_path.split("/", 2)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName(Row):
    """The name of a model."""

    model_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFile(Artifact):
    """A row of `artifacts`; `counts` is false for a file that no model is made of."""

    counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(Row):
    """
    A row of `model_versions`: a version in an environment.

    `fingerprint` is equal if the files are the same; None if a checksum is missing. `removed_at` is
    when the last of its files was removed. `uri` is its folder. `staging_vs_dev` is set only in
    staging's row, `prod_vs_staging` only in prod's; the first ten names of the files that are
    different, missing or extra here are those of the same comparison.
    """

    model_name: str
    model_version: int
    environment: str
    files: int
    total_bytes: int | None
    first_upload_timestamp: datetime
    last_upload_timestamp: datetime
    uploaders: Sequence[str]
    overwrites: int
    fingerprint: str | None
    removed_at: datetime | None
    uri: str
    staging_vs_dev: str | None
    prod_vs_staging: str | None
    different_files: Sequence[str]
    missing_files: Sequence[str]
    extra_files: Sequence[str]

    @property
    def before(self) -> Environment | None:
        """The environment before; None in dev."""
        return {"staging": Environment.DEV, "prod": Environment.STAGING}.get(self.environment)

    @property
    def comparison(self) -> Comparison | None:
        """The comparison with the environment before; None in dev."""
        value = self.staging_vs_dev or self.prod_vs_staging
        return None if value is None else Comparison(value)

    @property
    def verdict(self) -> str:
        """The comparison in words; empty without one."""
        if self.comparison is None:
            return ""
        return {
            Comparison.IDENTICAL: f"same as {self.before}",
            Comparison.INCOMPLETE: f"incomplete copy of {self.before}",
            Comparison.DIFFERENT: f"differs from {self.before}",
            Comparison.UNKNOWN: f"same as {self.before}? no checksum",
            Comparison.SKIPPED: f"never was in {self.before}",
        }[self.comparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestModel(ModelVersion):
    """
    A row of `latest_models`: the highest version of a model in an environment.

    `differing_versions` are all versions there that differ from the environment before, or never
    were in it, the highest first.
    """

    versions_behind_dev: int
    versions: int
    versions_total_bytes: int | None
    differing_versions: Sequence[int]

    @property
    def others(self) -> Sequence[int]:
        """The other versions that differ."""
        return [version for version in self.differing_versions if version != self.model_version]

    @property
    def others_differing(self) -> str:
        """The other versions that differ, in words; empty without one."""
        if not self.others:
            return ""
        named = ", ".join(f"v{version}" for version in self.others[:NAMED_VERSIONS])
        more = len(self.others[NAMED_VERSIONS:])
        return f"not as in {self.before}: {named}{f' and {more} more' if more else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersionFolders(ModelVersion):
    """A row of `model_versions` with the folders of the files that are there: v3/, v03/."""

    folders: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersionFiles(ModelVersion):
    """A row of `model_versions` with its rows of `artifacts`, by path."""

    artifacts: Sequence[Artifact]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read also the rows within the row."""
        artifacts = [Artifact.from_row(artifact) for artifact in row["artifacts"]]
        return super(ModelVersionFiles, cls).from_row({**row, "artifacts": artifacts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion(Row):
    """
    A row of `promotions`: how a version got on.

    When it first reached each environment, how it compares, when a file of it was last uploaded
    there, and when it was removed.
    """

    model_name: str
    model_version: int
    dev_upload_timestamp: datetime | None
    staging_upload_timestamp: datetime | None
    prod_upload_timestamp: datetime | None
    staging_vs_dev: str | None
    prod_vs_staging: str | None
    dev_last_upload_timestamp: datetime | None
    staging_last_upload_timestamp: datetime | None
    prod_last_upload_timestamp: datetime | None
    dev_removed_at: datetime | None
    staging_removed_at: datetime | None
    prod_removed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Row):
    """
    A row of `changes`: something that happened to a version in an environment.

    `change` is arrived, completed, overwritten, rewritten, removed or reappeared. It began at
    `changed_at`, ended at `ended_at`, and concerned so many files.
    """

    changed_at: datetime
    model_name: str
    model_version: int
    environment: str
    change: str
    files: int
    total_bytes: int | None
    uploaders: Sequence[str]
    ended_at: datetime
    git_commit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHistory(ModelVersionFiles):
    """The same with its newest rows of `changes`, the newest first."""

    changes: Sequence[Change]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read also the rows within the row."""
        changes = [Change.from_row(change) for change in row["changes"]]
        return super(ModelHistory, cls).from_row({**row, "changes": changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlikeStaging(Row):
    """
    How many versions in prod are `different` from staging, or `skipped` it.

    `examples` are the newest of them, as `<model>/v<N>`.
    """

    comparison: str
    versions: int
    examples: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """
    What the registry knows of a generation of an object in a bucket.

    `generation` is None in rows that are older than the column: then `upload_timestamp` stands for
    it. `metadata` is JSON. `removed` if it is known to be no longer live.
    """

    name: str
    generation: int | None
    upload_timestamp: datetime | None
    registered_at: datetime
    size: int | None = None
    crc32c: str | None = None
    metadata: str | None = None
    removed: bool = False


def to_json(rows: Sequence[Row]) -> str:
    """
    Return rows as JSON: a list of objects whose keys are the views' columns.

    INT64 is a number, TIMESTAMP is text in ISO 8601 and UTC, NULL is null. All of it is ASCII.
    """
    return json.dumps([asdict(row) for row in rows], indent=2, default=datetime.isoformat)
