"""A table that fits the screen, or becomes a list of blocks, a line for each column."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

_FRAME = 1  # at the left
_PADDING = 3  # of each column, with its frame at the right


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """
    Rows of cells under the names of their columns.

    Only columns that are `folded` may be narrower than their text. They break between words.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]
    folded: Collection[str] = ()
    lines: bool = False
    title: str = ""
    caption: str = ""

    def on(self, screen: Console) -> RenderableType:
        """Return what to print on a screen; no word is broken that fits in a line of it."""
        widths = self._widths(screen.width)
        body = self._table(widths) if widths else self._blocks(screen)
        notes = [Text(note, "italic") if note else None for note in (self.title, self.caption)]
        return Group(*(part for part in (notes[0], body, notes[1]) if part is not None))

    def _widths(self, screen_width: int) -> list[int]:
        """Return the columns' widths; empty if they do not fit."""
        texts = [
            [name, *(row[at].plain for row in self.rows)] for at, name in enumerate(self.columns)
        ]
        widths = [max(map(_longest_line, column)) for column in texts]
        least = [
            max(map(_longest_word, column)) if name in self.folded else width
            for name, column, width in zip(self.columns, texts, widths, strict=True)
        ]
        room = screen_width - _FRAME - _PADDING * len(widths)
        if sum(least) > room:
            return []
        while (excess := sum(widths) - room) > 0:
            spare = [width - fewest for width, fewest in zip(widths, least, strict=True)]
            widest = max(range(len(widths)), key=lambda at: widths[at] if spare[at] else 0)
            widths[widest] -= min(excess, spare[widest], max(1, excess // len(widths)))
        return widths

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(
            *(
                Column(name, width=width, overflow="fold")
                for name, width in zip(self.columns, widths, strict=True)
            ),
            header_style="bold",
            show_lines=self.lines,
        )
        for row in self.rows:
            table.add_row(*row)
        return table

    def _blocks(self, screen: Console) -> Text:
        indent = max(map(cell_len, self.columns)) + 2
        blocks = []
        for row in self.rows:
            lines = Text("\n").join(
                _line(name, cell, indent, screen)
                for name, cell in zip(self.columns, row, strict=True)
            )
            blocks.append(lines)
        return Text("\n\n").join(blocks)


def _line(name: str, cell: Text, indent: int, screen: Console) -> Text:
    """Return a cell after its column's name; below it if a word of the cell needs the room."""
    label = Text(name, "bold")
    if _longest_word(cell.plain) > screen.width - indent:
        return Text("\n").join([label, *cell.wrap(screen, screen.width, overflow="fold")])
    lines = cell.wrap(screen, screen.width - indent)
    for line in lines:
        line.rstrip()
    label.append(" " * (indent - cell_len(name)))
    return label + Text("\n" + " " * indent).join(lines)


def _longest_line(text: str) -> int:
    return max(map(cell_len, text.splitlines()), default=0)


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)
