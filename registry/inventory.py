"""What is where, since when, by whom, and whether it is the same: typed reads of the views."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_JOB_RETRY, DEFAULT_RETRY

from registry.artifact import INT64_MAX, ArtifactPath
from registry.bigquery import LOG_IN, explain, reasons
from registry.errors import QueryFailed
from registry.reconciliation import Registered
from registry.settings import Environment

# An answer may take its time when the table is large, but all is over within a minute, unless a
# bucket's whole history is asked for, which nobody waits for. The client's own defaults would go on
# for ten.
ANSWER_SECONDS = 30.0
HISTORY_SECONDS = 900.0
RETRY_SECONDS = 20.0

_PAGE_ROWS = 20_000
_EVER = datetime.fromtimestamp(0, UTC)
_REMEDIES = {
    "accessDenied": "whoever asks needs roles/bigquery.dataViewer on the dataset and"
    " roles/bigquery.jobUser on the project",
    "notFound": "run deploy/setup.sh, which makes the table and the views",
    "invalidQuery": "run deploy/setup.sh, which brings the table and the views up to date",
}
_OUT_OF_REACH = ": see whether this machine reaches BigQuery, and ask again"


class Comparison(StrEnum):
    """How a model version compares with what the environment before has of it."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a view: a field for each column."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Take the columns that are known here; the view may have more."""
        try:
            return cls(**{field.name: row[field.name] for field in fields(cls)})
        except KeyError as error:
            raise QueryFailed(
                f"expected views with the columns of this program, found {error}:"
                f" {_REMEDIES['invalidQuery']}"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation(Row):
    """A row of `registrations`: one write of an artifact's content. Sizes are in bytes."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact(Generation):
    """A row of `artifacts`: the newest generation, and how many there were before it."""

    first_upload_timestamp: datetime
    overwrites: int
    gone_since: datetime | None

    @property
    def file_name(self) -> str:
        """Its name below the version's folder."""
        return self.gcs_path.split("/", 2)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(Row):
    """
    A row of `model_versions`: what an environment has of a version.

    `fingerprint` is equal where the files are the same; None where a checksum is missing.
    `gone_since` is when all of it was found to have vanished. `staging_vs_dev` is set in the row of
    staging alone, `prod_vs_staging` in that of prod.
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
    gone_since: datetime | None
    staging_vs_dev: str | None
    prod_vs_staging: str | None

    @property
    def before(self) -> Environment | None:
        """The environment before; None for the first."""
        return {"staging": Environment.DEV, "prod": Environment.STAGING}.get(self.environment)

    @property
    def comparison(self) -> Comparison | None:
        """With the environment before; None in the first."""
        value = self.staging_vs_dev or self.prod_vs_staging
        return None if value is None else Comparison(value)

    @property
    def verdict(self) -> str:
        """The comparison in words; empty without one."""
        if self.comparison is None:
            return ""
        return {
            Comparison.IDENTICAL: f"same as {self.before}",
            Comparison.DIFFERENT: f"differs from {self.before}",
            Comparison.UNKNOWN: f"same as {self.before}? no checksum",
            Comparison.SKIPPED: f"never was in {self.before}",
        }[self.comparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestModel(ModelVersion):
    """A row of `latest_models`: the highest version which an environment has of a model."""

    versions_behind_dev: int
    versions: int
    versions_total_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersionFiles(ModelVersion):
    """A row of `model_versions` with the rows of `artifacts` behind it, by path."""

    artifacts: Sequence[Artifact]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read the rows within the row as well."""
        artifacts = [Artifact.from_row(artifact) for artifact in row["artifacts"]]
        return super(ModelVersionFiles, cls).from_row({**row, "artifacts": artifacts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion(Row):
    """A row of `promotions`: when a version first reached each environment, and how it compares."""

    model_name: str
    model_version: int
    dev_upload_timestamp: datetime | None
    staging_upload_timestamp: datetime | None
    prod_upload_timestamp: datetime | None
    staging_vs_dev: str | None
    prod_vs_staging: str | None


def to_json(rows: Sequence[Row]) -> str:
    """
    Write rows as JSON: a list of objects whose keys are the views' columns.

    INT64 is a number, a TIMESTAMP text in ISO 8601 and UTC, NULL null. All of it is ASCII.
    """
    return json.dumps([asdict(row) for row in rows], indent=2, default=datetime.isoformat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows: of these environments, uploaded at `since` or later, at most `limit` of them."""

    environments: Sequence[str] = tuple(Environment)
    since: datetime = _EVER
    limit: int | None = None


EVERYTHING = Filter()

_LATEST_MODELS = """
    SELECT *
    FROM latest_models
    WHERE environment IN UNNEST(@environments) AND last_upload_timestamp >= @since
    ORDER BY model_name, STRPOS('dev staging prod', environment)
"""
_MODEL_VERSIONS = """
    SELECT *
    FROM model_versions
    WHERE model_name = @model_name
      AND environment IN UNNEST(@environments)
      AND last_upload_timestamp >= @since
    ORDER BY model_version DESC, STRPOS('dev staging prod', environment)
"""
_MODEL_VERSION_FILES = """
    WITH newest AS (
      SELECT *
      FROM model_versions
      WHERE model_name = @model_name
        AND model_version <= @newest
        AND environment IN UNNEST(@environments)
        AND last_upload_timestamp >= @since
      QUALIFY DENSE_RANK() OVER (ORDER BY model_version DESC) <= @versions
    ), files AS (
      SELECT *
      FROM artifacts
      WHERE model_name = @model_name
      QUALIFY ROW_NUMBER() OVER (
        PARTITION BY model_version, environment ORDER BY gcs_path, gcs_bucket
      ) <= @files
    ), listed AS (
      SELECT
        model_version,
        environment,
        ARRAY_AGG(files ORDER BY gcs_path, gcs_bucket) AS artifacts
      FROM files
      GROUP BY model_version, environment
    )
    SELECT *
    FROM newest
    JOIN listed USING (model_version, environment)
    ORDER BY model_version DESC, STRPOS('dev staging prod', environment)
"""
_PROMOTIONS = """
    SELECT *
    FROM promotions
    WHERE (@model_name IS NULL OR model_name = @model_name)
      AND (
        'dev' IN UNNEST(@environments) AND dev_upload_timestamp >= @since
        OR 'staging' IN UNNEST(@environments) AND staging_upload_timestamp >= @since
        OR 'prod' IN UNNEST(@environments) AND prod_upload_timestamp >= @since
      )
    ORDER BY model_name, model_version DESC
"""
_GENERATIONS = """
    SELECT *
    FROM registrations
    WHERE gcs_bucket = @gcs_bucket
      AND gcs_path = @gcs_path
      AND model_name = @model_name
      AND environment IN UNNEST(@environments)
      AND IFNULL(upload_timestamp, registered_at) >= @since
    ORDER BY IFNULL(upload_timestamp, registered_at) DESC, generation DESC
"""
_REGISTERED = """
    SELECT
      registrations.gcs_path AS name,
      registrations.generation,
      registrations.upload_timestamp,
      registrations.registered_at,
      gone.gcs_path IS NOT NULL AS vanished
    FROM registrations
    LEFT JOIN (
      SELECT DISTINCT
        gcs_bucket,
        gcs_path,
        COALESCE(generation, -UNIX_MICROS(upload_timestamp), 0) AS upload
      FROM vanished
    ) AS gone
      ON registrations.gcs_bucket = gone.gcs_bucket
      AND registrations.gcs_path = gone.gcs_path
      AND gone.upload
        = COALESCE(registrations.generation, -UNIX_MICROS(registrations.upload_timestamp), 0)
    WHERE registrations.gcs_bucket = @gcs_bucket
      AND STARTS_WITH(registrations.gcs_path, @prefix)
      AND registrations.environment IN UNNEST(@environments)
      AND IFNULL(registrations.upload_timestamp, registrations.registered_at) >= @since
    ORDER BY name
"""


class Inventory:
    """
    Answers from the views, each with one query.

    Its methods raise `QueryFailed` when BigQuery gives no answer; the message holds the remedy.
    """

    def __init__(self, client: bigquery.Client, table: str) -> None:
        """`table` is `<dataset>.<table>` in the client's project; the views are beside it."""
        self._client = client
        self._dataset = f"{client.project}.{table.partition('.')[0]}"

    def latest_models(self, wanted: Filter = EVERYTHING) -> list[LatestModel]:
        """Give the highest version of each model in each environment, by name."""
        return self._query(LatestModel, _LATEST_MODELS, wanted)

    def model_versions(self, model_name: str, wanted: Filter = EVERYTHING) -> list[ModelVersion]:
        """Give what each environment has of each version of a model, the highest first."""
        return self._query(ModelVersion, _MODEL_VERSIONS, wanted, model_name=model_name)

    def model_version_files(
        self,
        model_name: str,
        wanted: Filter = EVERYTHING,
        *,
        newest: int = INT64_MAX,
        versions: int = INT64_MAX,
        files: int = INT64_MAX,
    ) -> list[ModelVersionFiles]:
        """
        Give the same with the files.

        From the version `newest` downwards, at most so many versions, and files of each.
        """
        return self._query(
            ModelVersionFiles,
            _MODEL_VERSION_FILES,
            wanted,
            model_name=model_name,
            newest=newest,
            versions=versions,
            files=files,
        )

    def promotions(
        self, model_name: str | None = None, wanted: Filter = EVERYTHING
    ) -> list[Promotion]:
        """Give when each version of a model, or of all, reached each environment."""
        return self._query(Promotion, _PROMOTIONS, wanted, model_name=model_name)

    def generations(self, bucket: str, name: str, wanted: Filter = EVERYTHING) -> list[Generation]:
        """
        Give every generation of an artifact, the newest first.

        Raises:
            InvalidArtifactPath: An object of this name is no artifact.
        """
        model_name = ArtifactPath.parse(name).model_name  # by which the table is clustered
        return self._query(
            Generation,
            _GENERATIONS,
            wanted,
            gcs_bucket=bucket,
            gcs_path=name,
            model_name=model_name,
        )

    def registered(self, bucket: str, prefix: str = "") -> Iterator[Registered]:
        """Give every generation which is registered of a bucket, by name, a page at a time."""
        values = {"gcs_bucket": bucket, "prefix": prefix}
        for row in self._rows(_REGISTERED, EVERYTHING, values, paged=True):
            yield Registered(**row)

    def _query[T: Row](
        self, kind: type[T], sql: str, wanted: Filter, **values: str | int | None
    ) -> list[T]:
        return [kind.from_row(row) for row in self._rows(sql, wanted, values, paged=False)]

    def _rows(
        self, sql: str, wanted: Filter, values: Mapping[str, str | int | None], *, paged: bool
    ) -> Iterator[Mapping[str, Any]]:
        config = bigquery.QueryJobConfig(
            default_dataset=self._dataset,
            query_parameters=[
                bigquery.ArrayQueryParameter("environments", "STRING", wanted.environments),
                bigquery.ScalarQueryParameter("since", "TIMESTAMP", wanted.since),
                *(
                    bigquery.ScalarQueryParameter(
                        name, "INT64" if isinstance(value, int) else "STRING", value
                    )
                    for name, value in values.items()
                ),
            ],
        )
        wait = HISTORY_SECONDS if paged else ANSWER_SECONDS
        try:
            rows = self._client.query_and_wait(
                sql,
                job_config=config,
                retry=DEFAULT_RETRY.with_timeout(RETRY_SECONDS),
                job_retry=DEFAULT_JOB_RETRY.with_timeout(RETRY_SECONDS),
                api_timeout=ANSWER_SECONDS,
                wait_timeout=wait,
                max_results=wanted.limit,
                page_size=_PAGE_ROWS if paged else None,
            )
            yield from map(dict, rows)
        except RefreshError as error:
            raise QueryFailed(f"expected valid credentials, found {error}: {LOG_IN}") from error
        except TimeoutError as error:
            raise QueryFailed(
                f"expected {self._dataset} to answer within {wait:.0f} s, found no answer:"
                " ask for less, or again later"
            ) from error
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            # It refused, or was out of reach: all errors of requests are OSErrors.
            remedy = "" if reasons(error) else _OUT_OF_REACH
            found = explain(error, _REMEDIES)
            raise QueryFailed(f"expected {self._dataset} to answer, {found}{remedy}") from error
