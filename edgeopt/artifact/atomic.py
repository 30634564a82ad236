"""Atomic writes: a reader sees the old file or the whole new one, never a part."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError
from .locking import is_ours, lock
from .scratch import Scratch

_SUFFIX = ".tmp"


def refuse_to_overwrite(path: str | os.PathLike[str], force: bool) -> None:
    """Raise unless `path` is free, or `force` is set; also when its folder is missing or not writable.

    Raises:
        OutputError: The output exists and `force` is not set, or cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a folder, but a file name was expected; name a file inside it.")
    if target.exists() and not force:
        raise OutputError(f"{target} exists already; pass --force (force=True) to replace it, or choose another name.")
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"Cannot write {target}: the folder {folder} does not exist; create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write {target}: no permission to write in {folder}; choose another folder.")


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, fsync it, and rename it into place.

    Raises:
        OutputError: The file system refused (no permission, disk full, missing folder).
    """
    write_together([(path, data)])


def write_together(files: Sequence[tuple[str | os.PathLike[str], bytes]]) -> None:
    """Write files of which none is to be there without the others: all are written before the first gets its name.

    Raises:
        OutputError: The file system refused (no permission, disk full, missing folder); nothing has changed then.
    """
    written: list[tuple[str, int]] = []
    named: list[Path] = []
    target = Path()
    try:
        for target, data in ((Path(path), data) for path, data in files):
            written.append(_opened(target))
            _fill(written[-1][1], data)
        for (path, _), (name, _) in zip(written, files, strict=True):
            target, new = Path(name), not os.path.lexists(name)
            os.replace(path, target)
            named += [target] if new else []
    except OSError as error:
        _undo(named)
        raise OutputError(
            f"Cannot write {target}: {error.strerror}; free some space or choose another folder."
        ) from error
    except BaseException:
        _undo(named)
        raise
    finally:
        for path, descriptor in written:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(descriptor)


def _undo(named: Sequence[Path]) -> None:
    for path in named:
        path.unlink(missing_ok=True)


def _opened(target: Path) -> tuple[str, int]:
    """Return a new file beside `target`, with the rights that a new file has here; it is locked while it is written."""
    _sweep(target)
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(8)}{_SUFFIX}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks
            lock(descriptor, wait=True)
        if path.exists():
            return str(path), descriptor
        os.close(descriptor)  # another run took it for one that was left


def _fill(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)


def _sweep(target: Path) -> None:
    """Remove what killed runs of this user have left of their writing `target`."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}{re.escape(_SUFFIX)}")
    with contextlib.suppress(OSError):
        for path in (path for path in target.parent.iterdir() if ours.fullmatch(path.name)):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and is_ours(found):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    lock(descriptor, wait=False)
                    path.unlink(missing_ok=True)
                except OSError:
                    continue
                finally:
                    os.close(descriptor)


@contextmanager
def replacing(path: Path, what: str = "") -> Iterator[Path]:
    """Yield a free path of the same name; the file made there takes the place of `path` if nothing is raised.

    Args:
        path: The file to be there in the end.
        what: What errors call it, before its path.

    Raises:
        OutputError: The file system refused (no permission, disk full, missing folder).
    """
    try:
        scratch = Scratch("saving", path.parent)
        try:
            made = scratch.path / path.name
            yield made
            with made.open("rb") as stream:
                os.fsync(stream.fileno())
            os.replace(made, path)
        finally:
            scratch.close()
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"Cannot write {what}{path}: {why}; free some space or choose another folder.") from error
