"""Which inventory is believed: where one is looked for, whose it may be, and what only the user's own may say."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ...errors import EdgeoptWarning, UsageError

# Keys that choose a program: an ssh_config may hold a ProxyCommand, which runs on this machine.
PRIVATE = ("ssh_config", "python")


class NotHonoured(EdgeoptWarning):
    """A key of a project's inventory is left alone, for it could run a program."""


def search_folders(start: Path) -> list[Path]:
    """Return where a project's file may lie: `start`, and up to the repository's root or the home folder.

    Outside of both it is `start` alone: ``/`` and ``/tmp`` are not of any project.
    """
    home, found = _home(), []
    for folder in (start, *start.parents):
        found.append(folder)
        if (folder / ".git").exists() or folder == home:
            return found
    return [start]


def refuse_foreign(path: Path) -> None:
    """Raise unless a file that was found, and not named, is the user's own (or root's) and nobody else may write it.

    Raises:
        UsageError: It is another user's, or writable by all.
    """
    try:
        found = [path.lstat(), path.stat()]  # a link, and what it leads to
    except OSError:  # absent, or not to be read: that is told when it is read
        return
    if any(item.st_uid not in (0, os.getuid()) for item in found):
        raise UsageError(
            f"{path} belongs to another user, and is not used; pass it with --devices (inventory=...) if you trust it."
        )
    refuse_writable(path)


def refuse_writable(path: Path) -> None:
    """Raise when everybody may write a file.

    Raises:
        UsageError: They may.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        raise UsageError(
            f"{path} can be written by all users, and is not used; look into it, then run: chmod o-w {path}"
        )


def not_honoured(path: Path, name: str, keys: tuple[str, ...], own: Path) -> str:
    """Return the sentence on what was left out of a board."""
    listed = " and ".join(keys)
    return (
        f"{path}: {listed} of device {name!r} not honoured, for a project's file is not to choose programs; put it "
        f"into {own}, or pass --devices {path} if you trust it."
    )


def _home() -> Path | None:
    try:
        return Path.home().absolute()
    except RuntimeError:
        return None
