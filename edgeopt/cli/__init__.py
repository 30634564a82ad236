"""The command line: one module a verb, loaded when that verb is called. Only this package prints or exits.

It imports every room but passes and training, and nobody imports it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ..artifact.scratch import own_temporary_files
from .main import main


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code (the ``edgeopt`` console script)."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), _leave)
    with own_temporary_files():
        code = main(arguments)
    sys.exit(code)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave by way of the clean-up that Ctrl-C takes: children ended, temporary files removed."""
    sys.exit(128 + number)
