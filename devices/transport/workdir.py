"""The work folder on a board: which text can name one, and what a board says that will not use it."""

from __future__ import annotations

from pathlib import PurePosixPath
from shlex import quote

from ...errors import DeviceError, UsageError
from ..agent.claim import ADOPT, ELSEWHERE

_HOMES = ("/home", "/Users")


def checked_workdir(text: str) -> str:
    """Return a work folder's path in its plain form, relative to the home folder or absolute.

    Raises:
        UsageError: It is the home folder, or could be outside of what it seems to name.

    Example:
        >>> checked_workdir("~/.cache//edgeopt/")
        '.cache/edgeopt'
    """
    path = PurePosixPath("/" + text.lstrip("/") if text.startswith("/") else text.removeprefix("~/"))
    parts = path.parts
    above_all = not parts or parts == ("/",)
    home = str(path) == "/root" or (path.is_absolute() and f"/{'/'.join(parts[1:2])}" in _HOMES and len(parts) <= 3)
    if above_all or home or ".." in parts or parts[0].startswith("~") or not text.isprintable():
        raise UsageError(
            f"The work folder is {text!r}; expected a folder of edgeopt's own, such as .cache/edgeopt: relative to the "
            "home folder or absolute, without `..`, and not the home folder itself."
        )
    return str(path)


def folder_refusal(name: str, workdir: str, answer: str, known_as: str) -> DeviceError | None:
    """Return the error for what a script says of the work folder, None if it speaks of something else.

    Args:
        name: How messages call the board.
        workdir: The work folder.
        answer: What the script said.
        known_as: What the inventory calls the board.
    """
    kind, _, detail = answer.partition(" ")
    why, remedy = {
        "refuse": (detail, ELSEWHERE),
        "strange": (f"it holds {detail!r}, which is not edgeopt's", ELSEWHERE),
        "unmarked": (f"nothing says that edgeopt made it ({detail} is missing)", ADOPT),
    }.get(kind, ("", ""))
    remedy = remedy.replace("NAME", quote(known_as))
    return DeviceError(f"The work folder {workdir} on {name} is not used: {why}; {remedy}.") if why else None
