"""From a fixture to a started board, or to a skip that says why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import machine, namespace
from .apt import Unavailable
from .board import Board
from .cache import cache_folder, locked

# Set where a board must start (CI): a fixture that finds none then fails its tests instead of skipping them.
REQUIRED_VARIABLE = "EDGEOPT_REQUIRE_BOARD"

_ROUTES: dict[str, Callable[[Path], Board]] = {"namespace": namespace.start, "machine": machine.start}


@contextmanager
def started(*routes: str) -> Iterator[Board]:
    """Yield a board of the first route that starts; skip, with the reasons, when none does."""
    reasons = []
    for route in routes:
        try:
            cache = cache_folder()
            with locked(cache):
                board = _ROUTES[route](cache)
        except (Unavailable, OSError) as error:
            reasons.append(f"{route}: {error}")
            continue
        try:
            yield board
        finally:
            board.stop()
        return
    reason = f"no emulated board: {'; '.join(reasons)}"
    if os.environ.get(REQUIRED_VARIABLE):
        pytest.fail(reason)
    pytest.skip(reason)
