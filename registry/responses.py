"""What the page's answers have in common: their headers, and their form."""

import base64
import hashlib
from collections.abc import Sequence

from flask import Request, Response

from registry.rendering import STYLE
from registry.rows import Row, to_json

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    # The page has no scripts, and loads nothing from elsewhere.
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def wants_json(request: Request) -> bool:
    """Whether JSON is asked for, and not HTML."""
    return request.args.get("format") == "json"


def response_of(text: str, kind: str) -> Response:
    """Make an answer; `kind` is its media type."""
    return Response(text, headers=_HEADERS, content_type=f"{kind}; charset=utf-8")


def json_of(rows: Sequence[Row]) -> Response:
    """Make an answer of rows, as JSON."""
    return response_of(to_json(rows), "application/json")
