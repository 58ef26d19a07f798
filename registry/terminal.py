"""Tables of rows, as a person reads them on a terminal."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import humanize
from rich.text import Text

from registry.grid import Grid
from registry.output import printable
from registry.rows import (
    Artifact,
    Change,
    Comparison,
    Generation,
    LatestModel,
    ModelVersion,
    Promotion,
)

_STYLES = {
    Comparison.IDENTICAL: "green",
    Comparison.INCOMPLETE: "bold yellow",
    Comparison.DIFFERENT: "bold red",
    Comparison.UNKNOWN: "yellow",
    Comparison.SKIPPED: "bold yellow",
}
_CHANGE_STYLES = {"overwritten": "bold red", "removed": "yellow"}


def _text(text: str | None, style: str = "") -> Text:
    """Return what an uploader wrote, without reading markup in it."""
    return Text(printable(text or "-"), style)


def _time(time: datetime | None) -> Text:
    return Text(f"{time:%Y-%m-%d %H:%M}" if time else "-")


def _ago(time: datetime) -> str:
    return f"{humanize.naturaldelta(datetime.now(UTC) - time)} ago"


def size_text(size: int | None) -> Text:
    """Return a size as people read it."""
    return Text("-" if size is None else humanize.naturalsize(size))


def _comparison(value: str | None) -> Text:
    return Text(value, _STYLES[Comparison(value)]) if value else Text("-")


def _table[R](
    rows: Iterable[R], columns: Mapping[str, Callable[[R], Text]], folded: Sequence[str]
) -> Grid:
    """Make a table whose columns keep their width, except for the folded ones."""
    cells = [[cell(row) for cell in columns.values()] for row in rows]
    return Grid(columns=list(columns), rows=cells, folded=folded)


def matrix(rows: Sequence[LatestModel], environments: Sequence[str], limit: int | None) -> Grid:
    """Make a table of models by environments."""
    latest = {(row.model_name, row.environment): row for row in rows}
    names = list(dict.fromkeys(row.model_name for row in rows))[:limit]

    def column(environment: str) -> Callable[[str], Text]:
        return lambda name: _cell(latest.get((name, environment)))

    table = _table(
        names,
        {
            "model": lambda name: _text(name, "bold"),
            **{where: column(where) for where in environments},
        },
        folded=["model", *environments],
    )
    return dataclasses.replace(table, lines=True)


def _cell(latest: LatestModel | None) -> Text:
    if latest is None:
        return Text("-", "dim")
    cell = Text(f"v{latest.model_version}", "bold")
    cell.append(f"  {size_text(latest.total_bytes)}", "not bold")
    if latest.versions_behind_dev:
        cell.append(f"  {latest.versions_behind_dev} behind dev", "not bold dim")
    who = ", ".join(latest.uploaders) or "unknown"
    cell.append(f"\n{_ago(latest.last_upload_timestamp)}, {printable(who)}", "not bold")
    if latest.comparison:
        different = latest.comparison == Comparison.DIFFERENT
        verdict = latest.verdict.upper() if different else latest.verdict
        cell.append(f"\n{verdict}", f"not bold {_STYLES[latest.comparison]}")
    if latest.others_differing:
        cell.append(f"\n{latest.others_differing}", "not bold red")
    return cell


def _version(row: ModelVersion | Artifact) -> Text:
    removed = f" removed {_time(row.removed_at)} UTC" if row.removed_at else ""
    return Text(f"v{row.model_version}", "bold").append(removed, "not bold yellow")


def versions(rows: Sequence[ModelVersion]) -> Grid:
    """Make a table of a model's versions in each environment."""
    columns: Mapping[str, Callable[[ModelVersion], Text]] = {
        "version": _version,
        "environment": lambda row: Text(row.environment),
        "uploaded (UTC)": lambda row: _time(row.last_upload_timestamp),
        "size": lambda row: size_text(row.total_bytes),
        "files": lambda row: Text(str(row.files)),
        "by": lambda row: _text(", ".join(row.uploaders)),
        "overwrites": lambda row: Text(str(row.overwrites)),
        "as before": lambda row: _comparison(row.comparison),
    }
    return _table(rows, columns, folded=["by"])


