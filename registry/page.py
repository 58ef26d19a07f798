"""The page: requests and answers. It only reads."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Request, Response

from registry import cache
from registry.artifact import INT64_MAX, read_version
from registry.compare_form import CompareForm
from registry.condition import Condition, parse_search
from registry.environment import Environment
from registry.errors import InvalidCondition, InvalidMoment, QueryFailed
from registry.inventory import EVERYTHING, Filter, Inventory
from registry.links import Links
from registry.moment import parse, parse_past
from registry.overview import Model, sort_models, totals
from registry.rendering import templates
from registry.responses import json_of, response_of, wants_json
from registry.rows import ComparedFile
from registry.timeline import DRAWN, Timeline
from registry.versions import Place, Version

# Limits of a page.
MODELS = 200  # on an overview
VERSIONS = 20  # on a model's page
FILES = 50  # of a version on it
FILES_OF_ONE = 1000  # at the version's own address
CHANGES = 200


class Page:
    """
    Answers requests from an inventory, each with at most one query.

    BigQuery's answer, or its error, is kept for a second: many readers cost no more than one.
    """

    def __init__(self, inventory: Inventory, clock: Callable[[], datetime], links: Links) -> None:
        """`clock` returns the time in UTC; `links` are those of metadata."""
        self._clock = clock
        self._latest_models = cache.kept_for_a_moment(inventory.latest_models)
        self._model_version_files = cache.kept_for_a_moment(inventory.model_version_files)
        self._model_history = cache.kept_for_a_moment(inventory.model_history)
        self._changes = cache.kept_for_a_moment(inventory.changes)
        self._compared_files = cache.kept_for_a_moment(inventory.compared_files)
        self._templates = templates(clock, links)

    def respond(self, request: Request) -> Response:
        """
        Answer `/`, `/models/<name>`, its `/v<N>`, `/changes` and `/compare`, as HTML or as JSON.

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
        return self._message(request, status, text, Retry_After=cache.CACHE_SECONDS)

    def _answer(self, request: Request) -> Response:
        at = request.args.get("at")
        as_of = parse_past(at, self._clock()) if at else None
        if request.path == "/":
            return self._overview(request, as_of)
        if request.path == "/changes":
            return self._list_changes(request, as_of)
        if request.path == "/compare":
            return self._compare(request, as_of)
        if request.path.startswith("/models/"):
            name, _, version = request.path.removeprefix("/models/").partition("/")
            asked = version or request.args.get("version")
            try:
                only = None if asked is None else _version(asked)
            except ValueError:
                return self._message(request, HTTPStatus.NOT_FOUND, "There is no such page.")
            return self._model(request, name or request.args.get("name", ""), as_of, only)
        return self._message(request, HTTPStatus.NOT_FOUND, "There is no such page.")

    def _overview(self, request: Request, as_of: datetime | None) -> Response:
        search, sort = request.args.get("q", "").strip(), request.args.get("sort", "")
        conditions: tuple[Condition, ...] = ()
        problem = ""
        try:
            conditions = parse_search(search)
        except InvalidCondition as error:
            problem = str(error)
            if wants_json(request):
                return self._message(request, HTTPStatus.BAD_REQUEST, problem)
        rows = self._latest_models(Filter(as_of=as_of, where=conditions))
        models = Model.of(rows)
        attention = request.args.get("attention") == "1"
        text = "" if conditions or problem else search
        found = sort_models(
            [m for m in models if m.mentions(text) and (m.needs_attention or not attention)], sort
        )
        if wants_json(request):
            return json_of([row for model in found for row in model.latest.values()])
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
            attention=attention,
            need_attention=sum(model.needs_attention for model in models),
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
        if wants_json(request):
            return json_of(rows[:CHANGES])
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

    def _compare(self, request: Request, as_of: datetime | None) -> Response:
        def ask(
            model: str, first: int, second: int, places: Sequence[str]
        ) -> Sequence[ComparedFile]:
            wanted = Filter(environments=tuple(places), as_of=as_of)
            return self._compared_files(model, first, second, wanted)

        form = CompareForm.of(request.args, ask)
        if wants_json(request):
            if form.sides:
                return json_of(form.rows)
            status = form.status if form.problem else HTTPStatus.BAD_REQUEST
            text = form.problem or "Expected model and first, and second or from and to."
            return self._message(request, status, text)
        response = self._html(request, "compare.html", as_of, form=form, limit=FILES_OF_ONE)
        response.status_code = form.status
        return response

    def _model(
        self, request: Request, name: str, as_of: datetime | None, only: int | None
    ) -> Response:
        newest = request.args.get("newest", INT64_MAX, type=_version)
        if only is not None:
            newest, versions, files = only, 1, FILES_OF_ONE
        elif wants_json(request):
            versions, files = VERSIONS, FILES
        else:
            return self._history(request, name, as_of, newest)
        rows = self._model_version_files(
            name, Filter(as_of=as_of), newest=newest, versions=versions, files=files
        )
        if not rows or only not in {None, rows[0].model_version}:
            which = "versions of" if only is None else f"v{only} of"
            text = f"Expected {which} {name!r}, found none that are registered."
            return self._message(request, HTTPStatus.NOT_FOUND, text, as_of)
        if wants_json(request):
            return json_of(rows)
        return self._html(
            request,
            "version.html",
            as_of,
            name=name,
            version=Version.of(rows)[0],
            places=Place.of(rows),
            limit=files,
        )

    def _history(
        self, request: Request, name: str, as_of: datetime | None, newest: int
    ) -> Response:
        rows = self._model_history(
            name,
            as_of,
            newest=newest,
            versions=VERSIONS + len(Environment) + 1,
            drawn=DRAWN + 1,
            files=FILES,
        )
        if not rows:
            text = f"Expected versions of {name!r}, found none that are registered."
            return self._message(request, HTTPStatus.NOT_FOUND, text, as_of)
        versions, places = Version.of(rows), Place.of(rows)
        current = {place.current.model_version for place in places if place.current}
        others = [
            version
            for version in versions
            if version.number <= newest and version.number not in current
        ]
        return self._html(
            request,
            "model.html",
            as_of,
            name=name,
            places=places,
            timeline=Timeline.of(rows, as_of or self._clock()),
            current=[version for version in versions if version.number in current],
            others=others[:VERSIONS],
            older=others[VERSIONS : VERSIONS + 1],
            limit=FILES,
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
            rest=[pair for pair in query if pair[0] not in {"at", "page"}],
            path=request.path,
            **values,
        )
        return response_of(text, "text/html")

    def _message(
        self,
        request: Request,
        status: HTTPStatus,
        text: str,
        as_of: datetime | None = None,
        **headers: object,
    ) -> Response:
        if wants_json(request):
            response = response_of(json.dumps({"error": text}), "application/json")
        else:
            response = self._html(request, "message.html", as_of, title=status.phrase, text=text)
        response.status_code = status
        response.headers["Cache-Control"] = "no-store"
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = str(value)
        return response


def _version(text: str) -> int:
    version = read_version(text)
    if version is None:
        raise ValueError(text)
    return version
