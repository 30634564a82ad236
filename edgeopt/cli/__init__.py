"""The command line: one module a verb, loaded when that verb is called. Only this package prints or exits.

It imports every room but passes and training, and nobody imports it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import FrameType

from .main import main

_HELP = {"-h", "--help", "--version"}


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code (the ``edgeopt`` console script)."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), _leave)
    words = list(sys.argv[1:] if arguments is None else arguments)
    with _temporary_files(words):
        code = main(words)
    sys.exit(code)


def _temporary_files(words: Sequence[str]) -> AbstractContextManager[None]:
    """Keep the temporary files of a verb together; help has none, and does not wait for what makes them."""
    if not words or not _HELP.isdisjoint(words):
        return nullcontext()
    from ..artifact.scratch import own_temporary_files

    return own_temporary_files()


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave by way of the clean-up that Ctrl-C takes: children ended, temporary files removed."""
    sys.exit(128 + number)
