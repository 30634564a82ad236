"""The command line: one module a verb, loaded when that verb is called. Only this package prints or exits."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .main import main


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code (the ``edgeopt`` console script)."""
    sys.exit(main(arguments))
