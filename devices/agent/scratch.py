"""The agent's own temporary folder when it is run by hand: locked while it is in use, swept by the next run if not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from typing import Iterator, NamedTuple

_PREFIX = "edgeopt-agent-"
_OURS = re.compile(_PREFIX + "[a-z0-9_]{8}")
_LOCK = ".lock"
_OLD_S = 86400.0  # what has no lock is of an older agent, or about to get one: it must be of yesterday


class Scratch(NamedTuple):
    """A temporary folder, and the open file whose lock says that it is in use."""

    path: str
    lock: int


@contextlib.contextmanager
def scratch() -> Iterator[Scratch]:
    """Yield a folder that goes at the end; what killed runs of this user have left beside it goes first.

    Whoever inherits the lock keeps the folder.
    """
    sweep(tempfile.gettempdir())
    path = tempfile.mkdtemp(prefix=_PREFIX)
    lock = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: then nobody sweeps here, either
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield Scratch(path, lock)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep(folder: str) -> None:
    """Remove the agent's folders in `folder` that are this user's and that no process holds; no link is followed."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _OURS.fullmatch(name):
                with contextlib.suppress(OSError):
                    _sweep_one(os.path.join(folder, name))


def _sweep_one(path: str) -> None:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return
    try:
        lock = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        if time.time() - found.st_mtime > _OLD_S:
            shutil.rmtree(path, ignore_errors=True)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
