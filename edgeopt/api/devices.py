"""The inventory's boards: adding, checking, setting up, cleaning; behind ``edgeopt devices``."""

from __future__ import annotations

import dataclasses
import os
import shlex
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.agent.claim import ADOPT
from ..errors import DeviceError, EdgeoptWarning, UsageError

if TYPE_CHECKING:
    from ..devices import Device
    from ..devices.boards.inventory import Board
    from ..devices.boards.setup import Installed
    from ..devices.readiness import Line

CLEAN_S = 120.0
LOOK_S = 5.0  # for a board that is added, and may not be there yet

PathLike = str | os.PathLike[str]


def open_device(device: str | Device, inventory: PathLike | None = None) -> AbstractContextManager[Device]:
    """Return the device that a name stands for, as a context manager; a `Device` stays open when it is left.

    Args:
        device: "local", a name of the inventory, or a `Device`.
        inventory: The inventory's file; None looks for the project's and the user's.

    Raises:
        UsageError: There is none of that name.
    """
    from ..devices import Device

    if isinstance(device, Device):
        return nullcontext(device)
    return Device.from_inventory(device, inventory)


def device_names(text: str, inventory: PathLike | None = None) -> list[str]:
    """Return the names of a list such as ``kitchen,garage``; that they exist is looked up before anything slow runs.

    Raises:
        UsageError: It is empty, names one twice, or one that the inventory does not have.

    Example:
        >>> device_names("kitchen, garage")
        ['kitchen', 'garage']
    """
    from ..devices.boards.inventory import LOCAL, Inventory

    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"The devices are {text!r}; expected different names with commas between them.")
    for name in names:
        if name != LOCAL:
            Inventory.find(inventory).place(name)
    return names


def check_device(name: str, inventory: PathLike | None = None, say: Callable[[Line], None] | None = None) -> list[Line]:
    """Return what is well and what is not with a device, a line each; `say` gets each as soon as it is known.

    Raises:
        UsageError: There is none of that name.
    """
    from ..devices.readiness import check

    found = []
    with open_device(name, inventory) as device:
        for line in check(device, setup_command(name, inventory)):
            found.append(line)
            if say is not None:
                say(line)
    return found


def setup_command(name: str, inventory: PathLike | None = None) -> str:
    """Return the command line that sets a board up."""
    words = ["edgeopt", "devices", "setup", name]
    return shlex.join(words if inventory is None else [*words, "--devices", os.fspath(inventory)])


def add_device(board: Board, inventory: PathLike | None = None, *, replace: bool = False) -> Path:
    """Write a board into the inventory, and return the file; the board is asked whether its work folder is edgeopt's.

    A board that cannot be reached is added all the same, with a warning, as is one whose folder has to be adopted.

    Args:
        board: The board.
        inventory: The inventory's file; None looks for the project's and the user's.
        replace: Write over a board of that name.

    Raises:
        UsageError: The name is taken and `replace` is not set.
        DeviceError: The work folder holds what is not edgeopt's, or may not be used.
    """
    from ..devices.boards.inventory import Inventory

    found = Inventory.find(inventory)
    found.require_free(board.name, replace=replace)
    if told := _work_folder_note(board):
        warnings.warn(told, EdgeoptWarning, stacklevel=2)
    return found.add(board, replace=replace)


def _work_folder_note(board: Board) -> str:
    """Return what is to be known of a board's work folder; "" if all is well."""
    from ..devices.transport.ssh import SshTransport

    address = dataclasses.replace(board.address(), connect_timeout_s=LOOK_S)
    with SshTransport(address, workdir=board.workdir) as transport:
        try:
            folder = transport.workdir
        except DeviceError as error:
            return f"{board.name} is added without a look at its work folder: {error}"
        if transport.look(timeout_s=CLEAN_S):
            return ""
        return f"{folder} on {board.name} is of an older edgeopt; {ADOPT.replace('NAME', board.name)}."


def set_up_device(
    name: str,
    *,
    inventory: PathLike | None = None,
    runtime: str | None = None,
    wheelhouse: PathLike | None = None,
    python: str | None = None,
    adopt: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Board, Installed]:
    """Install NumPy and the right runtime on a board, and remember its new Python in the inventory.

    Args:
        name: A board of the inventory.
        inventory: The inventory's file; None looks for the project's and the user's.
        runtime: "ai-edge-litert" or "tflite-runtime"; None takes the best that was built for the board.
        wheelhouse: A folder of wheels to be sent, for a board without internet.
        python: The Python there to start from; default ``python3``.
        adopt: Take over a work folder from before edgeopt marked its own, if it holds nothing else.
        say: Takes a line on each step, to be shown to the user; by default they are dropped.

    Raises:
        UsageError: No such device or folder, or a wheel is missing in it.
        DeviceError: No runtime was built for the board, an installation failed, or the work folder is not edgeopt's.
    """
    from ..devices.boards.inventory import Inventory
    from ..devices.boards.setup import set_up

    if wheelhouse is not None and not Path(wheelhouse).is_dir():
        raise UsageError(f"The wheelhouse {os.fspath(wheelhouse)} is not a folder; make it with `pip download`.")
    found = Inventory.find(inventory)
    board = found.board(name)
    start = dataclasses.replace(board, python=python or "python3")
    with start.transport() as transport:
        folder = None if wheelhouse is None else Path(wheelhouse)
        installed = set_up(transport, runtime=runtime, wheelhouse=folder, adopt=adopt, say=say)
    ready = dataclasses.replace(board, python=installed.python)
    found.add(ready, replace=True)
    return ready, installed


def clean_device(name: str, inventory: PathLike | None = None, *, everything: bool = False) -> list[str]:
    """Remove what runs have left on a board, and return the folders; the environment of `set_up_device` stays.

    Args:
        name: A board of the inventory.
        inventory: The inventory's file; None looks for the project's and the user's.
        everything: Remove the whole work folder, with the environment.

    Raises:
        UsageError: There is none of that name.
        DeviceError: It cannot be reached, the work folder is not edgeopt's, or a folder cannot be removed.
    """
    from ..devices.boards.inventory import Inventory

    with Inventory.find(inventory).board(name).transport() as transport:
        work = transport.workdir
        folders = [work] if everything else [f"{work}/{part}" for part in ("runs", "files", "wheels")]
        for folder in folders:
            transport.remove(folder, timeout_s=CLEAN_S)
    return folders