def files(rows: Sequence[Artifact]) -> Grid:
    """Make a table of files."""
    columns: dict[str, Callable[[Artifact], Text]] = {
        "version": _version,
        "environment": lambda row: Text(row.environment),
        "file": lambda row: _text(row.file_name),
        "size": lambda row: size_text(row.file_size_bytes),
        "crc32c": lambda row: _text(row.crc32c),
        "uploaded (UTC)": lambda row: _time(row.upload_timestamp),
        "by": lambda row: _text(row.uploader),
        "overwrites": lambda row: Text(str(row.overwrites)),
        "metadata": lambda row: _metadata(row.metadata),
    }
    if not any(row.metadata for row in rows):
        del columns["metadata"]
    return _table(rows, columns, folded=["file", "by", "metadata"])


def _metadata(metadata: object) -> Text:
    """Return custom metadata, a line for each key."""
    if not isinstance(metadata, dict):
        return _text(json.dumps(metadata, ensure_ascii=False) if metadata else None)
    lines = [
        f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in metadata.items()
    ]
    return Text("\n").join(map(_text, lines)) if lines else _text(None)


def promotions(rows: Sequence[Promotion]) -> Grid:
    """Make a table of when versions reached each environment, and what happened to them since."""
    columns: Mapping[str, Callable[[Promotion], Text]] = {
        "model": lambda row: _text(row.model_name, "bold"),
        "version": lambda row: Text(f"v{row.model_version}"),
        "dev (UTC)": lambda row: _stay(
            row.dev_upload_timestamp, row.dev_last_upload_timestamp, row.dev_removed_at
        ),
        "staging (UTC)": lambda row: _stay(
            row.staging_upload_timestamp, row.staging_last_upload_timestamp, row.staging_removed_at
        ),
        "vs dev": lambda row: _comparison(row.staging_vs_dev),
        "prod (UTC)": lambda row: _stay(
            row.prod_upload_timestamp, row.prod_last_upload_timestamp, row.prod_removed_at
        ),
        "vs staging": lambda row: _comparison(row.prod_vs_staging),
    }
    return _table(rows, columns, folded=["model"])


def _stay(first: datetime | None, last: datetime | None, removed: datetime | None) -> Text:
    """Return when a version reached an environment, was last uploaded there, and was removed."""
    cell = _time(first)
    if last and _time(last) != cell:
        cell.append(f"\nlast {_time(last)}")
    if removed:
        cell.append(f"\nremoved {_time(removed)}", "yellow")
    return cell


def changes(rows: Sequence[Change]) -> Grid:
    """Make a table of what happened."""
    columns: Mapping[str, Callable[[Change], Text]] = {
        "when (UTC)": lambda row: _time(row.changed_at),
        "model": lambda row: _text(row.model_name, "bold"),
        "version": lambda row: Text(f"v{row.model_version}"),
        "environment": lambda row: Text(row.environment),
        "change": lambda row: Text(row.change, _CHANGE_STYLES.get(row.change, "")),
        "files": lambda row: Text(str(row.files)),
        "size": lambda row: size_text(row.total_bytes),
        "by": lambda row: _text(", ".join(row.uploaders)),
        "commit": lambda row: _text(row.git_commit),
    }
    return _table(rows, columns, folded=["model", "by", "commit"])


def generations(rows: Sequence[Generation]) -> Grid:
    """Make a table of an artifact's generations."""
    columns: Mapping[str, Callable[[Generation], Text]] = {
        "generation": lambda row: Text(
            "-" if row.generation is None else str(row.generation), "bold"
        ),
        "uploaded (UTC)": lambda row: _time(row.upload_timestamp),
        "until (UTC)": lambda row: _time(row.removed_at),
        "registered (UTC)": lambda row: _time(row.registered_at),
        "size": lambda row: size_text(row.file_size_bytes),
        "crc32c": lambda row: _text(row.crc32c),
        "by": lambda row: _text(row.uploader),
        "metadata": lambda row: _metadata(row.metadata),
    }
    return _table(rows, columns, folded=["by", "metadata"])
