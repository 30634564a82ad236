"""The work folder on the device: one job at a time, one folder a run, nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from typing import Callable

from .claim import claim, remove
from .protocol import AgentError

POLL_S = 0.2


class WorkFolder:
    """A folder that is edgeopt's own: ``lock``, ``runs/<nonce>/`` and ``files/`` (which the host fills)."""

    def __init__(self, path: str) -> None:
        """Make the folder, where it is not there yet.

        Raises:
            AgentError: It cannot be written, or is not edgeopt's.
        """
        self.path = path
        self._runs = os.path.join(path, "runs")
        claim(path)
        try:
            os.makedirs(self._runs, mode=0o700, exist_ok=True)
            self.lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            message = "cannot write in the work folder %s: %s" % (path, error.strerror)
            raise AgentError("storage", message) from error

    def acquire(self, wait_s: float, report: Callable[[str], None], gone: Callable[[], bool]) -> None:
        """Become the one job of the device; a worker that outlives its agent still holds the lock.

        Raises:
            AgentError: Another job held it for `wait_s` seconds, or the host left in the meantime.
        """
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise AgentError("storage", "cannot lock %s: %s" % (self.path, error.strerror)) from error
            if gone() or time.monotonic() >= end:
                holder = os.pread(self.lock, 64, 0).decode("ascii", "replace").strip() or "unknown"
                message = "another job (process %s) has held the device for the %g s that this one waited"
                raise AgentError("busy", message % (holder, wait_s))
            report("waiting")
            time.sleep(POLL_S)
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, b"%d\n" % os.getpid(), 0)

    def open_run(self, nonce: str) -> str:
        """Remove what lost runs have left, and return a fresh folder for this one. Needs the lock.

        Raises:
            AgentError: It cannot be made.
        """
        if not re.fullmatch(r"[0-9a-zA-Z_-]{1,64}", nonce):
            raise AgentError("request", "the nonce %r is not made of letters, digits, - and _" % nonce)
        folder = os.path.join(self._runs, nonce)
        try:
            for name in os.listdir(self._runs):
                remove(os.path.join(self._runs, name))
            os.mkdir(folder, 0o700)
        except OSError as error:
            message = "cannot write in the work folder %s: %s" % (self.path, error.strerror)
            raise AgentError("storage", message) from error
        return folder

    def close_run(self, folder: str) -> None:
        """Remove the folder of a run; a failure is left to the next run, which cleans up again."""
        with contextlib.suppress(OSError):
            remove(folder)
