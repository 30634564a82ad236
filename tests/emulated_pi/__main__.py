"""Build or try the emulated board by hand: ``python -m tests.emulated_pi build|namespace|machine`` in the checkout."""

from __future__ import annotations

import sys
import time

from . import machine, namespace
from .cache import cache_folder, locked


def main(words: list[str]) -> int:
    """Run one command; a started board ends at the end of standard input."""
    cache = cache_folder()
    began = time.monotonic()
    with locked(cache):
        if words == ["build"]:
            for start in (namespace.start, machine.start):
                start(cache).stop()
            print(f"built and started once in {time.monotonic() - began:.1f} s: {cache}")
            return 0
        if words not in (["namespace"], ["machine"]):
            print(__doc__, file=sys.stderr)
            return 2
        board = (namespace if words == ["namespace"] else machine).start(cache)
    print(f"started in {time.monotonic() - began:.1f} s: ssh -F {board.config} {board.alias}", flush=True)
    try:
        sys.stdin.read()
    finally:
        board.stop()
    return 0


sys.exit(main(sys.argv[1:]))
