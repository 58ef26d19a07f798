"""The table of how two versions differ."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from registry.comparison import Compared, Difference
from registry.output import printable
from registry.terminal import size_text

_STYLES = {
    Difference.ADDED: "green",
    Difference.REMOVED: "yellow",
    Difference.CHANGED: "bold red",
    Difference.UNKNOWN: "yellow",
    Difference.SAME: "dim",
}


def differences(rows: Sequence[Compared], title: str) -> Table:
    """Make a table of what differs, and of all metadata; files that are the same are counted."""
    table = Table(header_style="bold", title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("from", overflow="fold")
    table.add_column("to", overflow="fold")
    table.add_column("", no_wrap=True)
    same = 0
    for row in rows:
        if row.kind == "file" and row.difference == Difference.SAME:
            same += 1
            continue
        table.add_row(
            Text(row.kind),
            Text(printable(row.name), "bold"),
            _side(row, row.size_from, row.crc32c_from, row.values_from),
            _side(row, row.size_to, row.crc32c_to, row.values_to),
            Text(row.change or row.difference, _STYLES[Difference(row.difference)]),
        )
    table.caption = f"{same} file{'' if same == 1 else 's'} the same"
    table.caption_justify = "left"
    return table


def _side(row: Compared, size: int | None, crc32c: str | None, values: Sequence[str]) -> Text:
    if row.kind == "metadata":
        return Text(printable(", ".join(values)) or "-")
    if size is None and crc32c is None:
        return Text("-")
    return Text(f"{size_text(size)}  {printable(crc32c or 'no checksum')}")
