"""The page's templates: what they can say, and how they say it."""

import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import humanize
from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from registry.environment import Environment
from registry.links import Links
from registry.rows import NAMED_FILES, NAMED_VERSIONS, ModelHistory, ModelVersionFiles
from registry.timeline import presence

_TEMPLATES = Path(__file__).with_name("templates")
STYLE = (_TEMPLATES / "style.css").read_text()
_CONSOLE = "https://console.cloud.google.com/storage/browser/_details"


def templates(clock: Callable[[], datetime], links: Links) -> Templates:
    """Load the templates; `clock` returns the time in UTC, `links` those of metadata."""
    loaded = Templates(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.filters |= {
        "ago": lambda time: f"{humanize.naturaldelta(clock() - time)} ago",
        "there_since": _there_since,
        "size": lambda size: "-" if size is None else humanize.naturalsize(size),
        "address": _address,
        "shell": shlex.quote,
        "path": quote,
    }
    loaded.globals |= {
        "style": Markup(STYLE),  # noqa: S704 - our own file
        "console": _CONSOLE,
        "environments": list(Environment),
        "links": links,
        "named_files": NAMED_FILES,
        "named_versions": NAMED_VERSIONS,
    }
    return loaded


def _there_since(row: ModelVersionFiles) -> datetime | None:
    """Return since when a version is there, or was; None if only its changes would tell."""
    if isinstance(row, ModelHistory):
        return presence(row)[-1][0]
    return None if row.overwrites else row.first_upload_timestamp


def _address(name: str, kept: Mapping[str, str], version: int | None = None) -> str:
    """Return the address of a model or a version; some names would not survive in a path."""
    if name in {".", ".."} or not name.isprintable():
        number = {} if version is None else {"version": version}
        return f"models/?{urlencode({'name': name, **number, **kept})}"
    path = f"models/{quote(name, safe='')}" + ("" if version is None else f"/v{version}")
    return f"{path}?{urlencode(kept)}" if kept else path
