"""The state of a training at the end of an epoch, in one file that is there whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artifact.atomic import write_atomically
from ..artifact.npz import read_npz
from ..devices.agent.npy import NotAnArray
from ..errors import FileFormatError, OutputError, UsageError

Array = npt.NDArray[Any]


@dataclass
class State:
    """What a training needs to go on.

    Attributes:
        epoch: Epochs that are done.
        model: The model's weights, in its order.
        optimizer: The optimiser's variables, in its order.
        history: Metric values of each epoch done.
        best: The weights of the best epoch so far, where there is an early stop.
        best_epoch: The number of that epoch, from 0; None where there is none.
        best_value: The metric of that epoch.
        wait: Epochs since then.
        stopped: Whether the training has ended before its last epoch.
    """

    epoch: int = 0
    model: Sequence[Array] = ()
    optimizer: Sequence[Array] = ()
    history: list[dict[str, float]] = field(default_factory=list)
    best: Sequence[Array] = ()
    best_epoch: int | None = None
    best_value: float | None = None
    wait: int = 0
    stopped: bool = False


_GROUPS = ("model", "optimizer", "best")
_FACTS = ("epoch", "history", "best_epoch", "best_value", "wait", "stopped")


@dataclass(frozen=True)
class Checkpoint:
    """One training's file.

    Attributes:
        path: Where it lies.
        purpose: A digest of all that the training depends on: a file of another purpose is refused, not used.
    """

    path: Path
    purpose: str

    def write(self, state: State) -> None:
        """Write the state, atomically.

        Raises:
            OutputError: The folder cannot be made, or the disk is full; the file of the epoch before is still there.
        """
        values = vars(state)
        arrays = {f"{group}_{index}": array for group in _GROUPS for index, array in enumerate(values[group])}
        counts = {group: len(values[group]) for group in _GROUPS}
        text = json.dumps({"purpose": self.purpose, "counts": counts, **{name: values[name] for name in _FACTS}})
        buffer = io.BytesIO()
        np.savez(buffer, facts=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the checkpoint folder {self.path.parent}: {error.strerror}.") from error
        try:
            write_atomically(self.path, buffer.getvalue())
        except OutputError as error:
            kept = "the checkpoint of the epoch before is still there" if self.path.exists() else "there is none yet"
            raise OutputError(f"The checkpoint could not be written ({kept}). {error}") from error

    def read(self) -> State | None:
        """Return the state, or None where there is no file.

        Raises:
            FileFormatError: The file is damaged.
            UsageError: It is the checkpoint of a training with other options, data or model.
        """
        if not self.path.is_file():
            return None
        try:
            arrays = read_npz(self.path)
            facts = json.loads(arrays["facts"].tobytes())
            groups = {
                group: [arrays[f"{group}_{index}"] for index in range(facts["counts"][group])] for group in _GROUPS
            }
        except (OSError, NotAnArray, ValueError, KeyError) as error:
            raise FileFormatError(
                f"The checkpoint {self.path} is damaged ({error}); delete it to start anew."
            ) from error
        if facts["purpose"] != self.purpose:
            raise UsageError(
                f"The checkpoint {self.path} is of a training with other options or another model; "
                "delete it, or use another folder."
            )
        values = {name: facts[name] for name in _FACTS}
        return State(model=groups["model"], optimizer=groups["optimizer"], best=groups["best"], **values)


def purpose_of(weights: Sequence[Any], facts: Mapping[str, object]) -> str:
    """Return the digest of a training's options and of the weights that it starts from."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for weight in weights:
        array = np.ascontiguousarray(weight)
        digest.update(str((array.dtype, array.shape)).encode() + array.tobytes())
    return digest.hexdigest()
