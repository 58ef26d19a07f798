"""The states of the page: what is registered in each, and which address is opened."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask, Response, request

from registry.artifact import INT64_MAX
from registry.environment import Environment
from registry.errors import QueryFailed
from registry.inventory import EVERYTHING, Filter, Inventory
from registry.links import Links
from registry.page import Page
from registry.rows import (
    Artifact,
    Change,
    ComparedFile,
    LatestModel,
    ModelHistory,
    ModelVersionFiles,
    Row,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG = "x" * 500
HOSTILE = [
    LONG,
    "نموذج-كشف-الاحتيال" * 9,
    "模型" * 150,
    "<img src=x onerror=alert(1)>",
    "\u202eabc",
]
TWELVE = [f"model-{at}" for at in range(12)]
COMPARISONS = ["identical", "different", "incomplete", "skipped", "unknown"]
PEOPLE = ["ada", "grace@example.com"]
METADATA = {"git_commit": "8d1f2ab", "run_id": "4711", "auc": "0.93", "framework": "xgboost"}

# What a row has in the columns that are not given.
_COLUMNS: dict[str, Any] = {
    "model_name": "churn",
    "model_version": 1,
    "environment": "dev",
    "files": 2,
    "total_bytes": 5_000_000,
    "first_upload_timestamp": NOW - timedelta(days=3),
    "last_upload_timestamp": NOW - timedelta(days=3),
    "uploaders": PEOPLE[:1],
    "overwrites": 0,
    "fingerprint": None,
    "removed_at": None,
    "uri": "gs://ml-models-dev/churn/v1/",
    "staging_vs_dev": None,
    "prod_vs_staging": None,
    "different_files": [],
    "missing_files": [],
    "extra_files": [],
    "versions_behind_dev": 0,
    "versions": 7,
    "versions_total_bytes": 9_000_000,
    "differing_versions": [],
    "artifacts": [],
    "changes": [],
    "change": "arrived",
    "changed_at": NOW,
    "ended_at": NOW,
    "git_commit": "8d1f2ab",
    "gcs_bucket": "ml-models-dev",
    "gcs_path": "churn/v1/model.pkl",
    "file_size_bytes": 2_500_000,
    "upload_timestamp": NOW - timedelta(days=3),
    "uploader": "ada",
    "registered_at": NOW,
    "generation": 1,
    "crc32c": "AAAAAA==",
    "md5_hash": None,
    "metadata": METADATA,
}


def make[R: Row](kind: type[R], **columns: object) -> R:
    """Make a row of which only some columns matter."""
    return kind(**{field.name: (_COLUMNS | columns)[field.name] for field in fields(kind)})


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def models(names: Sequence[str], people: Sequence[str] = PEOPLE[:1]) -> list[Row]:
    """Make models that are in each environment, with all comparisons one after the other."""
    rows: list[Row] = []
    for at, name in enumerate(names):
        found = COMPARISONS[at % len(COMPARISONS)]
        odd = {"different": [5, 4, 3, 2, 1, 0], "skipped": [5]}.get(found, [])
        more: dict[str, object] = {"model_name": name, "uploaders": people}
        rows += [
            make(LatestModel, model_version=7, **more),
            make(LatestModel, model_version=6, environment="staging", staging_vs_dev="identical",
                 versions_behind_dev=1, **more),
            make(LatestModel, model_version=5, environment="prod", prod_vs_staging=found,
                 versions_behind_dev=2, differing_versions=odd, **more),
        ]  # fmt: skip
    return rows


def history(  # noqa: PLR0913 - most have a default
    number: int,
    environment: str,
    days: float,
    files: Sequence[str] = ("model.pkl", "config.json"),
    *events: tuple[float, str],
    named: int = 100,
    comparison: str | None = None,
    different_files: Sequence[str] = (),
    **columns: object,
) -> ModelHistory:
    """Make a version that arrived some days ago, and to which more happened since."""
    where = {"model_version": number, "environment": environment, "model_name": "churn", **columns}
    folder = f"{where['model_name']}/v{number}/"
    changes = [
        make(Change, **where, change=change, changed_at=ago(when), ended_at=ago(when))
        for when, change in [*reversed(events), (days, "arrived")]
    ]
    artifacts = [
        make(
            Artifact,
            gcs_bucket=f"ml-models-{environment}",
            gcs_path=folder + name,
            upload_timestamp=ago(days),
            first_upload_timestamp=ago(days),
            **{**where, "crc32c": "BBBBBB==" if name in different_files else "AAAAAA=="},
        )
        for name in files[:named]
    ]
    ends = [ago(when) for when, change in events if change == "removed"]
    return make(
        ModelHistory,
        first_upload_timestamp=ago(days),
        last_upload_timestamp=ago(min([days, *(at for at, what in events if what != "removed")])),
        overwrites=sum(change == "overwritten" for _, change in events),
        removed_at=ends[-1] if ends else None,
        files=0 if ends else len(files),
        uri=f"gs://ml-models-{environment}/{folder}",
        staging_vs_dev=comparison if environment == "staging" else None,
        prod_vs_staging=comparison if environment == "prod" else None,
        artifacts=artifacts,
        changes=changes,
        different_files=different_files,
        **where,
    )


FILES = [f"part-{at:05}-of-00040.safetensors" for at in range(40)]
USUAL: list[Row] = [
    history(7, "dev", 2),
    history(6, "dev", 9, ["model.pkl", "config.json"], (8.5, "overwritten")),
    history(6, "staging", 7, comparison="identical"),
    history(5, "dev", 20),
    history(5, "staging", 15, comparison="identical"),
    history(5, "prod", 12, ["model.pkl", "new.txt"], (1, "overwritten"), comparison="different",
            different_files=["model.pkl"], missing_files=["config.json"],
            extra_files=["new.txt"], uploaders=PEOPLE),
    history(4, "prod", 25, ["model.pkl"], (5, "removed"), comparison="skipped"),
    history(3, "dev", 60),
    history(3, "staging", 50, ["model.pkl"], comparison="incomplete",
            missing_files=["config.json"]),
    history(2, "dev", 70, crc32c=None, uploaders=[], uploader=None),
    history(2, "prod", 48, crc32c=None, comparison="unknown"),
]  # fmt: skip
SIXTY: list[Row] = [
    history(number, where, 60 - number + later, FILES, named=40 if number > 57 else 1,
            comparison="identical")
    for number in range(60, 0, -1)
    for where, later, highest in (("dev", 3, 60), ("staging", 2, 59), ("prod", 1, 58))
    if number <= highest
]  # fmt: skip
DIFFERING: list[Row] = [
    history(5, "dev", 20, FILES),
    history(5, "staging", 15, FILES, comparison="identical"),
    history(5, "prod", 12, [*FILES[:30], "new.txt"], (1, "overwritten"), comparison="different",
            different_files=FILES[:3], missing_files=FILES[30:], extra_files=["new.txt"]),
]  # fmt: skip
ODD_METADATA = {name: HOSTILE[at - 1] for at, name in enumerate(HOSTILE)}
ODD: list[Row] = [
    history(3, where, 9 - later, [*HOSTILE, "config.json"], (1, "overwritten"),
            model_name=LONG, comparison="different", different_files=HOSTILE[:3],
            uploaders=HOSTILE, uploader=LONG, metadata=ODD_METADATA)
    for where, later in (("dev", 1), ("staging", 2), ("prod", 3))
]  # fmt: skip
GONE: list[Row] = [
    history(number, where, 30 - number, ["model.pkl"], (2, "removed"))
    for number in (2, 1)
    for where in Environment
]


def changes(names: Sequence[str], **columns: object) -> list[Row]:
    """Make all kinds of changes of some models."""
    kinds = ["arrived", "completed", "overwritten", "rewritten", "removed", "reappeared"]
    return [
        make(Change, model_name=name, change=kind, environment="prod", changed_at=ago(at),
             ended_at=ago(at), **columns)
        for at, name in enumerate(names)
        for kind in kinds
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class State:
    """
    A page that people may see.

    `is_usual` if people open it every day: then all of it is reached with the keyboard.
    """

    name: str
    path: str
    rows: Sequence[Row] | QueryFailed
    is_usual: bool = False


def states() -> Iterator[State]:
    """Yield them all: a new page, or a new way to look at one, needs a line here."""
    for name, path, rows in (
        ("overview-none", "", []),
        ("overview-one", "", models(["churn"])[:1]),
        ("overview-300", "", models([f"model-{at}" for at in range(300)])),
        ("overview-hostile", "", models(HOSTILE, [LONG, "مستخدم " * 40])),
        ("overview-problem", "?q=a+b=1", models(["churn", "fraud"])),
        ("overview-nothing", "?q=nobody", models(["churn"])),
        ("overview-hostile-search", f"?q={LONG}", models(["churn"])),
        ("overview-attention", "?attention=1", models(TWELVE[:5])),
        ("overview-at", "?at=1d&q=model&sort=-prod", models(TWELVE[:2])),
        ("model-one", "models/churn", USUAL[:1]),
        ("model-sixty", "models/churn", SIXTY),
        ("model-hostile", f"models/{LONG}", ODD),
        ("model-gone", "models/churn", GONE),
        ("model-at", "models/churn?at=3d", USUAL),
        ("version-40", "models/churn/v5", DIFFERING),
        ("version-hostile", f"models/{LONG}/v3", ODD),
        ("changes-none", "changes", []),
        ("changes-many", "changes?at=1d&environment=prod", changes(TWELVE * 4)),
        ("changes-hostile", "changes",
         changes(HOSTILE, uploaders=[LONG, "مستخدم " * 40], git_commit=LONG)),
        ("compare-none", "compare", []),
        ("compare-problem", f"compare?model={LONG}&first={LONG}", []),
        ("compare-40", "compare?model=churn&first=5&from=staging&to=prod", DIFFERING),
        ("compare-hostile", f"compare?model={LONG}&first=3&from=dev&to=prod", ODD),
        ("message-404", f"models/{LONG}", []),
        ("message-503", "", QueryFailed(f"expected d to answer, found {LONG}: ask again")),
    ):  # fmt: skip
        yield State(name=name, path=path, rows=rows)
    for name, path, rows in (
        ("overview", "", models(TWELVE)),
        ("model", "models/churn", USUAL),
        ("version", "models/churn/v5", USUAL),
        ("changes", "changes", changes(TWELVE[:3])),
        ("compare", "compare?model=churn&first=5&from=staging&to=prod", USUAL),
    ):
        yield State(name=name, path=path, rows=rows, is_usual=True)


class Rows(Inventory):
    """An inventory without a BigQuery: it returns the rows of the kind that is asked for."""

    def __init__(self, registered: Sequence[Row] | QueryFailed) -> None:
        self._registered = registered

    def latest_models(self, _: Filter = EVERYTHING) -> list[LatestModel]:
        return self._of(LatestModel)

    def changes(self, _: str | None = None, __: Filter = EVERYTHING) -> list[Change]:
        return self._of(Change)

    def model_history(self, *_: object, **__: object) -> list[ModelHistory]:
        return self._of(ModelHistory)

    def model_version_files(
        self, *_: object, newest: int = INT64_MAX, **__: object
    ) -> list[ModelVersionFiles]:
        return [row for row in self._of(ModelHistory) if row.model_version == newest]

    def compared_files(
        self, _: str, first: int, second: int, __: Filter = EVERYTHING
    ) -> list[ComparedFile]:
        return [
            ComparedFile(**asdict(file), counts=True)
            for row in self._of(ModelHistory)
            if row.model_version in {first, second}
            for file in row.artifacts
        ]

    def _of[R: Row](self, kind: type[R]) -> list[R]:
        if isinstance(self._registered, QueryFailed):
            raise self._registered
        return [row for row in self._registered if isinstance(row, kind)]


def app_of(rows: Sequence[Row] | QueryFailed) -> Flask:
    """Serve the page with some rows."""
    links = Links.parse("git_commit=https://git.example.com/commit/{value}")
    page = Page(Rows(rows), lambda: NOW, links)
    app = Flask("page")

    @app.get("/", defaults={"path": ""})
    @app.get("/<path:path>")
    def answer(path: str) -> Response:  # noqa: ARG001 - the page reads it from the request
        try:
            return page.respond(request)
        except QueryFailed as error:
            return page.explain(request, error)

    return app
