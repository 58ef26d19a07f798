"""One query of the views for each question about the inventory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_JOB_RETRY, DEFAULT_RETRY

from registry import queries
from registry.artifact import INT64_MAX, ArtifactPath
from registry.clients import LOG_IN, explain, reasons
from registry.condition import Condition
from registry.environment import Environment
from registry.errors import QueryFailed
from registry.rows import (
    OUTDATED,
    Change,
    ComparedFile,
    Generation,
    LatestModel,
    ModelHistory,
    ModelName,
    ModelVersion,
    ModelVersionFiles,
    ModelVersionFolders,
    Promotion,
    Registered,
    Row,
    UnlikeStaging,
)

# A large table takes time, but every question ends within a minute, except for a bucket's whole
# history, for which nobody waits. The client's own defaults would go on for ten minutes.
ANSWER_SECONDS = 30.0
HISTORY_SECONDS = 900.0
RETRY_SECONDS = 20.0

_PAGE_ROWS = 20_000
_EVER = datetime.fromtimestamp(0, UTC)
_REMEDIES = {
    "accessDenied": "you need roles/bigquery.dataViewer on the dataset and"
    " roles/bigquery.jobUser on the project",
    "notFound": "run deploy/setup.sh, which makes the table and the views",
    "invalidQuery": OUTDATED,
}
_OUT_OF_REACH = ": check that this machine reaches BigQuery, and ask again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """
    Rows of these environments, uploaded at `since` or later, at most `limit` of them.

    They are what was true at the time `as_of`; None is now. Of models and versions, only those
    come that all conditions of `where` fit.
    """

    environments: Sequence[str] = tuple(Environment)
    since: datetime = _EVER
    limit: int | None = None
    as_of: datetime | None = None
    where: Sequence[Condition] = ()


EVERYTHING = Filter()


class Inventory:
    """
    Answers questions from the views, each with one query.

    Its methods raise `QueryFailed` if BigQuery does not answer; the message holds the remedy.
    """

    def __init__(
        self,
        client: bigquery.Client,
        table: str,
        waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
        *,
        check_table: bool = False,
    ) -> None:
        """
        `table` is `<dataset>.<table>` in the client's project; the views are in its dataset.

        `waiting()` is entered while BigQuery's answer is waited for. With `check_table`, a table
        that is not there is an error; the views would answer all the same.
        """
        self._unchecked = f"{client.project}.{table}" if check_table else None
        self._waiting = waiting
        self._client = client
        self._dataset = f"{client.project}.{table.partition('.')[0]}"

    def latest_models(self, wanted: Filter = EVERYTHING) -> list[LatestModel]:
        """Return the highest version of each model in each environment, by name."""
        return self._query(LatestModel, queries.LATEST_MODELS, wanted)

    def model_names(self, as_of: datetime | None = None) -> list[str]:
        """Return the names of all models that ever were registered."""
        rows = self._query(ModelName, queries.MODEL_NAMES, Filter(as_of=as_of))
        return [row.model_name for row in rows]

    def model_versions(self, model_name: str, wanted: Filter = EVERYTHING) -> list[ModelVersion]:
        """Return each version of a model in each environment: removed last, the highest first."""
        return self._query(ModelVersion, queries.MODEL_VERSIONS, wanted, model_name=model_name)

    def model_version_folders(
        self, model_name: str, as_of: datetime | None = None
    ) -> list[ModelVersionFolders]:
        """Return each version of a model in each environment with its folders."""
        wanted = Filter(as_of=as_of)
        return self._query(
            ModelVersionFolders, queries.MODEL_VERSION_FOLDERS, wanted, model_name=model_name
        )

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
        Return the same with the files.

        Starts at the version `newest`, and returns at most so many versions, and files of each.
        """
        return self._query(
            ModelVersionFiles,
            queries.MODEL_VERSION_FILES,
            wanted,
            model_name=model_name,
            newest=newest,
            versions=versions,
            files=files,
        )

    def model_history(
        self, model_name: str, as_of: datetime | None, **limits: int
    ) -> list[ModelHistory]:
        """
        Return versions with files and with what happened to them, the highest first.

        Of the versions these come: the highest in each environment, the `drawn` highest, and
        `versions` of those up to `newest`. The first come with `files` files, the others with one.
        """
        wanted = Filter(as_of=as_of)
        return self._query(
            ModelHistory, queries.MODEL_HISTORY, wanted, model_name=model_name, **limits
        )

    def compared_files(
        self, model_name: str, first: int, second: int, wanted: Filter = EVERYTHING
    ) -> list[ComparedFile]:
        """Return the files that are there of two versions of a model, by path."""
        return self._query(
            ComparedFile,
            queries.COMPARED_FILES,
            wanted,
            model_name=model_name,
            first=first,
            second=second,
        )

    def promotions(
        self, model_name: str | None = None, wanted: Filter = EVERYTHING
    ) -> list[Promotion]:
        """Return when each version of a model, or of all models, reached each environment."""
        return self._query(Promotion, queries.PROMOTIONS, wanted, model_name=model_name)

    def changes(self, model_name: str | None = None, wanted: Filter = EVERYTHING) -> list[Change]:
        """Return what happened to the versions of a model, or of all models, the newest first."""
        return self._query(Change, queries.CHANGES, wanted, model_name=model_name)

    def unlike_staging(self) -> list[UnlikeStaging]:
        """Return how many versions are in prod that are not what staging has, and the newest."""
        wanted = Filter(environments=[Environment.PROD])
        return self._query(UnlikeStaging, queries.UNLIKE_STAGING, wanted)

    def generations(self, bucket: str, name: str, wanted: Filter = EVERYTHING) -> list[Generation]:
        """
        Return every generation of an artifact, the newest first.

        Raises:
            InvalidArtifactPath: An object of this name is not an artifact.
        """
        model_name = ArtifactPath.parse(name).model_name  # by which the table is clustered
        return self._query(
            Generation,
            queries.GENERATIONS,
            wanted,
            gcs_bucket=bucket,
            gcs_path=name,
            model_name=model_name,
        )

    def registered(self, bucket: str, prefix: str = "") -> Iterator[Registered]:
        """Yield every registered generation of a bucket, by name, reading a page at a time."""
        values = {"gcs_bucket": bucket, "prefix": prefix}
        for row in self._rows(queries.REGISTERED, EVERYTHING, values, paged=True):
            yield Registered(**row)

    def _query[T: Row](
        self, kind: type[T], sql: str, wanted: Filter, **values: str | int | None
    ) -> list[T]:
        return [kind.from_row(row) for row in self._rows(sql, wanted, values, paged=False)]

    def _rows(
        self, sql: str, wanted: Filter, values: Mapping[str, str | int | None], *, paged: bool
    ) -> Iterator[Mapping[str, Any]]:
        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ArrayQueryParameter("environments", "STRING", wanted.environments),
                bigquery.ScalarQueryParameter("since", "TIMESTAMP", wanted.since),
                bigquery.ScalarQueryParameter("as_of", "TIMESTAMP", wanted.as_of),
                *(
                    bigquery.ScalarQueryParameter(
                        name, "INT64" if isinstance(value, int) else "STRING", value
                    )
                    for name, value in values.items()
                ),
                *_conditions(wanted.where),
            ],
        )
        wait = HISTORY_SECONDS if paged else ANSWER_SECONDS
        try:
            with self._waiting():
                rows = self._client.query_and_wait(
                    self._text(sql, wanted, values),
                    job_config=config,
                    retry=DEFAULT_RETRY.with_timeout(RETRY_SECONDS),
                    job_retry=DEFAULT_JOB_RETRY.with_timeout(RETRY_SECONDS),
                    api_timeout=ANSWER_SECONDS,
                    wait_timeout=wait,
                    max_results=wanted.limit,
                    page_size=_PAGE_ROWS if paged else None,
                )
            self._check_table()
            yield from map(dict, rows)
        except RefreshError as error:
            raise QueryFailed(f"expected valid credentials, found {error}: {LOG_IN}") from error
        except TimeoutError as error:
            raise QueryFailed(
                f"expected {self._dataset} to answer within {wait:.0f} s, found no answer:"
                " ask for less, or try again later"
            ) from error
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            # It refused, or is out of reach: all errors of requests are OSErrors.
            remedy = "" if reasons(error) else _OUT_OF_REACH
            found = explain(error, _REMEDIES)
            raise QueryFailed(f"expected {self._dataset} to answer, {found}{remedy}") from error

    def _check_table(self) -> None:
        """Check once, and after an answer, so that an error of the query is reported as such."""
        table, self._unchecked = self._unchecked, None
        if table is None:
            return
        with suppress(GoogleAPIError):  # some people may only read the views
            try:
                self._client.get_table(table, retry=None, timeout=ANSWER_SECONDS)  # type: ignore[arg-type] # it takes None
            except NotFound as error:
                raise QueryFailed(f"expected the table {table}, found none: see --table") from error

    def _text(self, sql: str, wanted: Filter, values: Mapping[str, object]) -> str:
        among = "model_name = @model_name" if "model_name" in values else "TRUE"
        fitting = queries.FITTING.format(dataset=self._dataset, among=among)
        return sql.format(dataset=self._dataset, fitting=fitting if wanted.where else "")


def _conditions(where: Sequence[Condition]) -> Iterator[bigquery.ArrayQueryParameter]:
    if where:
        for name, texts in {
            "keys": [condition.key for condition in where],
            "operators": [condition.operator for condition in where],
            "values": [condition.value for condition in where],
        }.items():
            yield bigquery.ArrayQueryParameter(name, "STRING", texts)
