"""Locks on open files, which end with their process; Windows has none of the kind, and then nothing is swept there."""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock(descriptor: int, *, wait: bool) -> None:
    """Lock an open file for this process alone.

    Args:
        descriptor: Of the open file.
        wait: Until another process lets go of it; otherwise its lock is an error.

    Raises:
        OSError: Another process holds it, or this system has no such locks.
    """
    if fcntl is None:
        raise OSError("no locks on this system")
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def is_ours(found: os.stat_result) -> bool:
    """Whether a file is this user's; nobody's where a system does not number its users."""
    return hasattr(os, "getuid") and found.st_uid == os.getuid()
