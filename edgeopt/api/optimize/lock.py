"""One run a folder: a lock that is free again when its process ends, however it ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...artifact.locking import lock
from ...errors import OutputError

_TAKEN = (errno.EAGAIN, errno.EACCES)


@contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Make a folder, and keep other runs out of it; the lock is on the folder itself, so nothing is left in it.

    Args:
        folder: Where a run writes.
        say: Told where the file system cannot lock.

    Raises:
        OutputError: Another run writes there, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OutputError(f"Cannot make the folder {folder}: {error.strerror}; choose another.") from error
    try:
        try:
            lock(descriptor, wait=False)
        except OSError as error:
            if error.errno in _TAKEN:
                raise OutputError(
                    f"Another run writes in the folder {folder}; wait for it to end, or choose another folder."
                ) from error
            say(f"{folder} is on a file system without locks: see that no other run writes there")
        yield
    finally:
        os.close(descriptor)
