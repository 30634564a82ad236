"""Whose folder is this? edgeopt marks the folder that it has made, and removes nothing outside of a marked one.

`edgeopt.devices.transport.ssh_scripts` has the same rules in sh, for a board before it has the agent.
"""

from __future__ import annotations

import os
import shutil
import stat

from .protocol import AgentError

MARKER = ".edgeopt-folder"
TEXT = "This folder was made by edgeopt. `edgeopt devices clean` removes what is in it; keep nothing of yours here.\n"
# All that edgeopt has ever put into its folder.
OWN = ("files", "lock", "runs", "venv", "wheels")

ELSEWHERE = (
    "name a folder of edgeopt's own with --workdir (for a board that is in the inventory, `edgeopt devices add NAME "
    "--force --profile ... --host ... --workdir FOLDER`)"
)
ADOPT = "`edgeopt devices setup NAME --adopt` takes it over, if nothing in it is yours"


def claim(path: str, adopt: bool = False) -> None:
    """Make a folder edgeopt's: it is made, or is there and marked, or empty.

    Args:
        path: The work folder.
        adopt: Also take one that holds only names of edgeopt's own, from before there were marks.

    Raises:
        AgentError: It is somebody else's, or cannot be written.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        require_own(path)
        if os.path.isfile(os.path.join(path, MARKER)):
            return
        found = os.listdir(path)
        strange = sorted(set(found) - set(OWN))
        if strange:
            raise _refused(path, "it holds %r, which is not edgeopt's" % strange[0], ELSEWHERE)
        if found and not adopt:
            raise _refused(path, "nothing says that edgeopt made it (%s is missing)" % MARKER, ADOPT)
        with open(os.path.join(path, MARKER), "w") as stream:
            stream.write(TEXT)
    except OSError as error:
        message = "cannot write in the work folder %s: %s" % (path, error.strerror)
        raise AgentError("storage", message) from error


def require_own(path: str) -> None:
    """Raise unless a folder may be edgeopt's: this user's, not the home folder or above it, and no link leads out.

    Raises:
        AgentError: It may not.
        OSError: It is not there.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise _refused(path, "it is a symbolic link", ELSEWHERE)
    if found.st_uid != os.getuid():
        raise _refused(path, "it belongs to another user", ELSEWHERE)
    home, real = os.path.realpath(os.path.expanduser("~")), os.path.realpath(path)
    if os.path.join(home, "").startswith(os.path.join(real, "")):
        raise _refused(path, "it is the home folder, or above it", ELSEWHERE)
    for name in (MARKER, *OWN):
        if os.path.islink(os.path.join(path, name)):
            raise _refused(path, "%s in it is a symbolic link" % name, ELSEWHERE)


def remove(path: str) -> None:
    """Remove a file, a link (not what it leads to) or a folder with all that is in it; no error when it is absent.

    Raises:
        OSError: It cannot be removed.
    """
    try:
        folder = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if folder:
        shutil.rmtree(path)  # which does not follow links, either
    else:
        os.unlink(path)


def _refused(path: str, why: str, remedy: str) -> AgentError:
    return AgentError("storage", "the work folder %s is not used: %s" % (path, why), remedy=remedy)
