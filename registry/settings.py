"""What the function reads from its environment variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from registry.errors import InvalidSettings
from registry.links import Links

DEFAULT_TABLE = "ml_registry.models"
DEFAULT_BUCKET_PREFIX = "ml-models"
DEFAULT_THREADS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of one instance of the function."""

    project: str
    table: str
    emulated: bool
    threads: int = DEFAULT_THREADS
    links: Links = field(default_factory=Links)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """
        Read the configuration. An empty variable counts as one that is not set.

        - `GCP_PROJECT_ID`, required: the project that holds the table.
        - `REGISTRY_TABLE`, `<dataset>.<table>`: the table, `ml_registry.models` by default.
        - `BIGQUERY_EMULATOR_HOST`, an address: BigQuery is there and needs no credentials. It is
          the client library's own variable; the library reads it too.
        - `THREADS`, a number: how many requests an instance answers at once, 32 by default. It is
          the framework's own variable; the framework reads it too.
        - `LINKS`, `<key>=<address with {value}>`, several with spaces between them: where the page
          leads from a value of metadata.

        Raises:
            InvalidSettings: Some are missing or unreadable; the message names each.
        """
        project = environ.get("GCP_PROJECT_ID") or ""
        table = environ.get("REGISTRY_TABLE") or DEFAULT_TABLE
        emulator = environ.get("BIGQUERY_EMULATOR_HOST") or ""
        threads = environ.get("THREADS") or str(DEFAULT_THREADS)
        problems = []
        if not project:
            problems.append("GCP_PROJECT_ID: expected the project's id, found nothing; set it")
        elif not re.fullmatch(r"[a-z0-9.:-]+", project):
            problems.append(f"GCP_PROJECT_ID: expected a project's id, found {project!r}")
        if not re.fullmatch(r"[A-Za-z0-9_]+\.[\w-]+", table):
            problems.append(f"REGISTRY_TABLE: expected <dataset>.<table>, found {table!r}")
        if emulator and not re.fullmatch(r"https?://[^/]+/?", emulator):
            problems.append(
                f"BIGQUERY_EMULATOR_HOST: expected http://<host>:<port>, found {emulator!r}"
            )
        if not re.fullmatch(r"[1-9][0-9]{0,2}", threads):
            problems.append(f"THREADS: expected a number from 1 to 999, found {threads!r}")
        try:
            links = Links.parse(environ.get("LINKS") or "")
        except InvalidSettings as error:
            problems.append(str(error))
        if problems:
            raise InvalidSettings("; ".join(problems))
        return cls(
            project=project,
            table=table,
            emulated=bool(emulator),
            threads=int(threads),
            links=links,
        )
