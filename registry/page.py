"""The page: requests and answers. It only reads."""

import base64
import functools
import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from threading import Condition
from urllib.parse import quote, urlencode

import humanize
from cachetools import TTLCache, cached
from flask import Request, Response
from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from registry.artifact import INT64_MAX
from registry.environment import Environment
from registry.errors import QueryFailed
from registry.inventory import Inventory
from registry.overview import Model, sort_models, totals
from registry.rows import Artifact, Comparison, ModelVersionFiles, Row, to_json
from registry.timeline import Timeline

CACHE_SECONDS = 1  # a removal has to be seen within two
# Limits of a page, and of the memory for all answers that are kept.
CACHED_ANSWERS = 10
MODELS = 200  # on an overview
ALERTS = 20
VERSIONS = 20  # on a model's page
FILES = 50  # of a version in an environment

_TEMPLATES = Path(__file__).with_name("templates")
_STYLE = (_TEMPLATES / "style.css").read_text()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    # The page has no scripts, and loads nothing from elsewhere.
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_CONSOLE = "https://console.cloud.google.com/storage/browser/_details"


class Page:
    """
    Answers requests from an inventory, each with at most one query.

    BigQuery's answer, or its error, is kept for a second: many readers cost no more than one.
    """

    def __init__(self, inventory: Inventory, clock: Callable[[], datetime]) -> None:
        """`clock` returns the time in UTC."""
        self._clock = clock
        self._latest_models = _kept(inventory.latest_models)
        self._model_version_files = _kept(inventory.model_version_files)
        self._templates = Templates(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "ago": lambda time: f"{humanize.naturaldelta(clock() - time)} ago",
            "size": lambda size: "-" if size is None else humanize.naturalsize(size),
            "address": _address,
            "shell": shlex.quote,
            "path": quote,
        }
        self._templates.globals |= {"style": Markup(_STYLE), "environments": list(Environment)}  # noqa: S704 - our own file

    def respond(self, request: Request) -> Response:
        """
        Answer `/`, the overview, and `/models/<name>`, each as HTML or as JSON.

        Raises:
            QueryFailed: BigQuery did not answer.
        """
        if request.method not in {"GET", "HEAD"}:
            text = "Expected GET: this page is for reading only."
            return self._message(request, HTTPStatus.METHOD_NOT_ALLOWED, text, Allow="GET, HEAD")
        if request.args.get("format", "html") not in {"html", "json"}:
            text = "Expected format=html or format=json."
            return self._message(request, HTTPStatus.BAD_REQUEST, text)
        if request.path == "/":
            return self._overview(request)
        if request.path.startswith("/models/"):
            name = request.path.removeprefix("/models/") or request.args.get("name", "")
            return self._model(request, name)
        return self._message(request, HTTPStatus.NOT_FOUND, "There is no such page.")

    def explain(self, request: Request, error: Exception) -> Response:
        """Answer that something went wrong, and what to do about it."""
        if isinstance(error, QueryFailed):
            status, text = HTTPStatus.SERVICE_UNAVAILABLE, str(error)
        else:
            status, text = HTTPStatus.INTERNAL_SERVER_ERROR, "The log says what is wrong."
        return self._message(request, status, text, Retry_After=CACHE_SECONDS)

    def _overview(self, request: Request) -> Response:
        rows = self._latest_models()
        models = Model.of(rows)
        odd = [model for model in models if model.differs]
        search, sort = request.args.get("q", "").strip(), request.args.get("sort", "")
        found = sort_models([model for model in models if model.mentions(search)], sort)
        if _wants_json(request):
            return _json([row for model in found for row in model.latest.values()])
        pages = max(1, -(-len(found) // MODELS))
        page = min(max(1, request.args.get("page", 1, type=int)), pages)
        return self._html(
            request,
            "overview.html",
            models=found[(page - 1) * MODELS : page * MODELS],
            found=len(found),
            page=page,
            pages=pages,
            search=search,
            sort=sort,
            odd=odd[:ALERTS],
            more_odd=len(odd[ALERTS:]),
            totals=totals(rows),
            registered=len(models),
        )

    def _model(self, request: Request, name: str) -> Response:
        newest = request.args.get("newest", INT64_MAX, type=_version)
        rows = self._model_version_files(name, newest=newest, versions=VERSIONS + 1, files=FILES)
        numbers = list(dict.fromkeys(row.model_version for row in rows))
        shown = [row for row in rows if row.model_version in numbers[:VERSIONS]]
        if not shown:
            text = f"Expected versions of {name!r}, found none that are registered."
            return self._message(request, HTTPStatus.NOT_FOUND, text)
        if _wants_json(request):
            return _json(shown)
        return self._html(
            request,
            "model.html",
            name=name,
            rows=[(row, _odd_files(row, shown)) for row in shown],
            older=numbers[VERSIONS:],
            timeline=Timeline.of(shown),
            console=_CONSOLE,
        )

    def _html(self, request: Request, template: str, **values: object) -> Response:
        text = self._templates.get_template(template).render(
            now=self._clock(),
            # Relative: a proxy may serve the page under a path of its own.
            home="../" * (request.path.count("/") - 1) or "./",
            query=request.args.to_dict(),
            **values,
        )
        return _response(text, "text/html")

    def _message(
        self, request: Request, status: HTTPStatus, text: str, **headers: object
    ) -> Response:
        if _wants_json(request):
            response = _response(json.dumps({"error": text}), "application/json")
        else:
            response = self._html(request, "message.html", title=status.phrase, text=text)
        response.status_code = status
        response.headers["Cache-Control"] = "no-store"
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = str(value)
        return response


def _wants_json(request: Request) -> bool:
    return request.args.get("format") == "json"


def _kept[**P, T](ask: Callable[P, T]) -> Callable[P, T]:
    """Keep a question's answers and errors for a second; ask one at a time."""

    @cached(TTLCache(CACHED_ANSWERS, CACHE_SECONDS), condition=Condition())
    def answer(*args: P.args, **kwargs: P.kwargs) -> T | Exception:
        try:
            return ask(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised below, for everybody who asks
            return error

    @functools.wraps(ask)
    def kept(*args: P.args, **kwargs: P.kwargs) -> T:
        found = answer(*args, **kwargs)
        if isinstance(found, Exception):
            raise found
        return found

    return kept


def _response(text: str, kind: str) -> Response:
    return Response(text, headers=_HEADERS, content_type=f"{kind}; charset=utf-8")


def _json(rows: Sequence[Row]) -> Response:
    return _response(to_json(rows), "application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class OddFiles:
    """
    How a version's files differ from those of the environment before.

    `paths` are files that are not there, or not the same. `missing` are names that only the
    environment before has. Both are empty unless all files are `listed`.
    """

    paths: frozenset[str] = frozenset()
    missing: Sequence[str] = ()
    listed: bool = True


def _odd_files(row: ModelVersionFiles, rows: Sequence[ModelVersionFiles]) -> OddFiles:
    if row.comparison != Comparison.DIFFERENT:
        return OddFiles()
    [before] = [
        other
        for other in rows
        if (other.model_version, other.environment) == (row.model_version, row.before)
    ]
    if len(before.artifacts) < before.files or len(row.artifacts) < row.files:
        return OddFiles(listed=False)
    here, there = (
        {_content(file) for file in of.artifacts if file.removed_at is None or of.removed_at}
        for of in (row, before)
    )
    return OddFiles(
        paths=frozenset(file.gcs_path for file in row.artifacts if _content(file) not in there),
        missing=sorted({name for name, *_ in there} - {name for name, *_ in here}),
    )


def _content(file: Artifact) -> tuple[str, str | None, int | None]:
    return file.file_name, file.crc32c, file.file_size_bytes


def _address(name: str) -> str:
    """Return the address of a model; some names would not survive in a path."""
    if name in {".", ".."} or not name.isprintable():
        return f"models/?{urlencode({'name': name})}"
    return f"models/{quote(name, safe='')}"


def _version(text: str) -> int:
    number = int(text)
    if not 0 <= number <= INT64_MAX:
        raise ValueError(text)
    return number
