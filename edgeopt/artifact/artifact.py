"""An artifact: a .tflite file and the sidecar that says what it is and how it came to be."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from ..errors import BudgetError, FileFormatError, OutputError, UsageError
from ..evaluation.fidelity import Fidelity
from .atomic import refuse_to_overwrite, write_together
from .contract import Back, Contract, Front
from .envelope import as_text, envelope
from .outside import loads, read_text
from .shown import Shown
from .snippet import inference_snippet
from .typed import Unfit, fitted


class _Calibration(TypedDict, total=False):
    hashes: list[str]


class _Images(TypedDict, total=False):
    size: list[int] | None
    scaling: str
    resize: str
    classes: list[str] | None


class _Recipe(TypedDict, total=False):
    image_size: list[int] | None
    image_scaling: str
    image_resize: str
    min_fidelity: float | None


class _Selective(TypedDict, total=False):
    goal: str
    reached: bool


class _Compiled(TypedDict, total=False):
    path: str
    delegate: str | None


class _Sidecar(TypedDict, total=False):
    """What edgeopt itself reads of a sidecar; the rest is for people."""

    sha256: str | None
    size_bytes: int
    warnings: list[str]
    fully_int8: bool
    calibration: _Calibration | None
    images: _Images | None
    recipe: _Recipe | None
    ops: dict[str, int]
    fidelity: dict[str, object] | None
    selective: _Selective | None
    compiled: _Compiled | None
    front: Front | None
    back: Back | None


@dataclass(frozen=True, repr=False)
class Artifact(Shown):
    """A converted model: its bytes, and its sidecar (what ``OUT.json`` holds beside ``OUT.tflite``).

    Attributes:
        model: The .tflite file's bytes.
        sidecar: Everything that is known about it; the fields are those of ``edgeopt convert --json``.

    Example:
        >>> artifact = edgeopt.convert(model, calibration=images)
        >>> artifact.save("model_int8.tflite")
    """

    model: bytes
    sidecar: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        found = self.fidelity
        return {
            "quantize": self.quantize,
            "size_bytes": self.size_bytes,
            "fully_int8": self.fully_int8,
            "fidelity_db": None if found is None else found.snr_db,
            "warnings": len(self.warnings) or None,
        }

    @property
    def quantize(self) -> str | None:
        """What it was quantised to, such as ``int8``; None where no sidecar tells."""
        found: str | None = self.sidecar.get("quantize")
        return found

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.model).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return len(self.model)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was done another way than asked, or looks odd."""
        return tuple(self.sidecar.get("warnings", ()))

    @property
    def fully_int8(self) -> bool:
        """Whether no float tensor is left and inputs and outputs have 8 bits."""
        return bool(self.sidecar.get("fully_int8", False))

    @property
    def contract(self) -> Contract:
        """How the model's own inputs and outputs become the file's."""
        return Contract.of(self.sidecar)

    @property
    def fidelity(self) -> Fidelity | None:
        """How near the file's outputs are to the model's; None where that was not measured."""
        found = self.sidecar.get("fidelity")
        return None if found is None else Fidelity.from_dict(found)

    def raise_for_fidelity(self) -> None:
        """Do nothing when the file keeps what the recipe's `min_fidelity` or `max_drop` promises, or it has neither.

        Raises:
            BudgetError: An output has a lower signal-to-noise ratio, or was not compared with the model's; or no
                operators left float kept the drop.
        """
        selective = self.sidecar.get("selective")
        if (self.sidecar.get("recipe") or {}).get("max_drop") is not None and not (selective or {}).get("reached"):
            goal = (selective or {}).get("goal", "max_drop")
            raise BudgetError(f"The goal was missed: {goal}; relax it, or train with quantisation in mind (pass qat).")
        promised = (self.sidecar.get("recipe") or {}).get("min_fidelity")
        if promised is None:
            return
        found = self.fidelity
        if found is None:
            raise BudgetError("min_fidelity cannot be judged: no samples were compared; give calibration data.")
        if found.snr_db < promised:
            worst = min(found.outputs, key=lambda output: output.snr_db)
            remedy = "relax the limit, or give more calibration samples" if found.cause is None else found.cause.remedy
            raise BudgetError(
                f"Output {worst.name!r} has {worst.snr_db:.1f} dB of signal to noise on {found.samples} samples; "
                f"min_fidelity asks for {promised:g}: {remedy}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the sidecar in the JSON envelope; the verdict is that of `Fidelity`."""
        found = self.fidelity
        return envelope("convert", "ok" if found is None else found.verdict, self.sidecar)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write ``PATH`` and the sidecar beside it (``OUT.json`` for ``OUT.tflite``), both or none of them.

        Raises:
            OutputError: One of the two exists and `force` is not set, or cannot be written.
        """
        target = Path(path)
        check_output(target, force)
        payload = self.saved_as(target)
        text = as_text(payload)
        # The sidecar first: a .tflite file is never there without the evidence for it, nor the other way round.
        write_together([(sidecar_path(target), text.encode()), (target, self.model)])
        return target

    def saved_as(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Return what the sidecar of a file saved at `path` says, its snippet included."""
        known = all(name in self.sidecar for name in ("inputs", "outputs"))
        snippet = {"snippet": self.snippet(path)} if known else {}
        return {**self.to_dict(), "artifact": str(path), **snippet}

    def snippet(self, path: str | os.PathLike[str]) -> str:
        """Return the lines of Python that run the file saved at `path`, or what was compiled of it for a delegate."""
        compiled = self.sidecar.get("compiled")
        if compiled is None or compiled.get("delegate") is None:
            return inference_snippet(Path(path).name, self.sidecar)
        return inference_snippet(Path(compiled["path"]).name, self.sidecar, delegate=compiled["delegate"])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Artifact:
        """Read a .tflite file and, if there is one, the sidecar beside it.

        Raises:
            UsageError: The file cannot be read.
            FileFormatError: The sidecar is not one that edgeopt wrote, or belongs to another file.
        """
        target = Path(path)
        try:
            model = target.read_bytes()
        except OSError as error:
            raise UsageError(f"Cannot read {target}: {error.strerror}; expected a .tflite file.") from error
        return cls.beside(target, model)

    @classmethod
    def beside(cls, path: str | os.PathLike[str], model: bytes) -> Artifact:
        """Return the file `model` that was read from `path`, with the sidecar beside it if there is one.

        Raises:
            FileFormatError: The sidecar is not one that edgeopt wrote, or belongs to another file.
        """
        side = sidecar_path(path)
        if not side.is_file():
            return cls(model)
        try:
            found = loads(read_text(side))
        except (OSError, ValueError) as error:
            raise FileFormatError(
                f"The sidecar {side} is not readable JSON ({error}); remove it or convert again."
            ) from error
        if not _is_ours(found):
            return cls(model)
        try:
            sidecar = fitted(_Sidecar, found, "sidecar")
            if (held := sidecar.get("fidelity")) is not None:
                Fidelity.from_dict(held)
        except Unfit as error:
            raise FileFormatError(
                f"The sidecar {side} is not as edgeopt writes it ({error}); remove it or convert again."
            ) from error
        stated = sidecar.get("sha256")
        if stated is not None and stated != hashlib.sha256(model).hexdigest():
            raise FileFormatError(
                f"The sidecar {side} belongs to another file than {path}; remove it or convert again."
            )
        return cls(model, sidecar)


def _is_ours(found: Any) -> bool:
    """Whether JSON that lies beside a file is a sidecar, and not something of the user's."""
    tool = found.get("tool") if isinstance(found, dict) else None
    return isinstance(tool, dict) and tool.get("name") == "edgeopt"


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Return where the sidecar of `path` lies: the same name with the suffix .json."""
    return Path(path).with_suffix(".json")


def check_output(path: str | os.PathLike[str], force: bool) -> None:
    """Raise unless an artifact can be written to `path`. A sidecar whose file is gone is no obstacle.

    Raises:
        OutputError: The file or its sidecar exists and `force` is not set, or the folder cannot be written.
    """
    target = Path(path)
    if target.suffix == ".json":
        raise OutputError(f"{target} is the name of a sidecar; expected a file name that ends in .tflite.")
    refuse_to_overwrite(target, force)
    refuse_to_overwrite(sidecar_path(target), force or (not target.exists() and _is_left(sidecar_path(target))))


def _is_left(side: Path) -> bool:
    """Whether a file is a sidecar of edgeopt's (and not something of the user's)."""
    try:
        return _is_ours(loads(read_text(side)))
    except (OSError, ValueError):
        return False
