"""What the live display writes into a file or pipe, taken out of standard error."""

from __future__ import annotations

import re


def told_apart(err: str) -> str:
    """Standard error without the display's lines, of which a slow machine sees more than a fast one."""
    return re.sub(r"^ {0,4}\d+ s  .*\n", "", err, flags=re.M)
