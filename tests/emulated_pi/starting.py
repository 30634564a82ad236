"""From a fixture to a started board, or to a skip that says why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import machine, namespace
from .apt import Unavailable
from .board import Board
from .cache import cache_folder, locked

# Set where a board must start (CI): to "all", and a route that does not start fails its tests instead of skipping them;
# to anything else, and it does so only when the other route does not start, either.
REQUIRED_VARIABLE = "EDGEOPT_REQUIRE_BOARD"

_ROUTES: dict[str, Callable[[Path], Board]] = {"namespace": namespace.start, "machine": machine.start}


@contextmanager
def started(*routes: str) -> Iterator[Board]:
    """Yield a board of the first route that starts; skip, with the reasons, when none does."""
    reasons: list[str] = []
    board = _first(routes, reasons)
    if board is None:
        _give_up(routes, reasons)
        return
    try:
        yield board
    finally:
        board.stop()


def _first(routes: Iterable[str], reasons: list[str]) -> Board | None:
    """Return a board of the first route that starts; add to `reasons` why others did not."""
    for route in routes:
        try:
            cache = cache_folder()
            with locked(cache):
                return _ROUTES[route](cache)
        except (Unavailable, OSError) as error:
            reasons.append(f"{route}: {error}")
    return None


def _give_up(routes: Iterable[str], reasons: list[str]) -> None:
    """Skip the tests, or fail them where a board is required."""
    required = os.environ.get(REQUIRED_VARIABLE, "")
    if required and required != "all":
        other = _first([route for route in _ROUTES if route not in routes], reasons)
        if other is not None:
            other.stop()
            required = ""
    reason = f"no emulated board: {'; '.join(reasons)}"
    if required:
        pytest.fail(reason)
    pytest.skip(reason)
