"""A binary network is refused, before anything is trained, where nothing runs its file."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...devices import Device
from ...devices.agent.larq import PACKAGE
from ...errors import RuntimeMissingError, UsageError

# Machines of Linux that larq-compute-engine has wheels for.
_MACHINES = ("x86_64",)


def check_engine(
    kinds: Sequence[str], device: str | Device, inventory: str | os.PathLike[str] | None, runtime: str
) -> None:
    """Raise where a recipe makes binary layers and the device cannot run them; nothing is sent to it.

    Args:
        kinds: The kinds of the recipe's passes.
        device: What is to measure.
        inventory: The inventory's file.
        runtime: What is to run the files.

    Raises:
        UsageError: Another runtime is asked for.
        RuntimeMissingError: There is no wheel for the device's machine.
    """
    if "binarize" not in kinds:
        return
    if runtime != PACKAGE:
        raise UsageError(
            f"The recipe has the pass 'binarize', and runtime={runtime!r} does not know binary layers; use --runtime "
            f"{PACKAGE}."
        )
    board = device if isinstance(device, Device) else Device.from_inventory(device, inventory)
    machine = board.profile.expected("machine")
    if machine is not None and machine not in _MACHINES:
        raise RuntimeMissingError(
            f"The device {board.profile.name} is {machine}, for which {PACKAGE} has no wheel ({', '.join(_MACHINES)} "
            "only), so that nothing there would run the binary network; drop the pass 'binarize', or measure locally."
        )
