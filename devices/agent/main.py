"""The command line of ``edgeopt-agent.pyz``: what a host starts, and what a person types on a board."""

from __future__ import annotations

import sys
from typing import List


def main(arguments: List[str]) -> int:
    """Run one command and return the exit status."""
    if arguments == ["worker"]:  # started by the agent itself
        from .worker import main as work

        return work()
    if arguments in ([], ["--detached"]):
        if sys.stdin.isatty():
            sys.stderr.write("edgeopt-agent waits for a request of a host on stdin; for use by hand see --help\n")
        from .serve import serve

        return serve(detached=bool(arguments))
    from .byhand import main as by_hand

    return by_hand(arguments)
