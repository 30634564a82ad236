"""Tables that a benchmark writes into a page, between two comments."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end -->"


def write_between(page: Path, words: str, table: str) -> None:
    """Put a table between ``<!-- WORDS -->`` and the next ``<!-- end -->`` of a page.

    Raises:
        ValueError: The page has no such comment.
    """
    begin = f"<!-- {words} -->"
    head, found, rest = page.read_text("utf-8").partition(begin)
    if not found or END not in rest:
        raise ValueError(f"{page} has no {begin} with an {END} behind it")
    page.write_text(f"{head}{begin}\n{table}\n{END}{rest.split(END, 1)[1]}", "utf-8")
