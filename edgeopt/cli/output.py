"""What the verbs share: the --json option, a rich console that honours NO_COLOR and pipes, and byte sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from shlex import quote
from typing import IO, TYPE_CHECKING, Any, cast

import click

from ..artifact.envelope import write_json
from ..errors import printable
from ..evaluation.figures import readable_bytes
from .paths import RESULT, Function

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["STYLES", "Function", "add_row", "console", "interval_words", "json_option", "readable_bytes", "wants_text"]

# Tables that go to a file or a pipe are not folded to a terminal's width, which COLUMNS may tell.
_PIPE_WIDTH = 160

# How a line of a budget is shown, by its verdict.
STYLES = {"met": "green", "not proven": "yellow", "not measured": "yellow", "missed": "red"}


def json_option(function: Function) -> Function:
    """Add ``--json PATH|-`` to a command, as the argument `json_path`."""
    text = "Also write the result as JSON (- for stdout)."
    return click.option("--json", "json_path", type=RESULT, metavar="PATH|-", help=text)(function)


def wants_text(result: Callable[[], Mapping[str, object]], json_path: str | None) -> bool:
    """Write the JSON of a result where ``--json`` says; return whether the result is to be printed for people, too.

    Args:
        result: Gives the JSON; called only where it is wanted.
        json_path: As `json_option` gives it: a path, ``-`` for standard output, or None.
    """
    if json_path is not None:
        write_json(result(), json_path)
    return json_path != "-"


def console(stderr: bool = False, file: IO[str] | None = None) -> Console:
    """Return a rich console on stdout (results) or stderr (progress), or on `file`."""
    from rich.console import Console

    class Unfolded(Console):
        """In a file a text stays one line, however long; on a terminal it is folded between words."""

        def print(self, *objects: Any, **options: Any) -> None:
            if not self.is_terminal and all(isinstance(item, str) for item in objects):
                options.setdefault("soft_wrap", True)
            super().print(*objects, **options)

    made = Unfolded(stderr=stderr, file=file, highlight=False)
    if not made.is_terminal:
        made.width = max(made.width, _PIPE_WIDTH)
        made.file = cast(IO[str], _Trimmed(made.file))
    return made


class _Trimmed:
    """A text stream without the blanks with which tables fill their lines."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what rich gives it: whole lines."""
        return self._stream.write(re.sub(r" +(?=\n)", "", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def next_step(*words: str | os.PathLike[str], why: str = "", program: str = "edgeopt") -> None:
    """End a verb with the command that most people run next, to be copied; words in capitals are theirs to fill in."""
    command = " ".join(quote(os.fspath(word)) for word in (program, *words))
    out, told = console(), printable(f"Next: {command}")
    if why and out.is_terminal and len(told) + len(why) + 4 > out.width:
        told, why = f"{told}\n      ({why})", ""
    out.print(told + (f"  ({why})" if why else ""), markup=False, soft_wrap=True)


def add_row(table: Table, *cells: str) -> None:
    """Add a row of plain text: names come from files, and must neither steer the terminal nor count as markup."""
    from rich.text import Text

    table.add_row(*(Text(printable(cell)) for cell in cells))


def interval_words(processes: int, why_none: str | None) -> str:
    """Return what the interval of a timing is called: what one process gives says nothing of the next one."""
    return why_none or ("95 % interval" if processes > 1 else "95 % interval of this one process")
