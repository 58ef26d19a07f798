"""The page: requests and answers. It only reads."""

import base64
import functools
import hashlib
import json
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, urlencode

import humanize
from cachetools import TTLCache, cached
from flask import Request, Response
from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from registry.artifact import INT64_MAX
from registry.condition import Condition, parse_search
from registry.environment import Environment
from registry.errors import InvalidCondition, InvalidMoment, QueryFailed
from registry.inventory import EVERYTHING, Filter, Inventory
from registry.moment import parse, parse_past
from registry.overview import Model, sort_models, totals
from registry.rows import NAMED_FILES, Row, to_json
from registry.timeline import Timeline

CACHE_SECONDS = 1  # a removal has to be seen within two
# Limits of a page, and of the memory for all answers that are kept.
CACHED_ANSWERS = 10
MODELS = 200  # on an overview
ALERTS = 20
VERSIONS = 20  # on a model's page
FILES = 50  # of a version in an environment
CHANGES = 200

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
        self._changes = _kept(inventory.changes)
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
        self._templates.globals |= {
            "style": Markup(_STYLE),  # noqa: S704 - our own file
            "environments": list(Environment),
            "named_files": NAMED_FILES,
        }

    def respond(self, request: Request) -> Response:
        """
        Answer `/`, the overview, `/models/<name>` and `/changes`, each as HTML or as JSON.

        With `at`, they show what was true at that time.

        Raises:
            QueryFailed: BigQuery did not answer.
        """
        if request.method not in {"GET", "HEAD"}:
            text = "Expected GET: this page is for reading only."
            return self._message(request, HTTPStatus.METHOD_NOT_ALLOWED, text, Allow="GET, HEAD")
        if request.args.get("format", "html") not in {"html", "json"}:
            text = "Expected format=html or format=json."
            return self._message(request, HTTPStatus.BAD_REQUEST, text)
        try:
            return self._answer(request)
        except InvalidMoment as error:
            text = f"E{str(error)[1:]}. In an address, a + is written %2B."
            return self._message(request, HTTPStatus.BAD_REQUEST, text)

    def explain(self, request: Request, error: Exception) -> Response:
        """Answer that something went wrong, and what to do about it."""
        if isinstance(error, QueryFailed):
            status, text = HTTPStatus.SERVICE_UNAVAILABLE, str(error)
        else:
            status, text = HTTPStatus.INTERNAL_SERVER_ERROR, "The log says what is wrong."
        return self._message(request, status, text, Retry_After=CACHE_SECONDS)

    def _answer(self, request: Request) -> Response:
        at = request.args.get("at")
        as_of = parse_past(at, self._clock()) if at else None
        if request.path == "/":
            return self._overview(request, as_of)
        if request.path == "/changes":
            return self._list_changes(request, as_of)
        if request.path.startswith("/models/"):
            name = request.path.removeprefix("/models/") or request.args.get("name", "")
            return self._model(request, name, as_of)
        return self._message(request, HTTPStatus.NOT_FOUND, "There is no such page.")

    def _overview(self, request: Request, as_of: datetime | None) -> Response:
        search, sort = request.args.get("q", "").strip(), request.args.get("sort", "")
        conditions: tuple[Condition, ...] = ()
        problem = ""
        try:
            conditions = parse_search(search)
        except InvalidCondition as error:
            problem = str(error)
            if _wants_json(request):
                return self._message(request, HTTPStatus.BAD_REQUEST, problem)
        rows = self._latest_models(Filter(as_of=as_of, where=conditions))
        models = Model.of(rows)
        odd = [(model.name, version) for model in models for version in model.differing]
        text = "" if conditions or problem else search
        found = sort_models([model for model in models if model.mentions(text)], sort)
        if _wants_json(request):
            return _json([row for model in found for row in model.latest.values()])
        pages = max(1, -(-len(found) // MODELS))
        page = min(max(1, request.args.get("page", 1, type=int)), pages)
        response = self._html(
            request,
            "overview.html",
            as_of,
            models=found[(page - 1) * MODELS : page * MODELS],
            found=len(found),
            page=page,
            pages=pages,
            search=search,
            conditions=conditions,
            problem=problem,
            sort=sort,
            odd=odd[:ALERTS],
            more_odd=len(odd[ALERTS:]),
            totals=totals(rows),
            registered=len(models),
        )
        if problem:
            response.status_code = HTTPStatus.BAD_REQUEST
        return response

    def _list_changes(self, request: Request, as_of: datetime | None) -> Response:
        model, since = request.args.get("model", ""), request.args.get("since", "")
        environments = tuple(filter(None, request.args.getlist("environment")))
        if unknown := {*environments}.difference(Environment):
            text = f"Expected environment=dev, staging or prod, found {min(unknown)!r}."
            return self._message(request, HTTPStatus.BAD_REQUEST, text)
        wanted = Filter(
            environments=environments or EVERYTHING.environments,
            since=parse(since, as_of or self._clock()) if since else EVERYTHING.since,
            limit=CHANGES + 1,
            as_of=as_of,
        )
        rows = self._changes(model or None, wanted)
        if _wants_json(request):
            return _json(rows[:CHANGES])
        return self._html(
            request,
            "changes.html",
            as_of,
            rows=rows[:CHANGES],
            are_all=len(rows) <= CHANGES,
            model=model,
            chosen=environments,
            since=since,
        )

    def _model(self, request: Request, name: str, as_of: datetime | None) -> Response:
        newest = request.args.get("newest", INT64_MAX, type=_version)
        rows = self._model_version_files(
            name, Filter(as_of=as_of), newest=newest, versions=VERSIONS + 1, files=FILES
        )
        numbers = sorted({row.model_version for row in rows}, reverse=True)
        shown = [row for row in rows if row.model_version in numbers[:VERSIONS]]
        if not shown:
            text = f"Expected versions of {name!r}, found none that are registered."
            return self._message(request, HTTPStatus.NOT_FOUND, text, as_of)
        if _wants_json(request):
            return _json(shown)
        return self._html(
            request,
            "model.html",
            as_of,
            name=name,
            rows=shown,
            older=numbers[VERSIONS:],
            timeline=Timeline.of(shown),
            console=_CONSOLE,
        )

    def _html(
        self, request: Request, template: str, as_of: datetime | None, **values: object
    ) -> Response:
        kept = {"at": request.args["at"]} if as_of else {}
        query = [pair for pair in request.args.items(multi=True) if pair[0] != "format"]
        text = self._templates.get_template(template).render(
            now=self._clock(),
            as_of=as_of,
            # Relative: a proxy may serve the page under a path of its own.
            home="../" * (request.path.count("/") - 1) or "./",
            kept=kept,
            same_time=f"?{urlencode(kept)}" if kept else "",
            until_now=urlencode([pair for pair in query if pair[0] != "at"]),
            as_json=urlencode([*query, ("format", "json")]),
            query=request.args.to_dict(),
            **values,
        )
        return _response(text, "text/html")

    def _message(
        self,
        request: Request,
        status: HTTPStatus,
        text: str,
        as_of: datetime | None = None,
        **headers: object,
    ) -> Response:
        if _wants_json(request):
            response = _response(json.dumps({"error": text}), "application/json")
        else:
            response = self._html(request, "message.html", as_of, title=status.phrase, text=text)
        response.status_code = status
        response.headers["Cache-Control"] = "no-store"
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = str(value)
        return response


def _wants_json(request: Request) -> bool:
    return request.args.get("format") == "json"


def _kept[**P, T](ask: Callable[P, T]) -> Callable[P, T]:
    """Keep a question's answers and errors for a second; ask one at a time."""

    @cached(TTLCache(CACHED_ANSWERS, CACHE_SECONDS), condition=threading.Condition())
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


def _address(name: str, kept: Mapping[str, str]) -> str:
    """Return the address of a model; some names would not survive in a path."""
    if name in {".", ".."} or not name.isprintable():
        return f"models/?{urlencode({'name': name, **kept})}"
    return f"models/{quote(name, safe='')}{f'?{urlencode(kept)}' if kept else ''}"


def _version(text: str) -> int:
    number = int(text)
    if not 0 <= number <= INT64_MAX:
        raise ValueError(text)
    return number
