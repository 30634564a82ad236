"""A reader with every fault that is looked for: what it does is the first byte of its file."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence

import numpy as np

from edgeopt.errors import EdgeoptError, FileFormatError

from ..readers import Reader


def _read(data: bytes) -> None:
    kind = data[:1]
    if kind == b"e":
        raise FileFormatError("This is no file; get it again.")
    if kind == b"i":
        raise EdgeoptError("internal error in the child process: KeyError: 'x'")
    if kind == b"f":
        raise KeyError("x")
    if kind == b"m":
        np.ones(120 << 20, np.uint8)
    if kind == b"s":
        while True:
            pass
    if kind == b"k":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == b"h":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
        while True:
            pass


def _mutate(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return rng.choice(others)


READERS = {
    "planted": Reader(
        _read, lambda: {kind: kind.encode() for kind in "aefimskhb"}, ("tests/fuzz/targets/planted.py",), mutate=_mutate
    )
}
