"""Atomic writes: a reader sees the old file or the whole new one, never a part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError


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
    target = Path(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error.strerror}; choose another folder.") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, target)
    except OSError as error:
        raise OutputError(
            f"Cannot write {target}: {error.strerror}; free some space or choose another folder."
        ) from error
    finally:
        if os.path.exists(name):
            os.unlink(name)


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
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
            made = Path(folder) / path.name
            yield made
            with made.open("rb") as stream:
                os.fsync(stream.fileno())
            os.replace(made, path)
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"Cannot write {what}{path}: {why}; free some space or choose another folder.") from error
