"""What a run offers to its trainings and passes, and what a pass leaves as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ..errors import UsageError
from .distillation import Distillation

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PassContext:
    """What a run offers to its passes; each pass names the fields that it cannot do without in `Pass.needs`.

    Attributes:
        train: Training data, of any kind that `edgeopt.data.load_dataset` takes, or a `keras.utils.PyDataset`.
        validation: Held-out data of the same kinds.
        loss: A Keras loss, its name, or a callable ``(labels, outputs) -> scalar``; None means the compiled loss.
        seed: Seeds everything random in a pass.
        finetune: Trains a model for a while and returns it: what an iterative pass calls between its steps.
        convert: Turns a Keras model into the bytes of the .tflite file that is to be deployed.
        predict: Runs samples, by input name, through the bytes of a .tflite file; returns each output's real values.
        measure: Runs the bytes of a .tflite file on the target device and returns its latency in milliseconds.
        progress: Called with one line of text at each step that takes a while.
        advance: Called with what runs, how far it is and of how many, at each step that does not take long.
        distillation: A `Distillation`: the teacher that every training of the run listens to.
        checkpoints: A folder; each training of the run writes its state there after every epoch, under the pass's
            name, and goes on from what it finds there.
        callbacks: The user's Keras callbacks, for each training of a model of their flavour.
        metrics: Names of Keras metrics that the history is to hold; None means accuracy, where the loss is of classes.
    """

    train: Any = None
    validation: Any = None
    loss: Any = None
    seed: int = 0
    finetune: Callable[[Any], Any] | None = None
    convert: Callable[[Any], bytes] | None = None
    predict: Callable[[bytes, Mapping[str, Array]], Sequence[Array]] | None = None
    measure: Callable[[bytes], float] | None = None
    progress: Callable[[str], None] = field(default=lambda _line: None)
    advance: Callable[[str, int, int | None], None] = field(default=lambda _what, _done, _total: None)
    distillation: Distillation | None = None
    checkpoints: Path | None = None
    callbacks: Sequence[Any] = ()
    metrics: Sequence[str] | None = None


@dataclass(frozen=True)
class Skipped:
    """Something that a pass left as it was.

    Attributes:
        subject: The layer or group of layers, by name.
        reason: A word from the pass's closed list.
        detail: The particulars, in words.
    """

    subject: str
    reason: str
    detail: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the entry as plain values."""
        return {"subject": self.subject, "reason": self.reason, "detail": self.detail}


def check_name(name: str) -> None:
    """Raise unless `name` can be the name of a file.

    Raises:
        UsageError: It is empty, or holds something else than letters, digits, ``_``, ``-`` and ``.``.
    """
    if not name or name.startswith(".") or not all(letter.isalnum() or letter in "_-." for letter in name):
        raise UsageError(f"Received {name!r} as a pass's name; expected letters, digits, '_', '-' and '.'.")
