"""Tables that fit the screen, or become a list of blocks."""

import io
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from registry import terminal
from registry.comparison import Compared
from registry.comparison_table import differences
from registry.grid import Grid
from registry.rows import Artifact, Change, Generation, LatestModel, ModelVersion, Promotion

NAMES = {
    "plain": "fraud-detection",
    "words": "a file whose name has a lot of words in it and is longer than the screen is wide",
    "long": "m" * 79,
    "too long": "m" * 1000,
    "wide": "森" * 40,
    "markup": "[red]x[/red] [link=http://x]" + "y" * 30,
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row[R](kind: type[R], /, **given: object) -> R:
    """Make a row of a kind: times are noon, numbers 7, texts `-`."""
    values: dict[str, object] = {}
    for field in fields(kind):  # type: ignore[arg-type] # every kind is a dataclass
        declared = str(field.type)
        values[field.name] = (
            NOON if "datetime" in declared else 7 if "int" in declared else "identical"
        )
        if "Sequence" in declared:
            values[field.name] = []
    return kind(**values | given)


def tables(name: str) -> list[Grid]:
    """Make each table with a hostile name in all places for text."""
    who = {"uploader": name, "metadata": {name: 1, "accuracy": 0.9}, "gcs_path": f"m/v7/{name}"}
    latest = row(LatestModel, model_name=name, environment="prod", uploaders=[name, "eve"])
    compared = {"values_from": [name], "values_to": ["0.9"], "difference": "changed"}
    return [
        terminal.matrix([latest], ["dev", "staging", "prod"], None),
        terminal.versions([row(ModelVersion, environment="staging", uploaders=[name])]),
        terminal.files([row(Artifact, environment="staging", crc32c="AAAAAA==", **who)]),
        terminal.promotions([row(Promotion, model_name=name)]),
        terminal.changes([row(Change, model_name=name, uploaders=[name], git_commit="f" * 40)]),
        terminal.generations([row(Generation, crc32c="AAAAAA==", **who)]),
        differences([row(Compared, kind="metadata", name=name, **compared)], "v1 → v2"),
    ]


def drawn(grid: Grid, width: int) -> list[str]:
    screen = Console(file=io.StringIO(), width=width, highlight=False)
    screen.print(grid.on(screen))
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


def words(grid: Grid, at_most: int) -> Sequence[str]:
    texts = [*grid.columns, *(cell.plain for cells in grid.rows for cell in cells)]
    return [word for text in texts for word in text.split() if cell_len(word) <= at_most]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", NAMES)
def test_every_table_fits_and_no_word_is_broken_that_fits_in_a_line(name: str, width: int) -> None:
    for grid in tables(NAMES[name]):
        lines = drawn(grid, width)

        assert max(map(cell_len, lines)) <= width
        shown = {word for line in lines for word in line.split()}
        assert set(words(grid, width)) <= shown


def test_nothing_is_stretched_or_broken_on_a_wide_screen() -> None:
    for grid in tables("fraud"):
        assert drawn(grid, 200) == drawn(grid, 10_000)


@pytest.mark.parametrize("width", [80, 10_000])
def test_a_word_longer_than_the_screen_is_all_there(width: int) -> None:
    name = "".join(chr(0x4E00 + at) for at in range(300))
    for grid in tables(name):
        assert name in "".join(
            character for line in drawn(grid, width) for character in line.strip()
        )


def test_a_folded_column_breaks_between_words_only_as_far_as_needed() -> None:
    grid = Grid(
        columns=["id", "text"],
        rows=[[Text("1"), Text("three words here")], [Text("2"), Text("short")]],
        folded=["text"],
        title="title",
        caption="caption",
    )

    assert drawn(grid, 19) == [
        "title",
        "┏━━━━┳━━━━━━━━━━━━┓",
        "┃ id ┃ text       ┃",
        "┡━━━━╇━━━━━━━━━━━━┩",
        "│ 1  │ three      │",
        "│    │ words here │",
        "│ 2  │ short      │",
        "└────┴────────────┘",
        "caption",
    ]
    assert drawn(grid, 12) == [
        *("title", "id    1", "text  three", "      words", "      here", ""),
        *("id    2", "text  short", "caption"),
    ]
    assert drawn(grid, 10)[2:4] == ["text", "three"]


def test_the_last_upload_is_shown_if_it_reads_differently_from_the_first() -> None:
    later = NOON.replace(second=30), NOON.replace(minute=1)
    [same, other] = [
        terminal.promotions([row(Promotion, dev_last_upload_timestamp=last, dev_removed_at=None)])
        for last in later
    ]

    assert same.rows[0][2].plain == "2026-03-01 12:00"
    assert other.rows[0][2].plain == "2026-03-01 12:00\nlast 2026-03-01 12:01"
    assert same.columns[2] == "dev (UTC)"


def test_metadata_is_a_line_for_each_key_of_a_file_that_has_any() -> None:
    values = [{"git_commit": "f00", "accuracy": 0.9, "森": [1, "\x1b"]}, ["odd"], {}, None]
    table = terminal.files([row(Artifact, metadata=value) for value in values])

    assert table.columns[-1] == "metadata"
    assert [cells[-1].plain for cells in table.rows] == [
        'git_commit: f00\naccuracy: 0.9\n森: [1, "\\u001b"]',
        '["odd"]',
        "-",
        "-",
    ]
    assert "metadata" not in terminal.files([row(Artifact, metadata=None)]).columns
