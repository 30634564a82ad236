"""What a page is made of: sections of tables, facts, charts and notes, all of plain text; a template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .scatter import Scatter

_UNKNOWN = ("", "–", "unknown")
# What a mark means: its sign, which says it without colour.
SIGNS = {"good": "✓", "bad": "✗", "unsure": "?", "none": ""}


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What it says.
        detail: What stands under it, smaller.
        share: How long its bar is, in [0, 1]; None for no bar.
        heat: How strong its ground is, in [0, 1]; None for none.
        mark: A key of `SIGNS`.
    """

    text: str
    detail: str = ""
    share: float | None = None
    heat: float | None = None
    mark: str = "none"

    @property
    def sign(self) -> str:
        """The mark's sign."""
        return SIGNS[self.mark]


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names the row.

    Attributes:
        caption: What it shows, as a phrase.
        columns: Names of the columns.
        rows: As many cells each as there are columns.
        note: A sentence under it.
        square: Whether it is a matrix, drawn with small square cells.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    square: bool = False

    kind = "table"


@dataclass(frozen=True)
class Facts:
    """Names and what is known of each."""

    rows: tuple[tuple[str, str], ...]

    kind = "facts"


@dataclass(frozen=True)
class Picture:
    """A chart, and what stands under it."""

    chart: Scatter
    note: str = ""


@dataclass(frozen=True)
class Note:
    """A sentence that is marked: "good", "bad", "unsure" or "none"."""

    text: str
    mark: str = "none"

    kind = "note"

    @property
    def sign(self) -> str:
        """The mark's sign."""
        return SIGNS[self.mark]


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a file or a run: a word with its mark, a sentence, and a line for each limit."""

    name: str
    word: str
    mark: str
    text: str
    lines: tuple[Note, ...] = ()

    kind = "verdict"

    @property
    def sign(self) -> str:
        """The mark's sign."""
        return SIGNS[self.mark]


@dataclass(frozen=True)
class Pictures:
    """Charts, side by side where there is room."""

    pictures: tuple[Picture, ...]

    kind = "pictures"


@dataclass(frozen=True)
class Commands:
    """Lines to be typed, or run."""

    caption: str
    text: str

    kind = "commands"


Block = Table | Facts | Pictures | Note | Verdict | Commands


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        blocks: What is in it.
        parts: Parts of it, that can be folded.
        folded: Whether it is folded at first, where it is a part.
    """

    title: str
    blocks: tuple[Block, ...] = ()
    parts: tuple[Section, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: Its title.
        lead: A sentence under it.
        sections: In order.
    """

    title: str
    lead: str
    sections: tuple[Section, ...]


def cells(*texts: str) -> tuple[Cell, ...]:
    """Return plain cells."""
    return tuple(Cell(text) for text in texts)


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = "") -> Table:
    """Return a table of these rows, without the columns of which nothing is known."""
    known = [n for n in range(len(columns)) if n == 0 or any(row[n].text not in _UNKNOWN for row in rows)]
    kept = tuple(tuple(row[n] for n in known) for row in rows)
    return Table(caption, tuple(columns[n] for n in known), kept, note)
