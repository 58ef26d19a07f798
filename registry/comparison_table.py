"""The table of how two versions differ."""

from collections.abc import Sequence

from rich.text import Text

from registry.comparison import Compared, Difference
from registry.grid import Grid
from registry.output import printable
from registry.terminal import size_text

_STYLES = {
    Difference.ADDED: "green",
    Difference.REMOVED: "yellow",
    Difference.CHANGED: "bold red",
    Difference.UNKNOWN: "yellow",
    Difference.SAME: "dim",
}


def differences(rows: Sequence[Compared], title: str) -> Grid:
    """Make a table of what differs, and of all metadata; files that are the same are counted."""
    shown = [row for row in rows if row.kind != "file" or row.difference != Difference.SAME]
    same = len(rows) - len(shown)
    return Grid(
        columns=["kind", "name", "from", "to", "difference"],
        rows=[
            [
                Text(row.kind),
                Text(printable(row.name), "bold"),
                _side(row, row.size_from, row.crc32c_from, row.values_from),
                _side(row, row.size_to, row.crc32c_to, row.values_to),
                Text(row.change or row.difference, _STYLES[Difference(row.difference)]),
            ]
            for row in shown
        ],
        folded=["name", "from", "to"],
        title=title,
        caption=f"{same} file{'' if same == 1 else 's'} the same",
    )


def _side(row: Compared, size: int | None, crc32c: str | None, values: Sequence[str]) -> Text:
    if row.kind == "metadata":
        return Text(printable(", ".join(values)) or "-")
    if size is None and crc32c is None:
        return Text("-")
    return Text(f"{size_text(size)}  {printable(crc32c or 'no checksum')}")
