"""What a folder of tests may take, by the table in CONTRIBUTING, and what it took."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

KINDS = ("quick", "heavy", "board")
CONTRIBUTING = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"

Minutes = Mapping[tuple[str, str], float]


def budget() -> dict[tuple[str, str], float]:
    """Return the minutes of one process by folder and kind of test."""
    rows = re.findall(r"^\| `(tests[\w/]*)` \|(.*)\|(.*)\|(.*)\|$", CONTRIBUTING.read_text("utf-8"), re.M)
    return {(row[0], kind): float(cell.strip() or 0) for row in rows for kind, cell in zip(KINDS, row[1:], strict=True)}


def spent(reports: Iterable[Any]) -> Counter[tuple[str, str]]:
    """Return the minutes that tests took, their fixtures included, by folder and kind."""
    minutes: Counter[tuple[str, str]] = Counter()
    for report in reports:
        parts = PurePosixPath(report.nodeid.split("::")[0]).parts
        folder = "/".join(parts[:2]) if len(parts) > 2 else parts[0]
        kind = next((name for name in ("board", "heavy") if name in report.keywords), "quick")
        minutes[folder, kind] += report.duration / 60
    return minutes


def lines(took: Minutes, allowed: Minutes) -> list[str]:
    """Return a line a folder and kind that took a tenth of a minute or more, those over their budget marked."""
    shown = [(key, minutes) for key, minutes in sorted(took.items()) if minutes >= 0.1]
    return [
        f"{minutes:6.1f} of {allowed.get(key, 0):4.1f} min  {key[0]}, {key[1]}"
        f"{'   OVER: make a test cheaper' if minutes > allowed.get(key, 0) else ''}"
        for key, minutes in shown
    ]
