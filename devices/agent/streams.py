"""The three streams of a process that speaks the protocol: who may write what, and noticing that the peer is gone."""

from __future__ import annotations

import os
import sys
import threading
from typing import Callable

from .protocol import encode

STDIN = 0
LONGEST_LINE = 4 << 20  # bytes; the longest replies hold a hundred thousand latencies


def claim_stdout() -> int:
    """Keep the real stdout for protocol lines alone: everything else printed, by C code too, goes to stderr.

    Returns:
        The file descriptor of the real stdout.
    """
    sys.stdout.flush()
    channel = os.dup(1)
    os.dup2(2, 1)
    return channel


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; a reader that went away is no error, since the watchdog notices it."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        pass


def read_line(descriptor: int) -> bytes:
    """Return the first line, without its newline; what was sent before the stream ended, or of a line without end."""
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
        block = os.read(descriptor, 65536)
        if not block:
            break
        line += block
    return line.split(b"\n", 1)[0]


def watch(descriptor: int, on_end: Callable[[], None]) -> None:
    """Start the watchdog: call `on_end`, in a thread of its own, when the stream ends."""

    def wait() -> None:
        try:
            while os.read(descriptor, 65536):
                pass
        except OSError:
            pass
        on_end()

    threading.Thread(target=wait, name="watchdog", daemon=True).start()


class Progress:
    """Writes progress lines to stderr, at most two a second for one stage."""

    INTERVAL_NS = 500_000_000

    def __init__(self, nonce: str, clock: Callable[[], int], quiet: bool = False) -> None:
        """Remember who is spoken to; `clock` returns nanoseconds; `quiet` writes nothing (by hand)."""
        self._nonce = nonce
        self._clock = clock
        self._quiet = quiet
        self._last = ("", 0)

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Tell that `done` of `total` steps of `stage` are behind."""
        now = self._clock()
        stale = stage != self._last[0] or now - self._last[1] >= self.INTERVAL_NS
        if self._quiet or not (stale or done == total):
            return
        self._last = (stage, now)
        write_all(2, encode({"nonce": self._nonce, "progress": stage, "done": done, "total": total}))
