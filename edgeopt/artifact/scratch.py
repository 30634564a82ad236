"""Temporary folders: of this user alone, gone when they are done with, and removed by the next run if it was killed.

Each holds a file that its process has locked. A folder whose lock is free was left by a run that is no more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DeviceError, EdgeoptError, OutputError
from .locking import is_ours, lock

PURPOSES = ("check", "child", "convert", "device", "edgetpu", "load", "predict", "run", "ssh", "vela")
_OURS = re.compile(rf"(?:edgeopt-(?:{'|'.join(PURPOSES)})|\.saving)-[a-z0-9_]{{8}}")
# TensorFlow removes its own when it ends, and not when it is killed; it reads one only while it imports it.
_AUTOGRAPH = re.compile(r"__autograph_generated_file[a-z0-9_]{8}\.py")
_LOCK = ".edgeopt-lock"
_OLD_S = 86_400.0  # what has no lock, of an older edgeopt or of TensorFlow, must be of yesterday
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXT = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
_PROBE_BYTES = 1 << 16
_swept: set[Path] = set()
_redirected: list[Path] = []


class Scratch:
    """A temporary folder that is there until it is closed.

    Attributes:
        path: The folder; nobody else may look into it.
    """

    def __init__(self, purpose: str, parent: Path | None = None) -> None:
        """Make it, and remove what killed runs have left beside it.

        Args:
            purpose: One of `PURPOSES`, or "saving" for a hidden folder.
            parent: Where; default the system's folder for temporary files.

        Raises:
            OSError: It cannot be made.
        """
        folder = parent or Path(tempfile.gettempdir())
        if folder not in _swept or purpose == "saving":
            _swept.add(folder)
            sweep(folder)
        prefix = ".saving-" if purpose == "saving" else f"edgeopt-{purpose}-"
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
            try:
                self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            except FileNotFoundError:
                continue  # swept away, which takes a day: a clock has jumped
            except BaseException:
                shutil.rmtree(self.path, ignore_errors=True)
                raise
            with contextlib.suppress(OSError):  # a file system without locks: then nobody can sweep here, either
                lock(self._lock, wait=True)
            if (self.path / _LOCK).exists():
                return
            os.close(self._lock)  # another run took it for a left one, between these two calls

    def close(self) -> None:
        """Remove it with all that is in it."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Yield a temporary folder for one of `PURPOSES`; it is removed at the end.

    Raises:
        OutputError: It cannot be made, or the disk became full.
    """
    try:
        made = Scratch(purpose)
    except OSError as error:
        where = f"in {base_folder()}: {error.strerror or error}"
        raise OutputError(f"Cannot make a temporary folder {where}; set TMPDIR to a folder with space.") from error
    try:
        yield made.path
    except Exception as error:
        full = out_of_space(error)
        if full is None:
            raise
        raise full from error
    finally:
        made.close()


@contextmanager
def own_temporary_files() -> Iterator[None]:
    """Keep all temporary files of this process, TensorFlow's too, in a folder that goes when it ends."""
    try:
        made = Scratch("run")
    except OSError:  # what needs a temporary file will say so
        yield
        return
    before = tempfile.tempdir
    _redirected.append(Path(tempfile.gettempdir()))
    tempfile.tempdir = str(made.path)
    try:
        yield
    finally:
        tempfile.tempdir = before
        _redirected.pop()
        made.close()


def base_folder() -> Path:
    """Return the system's folder for temporary files, outside of every folder of a run."""
    found = _redirected[0] if _redirected else Path(tempfile.gettempdir())
    ours = [folder for folder in (found, *found.parents) if _OURS.fullmatch(folder.name)]
    return ours[-1].parent if ours else found


def out_of_space(error: BaseException) -> OutputError | None:
    """Return the error to be raised in place of one that a full folder of temporary files has caused, or None."""
    if isinstance(error, (OutputError, DeviceError)):  # told already, or of a board's disk
        return None
    folder = base_folder()
    foreign = isinstance(error, (OSError, RuntimeError))
    if not any(map(_says_full, _chain(error))) and not (foreign and _is_full(Path(tempfile.gettempdir()))):
        return None
    return OutputError(
        f"There is no space left for temporary files in {folder}; free some, or set TMPDIR to a folder with more."
    )


def sweep(folder: Path) -> None:
    """Remove what killed runs of this user have left in a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) or _AUTOGRAPH.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _sweep_one(Path(entry.path))


def _sweep_one(path: Path) -> None:
    found = path.lstat()
    if not is_ours(found):
        return
    old = time.time() - found.st_mtime > _OLD_S
    if stat.S_ISREG(found.st_mode) and _AUTOGRAPH.fullmatch(path.name) and old:
        path.unlink()
    elif stat.S_ISDIR(found.st_mode) and not _AUTOGRAPH.fullmatch(path.name):
        try:
            held = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            if old:
                shutil.rmtree(path, ignore_errors=True)
            return
        try:
            lock(held, wait=False)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(held)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return not isinstance(error, EdgeoptError) and _FULL_TEXT.search(str(error)) is not None


def _is_full(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"\0" * _PROBE_BYTES)
            stream.flush()
    except OSError as error:
        return error.errno in _FULL
    return False
