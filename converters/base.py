"""What a converter is: the contract that every backend of `edgeopt.convert` fulfils."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..data.dataset import Array
from ..models.export.export import LeanModel
from ..recipes.convert import ConvertRecipe
from .reference import Reference


@dataclass(frozen=True)
class Repair:
    """A known cause of ruined integer files that was removed.

    Attributes:
        kind: ``joined``, ``picture``, ``norm``, ``square``, ``cast``, ``elu``, ``softplus``, ``exponential``, ``tanh``,
            ``channels``, ``mask``, ``hard-swish``, ``difference`` or ``select``.
        layers: The layers that it concerns, or names of tensors where these do not tell.
        detail: What was done, as a phrase.
    """

    kind: str
    layers: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class ConvertedFile:
    """A .tflite file and how it was made.

    Attributes:
        model: The file's bytes.
        flags: The converter's settings, by the names that its users know.
        seconds: How long each stage took.
        reference: What the float file gives that was calibrated, with the same inputs and outputs; None where nothing
            was calibrated.
        calibrated_model: That file as it was quantised: with its ranges, and with what was repaired in it.
        ranges: How the ranges were found, as `RangeChoice.to_dict` says; None where nothing was calibrated.
        ends: At which ends of the file (``input``, ``output``) operators stayed float.
        repairs: What was repaired before the ranges were measured.
        warnings: What integers leave little of.
    """

    model: bytes = field(repr=False)
    flags: Mapping[str, object]
    seconds: Mapping[str, float] = field(default_factory=dict)
    reference: Reference | None = field(default=None, repr=False)
    calibrated_model: bytes | None = field(default=None, repr=False)
    ranges: Mapping[str, object] | None = None
    ends: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    warnings: tuple[str, ...] = ()


class Converter(Protocol):
    """Turns a lean SavedModel into a .tflite file.

    The contract:

    * Inputs and outputs of the file have the names of `lean`, in its order, and so has the one signature.
    * Samples are bound by input name, each fed with the batch dimension of the file.
    * The same model, samples and recipe give the same bytes, in any process.
    * Nothing is trained, and nothing is written but temporary files.
    """

    @property
    def name(self) -> str:
        """How reports call the backend, with its version."""

    def convert(
        self,
        lean: LeanModel,
        recipe: ConvertRecipe,
        samples: Mapping[str, Array] | None,
        held_back: Mapping[str, Array] | None = None,
        on_sample: Callable[[int, int], None] | None = None,
    ) -> ConvertedFile:
        """Convert.

        Args:
            lean: The exported model.
            recipe: What is asked for.
            samples: Input name -> calibration samples of shape (samples, ...), when the recipe needs them and the
                model does not hold its ranges itself. All of them make the ranges.
            held_back: Other samples in the same form, to choose by; None where there are none.
            on_sample: Told, before each group of samples and after the last, how many of how many are through.

        Raises:
            ConversionError: The backend refuses the model; the operator and, where known, the layer are named.
        """
