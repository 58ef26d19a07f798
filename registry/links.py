"""Where values of metadata are explained: the commit in its repository, the run on its server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, urlsplit

from registry.errors import InvalidSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """
    The address of a value of metadata, for the keys that have a template.

    >>> links = Links.parse("git_commit=https://git.example.com/commit/{value}")
    >>> links.url("git_commit", "8d1f 2ab")
    'https://git.example.com/commit/8d1f%202ab'
    """

    templates: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read `<key>=<address with {value}>`, several with spaces or new lines between them.

        Raises:
            InvalidSettings: One is not of that form, or not an http(s) address.
        """
        templates = {}
        for word in text.split():
            key, _, template = word.partition("=")
            if not (key and template.count("{value}") == 1 and _is_web(template)):
                example = "<key>=https://<host>/<path>/{value}"
                raise InvalidSettings(f"LINKS: expected {example}, found {word!r}")
            templates[key] = template
        return cls(templates=templates)

    def url(self, key: str, value: str) -> str | None:
        """Return the address of a value; None if there is no template for it."""
        template = self.templates.get(key)
        # A path of dots would lead elsewhere on the same host.
        if template is None or value in {"", ".", ".."}:
            return None
        return template.replace("{value}", quote(value, safe=""))


def _is_web(template: str) -> bool:
    """Whether it is an address of the web whose host no value can change."""
    if not re.match(r"https?://[\w.:\[\]-]+/", template):
        return False
    try:
        return bool(urlsplit(template).hostname)
    except ValueError:  # an IPv6 address that is none
        return False
