"""Finished steps of a recovery, kept in a folder for one that is interrupted.

A step is found again by what it was made from: the same files, samples and method give the same bytes, so what is found
is what would be computed.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..._version import __version__
from ...artifact.atomic import write_atomically
from ..outputs import Samples

_NAME = "recover-{}.npz"


@dataclass(frozen=True)
class Step:
    """A method that was tried.

    Attributes:
        method: ``equalise``, ``bias``, ``rounding`` or ``ranges``.
        kept: Whether held-back samples are the better for it; the file stays as it was otherwise.
        layers: How many layers it changed; pairs of layers, or ranges.
        snr_db: Signal to noise of the held-back samples' results (scores before a softmax) after it.
        gain_db: How many dB more than before, in the mean over the samples.
        noise_db: The standard error of that.
    """

    method: str
    kept: bool
    layers: int
    snr_db: float
    gain_db: float
    noise_db: float


@dataclass(frozen=True)
class State:
    """The int8 file, and the float file whose layers give what its layers are to give."""

    file: bytes = field(repr=False)
    calibrated: bytes = field(repr=False)


class KeptSteps:
    """The steps in a folder, which is made for the first; none where there is no folder."""

    def __init__(self, folder: Path | None, model: bytes, groups: Sequence[Sequence[Samples]]) -> None:
        """Prepare.

        Args:
            folder: The folder; None for none.
            model: What results are to be near.
            groups: The samples that fit, and those that judge.
        """
        self._folder, self._given = folder, hashlib.sha256()
        if folder is None:
            return
        self._given.update(f"{__version__} {[len(part) for part in groups]}".encode() + model)
        for group in (group for part in groups for group in part):
            for name, values in sorted(group.items()):
                self._given.update(f"{name} {values.dtype} {values.shape}".encode() + values.tobytes())

    def find(self, method: str, state: State) -> tuple[Step, State] | None:
        """Return a step that was taken from the same state, and the state after it; None where there is none."""
        if self._folder is None:
            return None
        with suppress(OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            with np.load(self._path(method, state), allow_pickle=False) as read:
                step = Step(**json.loads(read["step"].tobytes()))
                after = State(read["made"].tobytes(), read["calibrated"].tobytes())
            return step, after if step.kept else state
        return None

    def put(self, step: Step, before: State, after: State) -> None:
        """Keep a step; of one that changed nothing, only that.

        Raises:
            OutputError: The file system refused.
        """
        if self._folder is None:
            return
        after = after if step.kept else State(b"", b"")
        packed = io.BytesIO()
        parts = {"step": json.dumps(asdict(step)).encode(), "made": after.file, "calibrated": after.calibrated}
        np.savez(packed, **{name: np.frombuffer(part, np.uint8) for name, part in parts.items()})
        self._folder.mkdir(exist_ok=True)
        write_atomically(self._path(step.method, before), packed.getvalue())

    def _path(self, method: str, state: State) -> Path:
        digest = self._given.copy()
        for part in (method.encode(), state.file, state.calibrated):
            digest.update(hashlib.sha256(part).digest())
        return (self._folder or Path()) / _NAME.format(digest.hexdigest()[:32])


def forget_steps(folder: Path) -> None:
    """Delete what `KeptSteps` left in a folder, and the folder if nothing else is in it."""
    for path in folder.glob(_NAME.format("*")):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
