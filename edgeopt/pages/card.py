"""A model card: verdict and figures of a report as the Markdown, with front matter, that the Hugging Face Hub shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .document import Page, Table, Verdict

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!&])")
_USE = """## Use

`run_on_board.py`, where it lies beside this page, runs the file, its quantisation put in right; `report.html` is the
whole evidence, and `manifest.json` has the SHA-256 of each file. `edgeopt verify ARCHIVE --device NAME` replays the
golden vectors on a board.

What the model is for, the data that it was trained on, and its licence are its author's to add."""


def model_card(page: Page, model: str) -> str:
    """Return the model card of a file.

    Args:
        page: The report of that one file.
        model: The file's name.
    """
    head = ["---", "library_name: litert", "tags:", "- tflite", "- edgeopt", "---", "", f"# {_plain(model)}", ""]
    return "\n".join([*head, *_said(page), *_figures(page), "", _USE, ""])


def _said(page: Page) -> Iterator[str]:
    for block in page.sections[0].blocks:
        if isinstance(block, Verdict):
            yield f"**{_plain(block.word)}.** {_plain(block.text)}\n"
            yield from (f"- {line.sign} {_plain(line.text)}" for line in block.lines)


def _figures(page: Page) -> Iterator[str]:
    """Yield the row of the file in the report's overview, a line a figure."""
    overview = next(block for part in page.sections for block in part.blocks if isinstance(block, Table))
    yield from ("", "| of the file | measured | interval, or exactly |", "|---|---|---|")
    for name, cell in list(zip(overview.columns, overview.rows[0], strict=True))[1:]:
        value = f"{cell.sign} {_plain(cell.text)}".strip()
        yield f"| {_plain(name)} | {value} | {_plain(cell.detail)} |"
    yield from ("", _plain(overview.note))


def _plain(text: str) -> str:
    """Return a text that is only text in Markdown: names of files and boards are data."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
