"""What no file could be made of, refused before there is any training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ModelError
from ...models.export.operators import lacking
from ...models.export.recurrent import MAX_UNROLLED_STEPS
from ...models.graph.read import Step
from ...models.graph.structure import flatten_structure, refs_in
from . import rules


class NoFileError(ModelError):
    """Some layers need operators that TFLite lacks.

    Args:
        lacking: Layer name -> why there can be no file with it.
    """

    def __init__(self, lacking: Mapping[str, str]) -> None:
        super().__init__(
            f"{'; '.join(lacking.values())}: no file could be made of what was trained; replace what is named with "
            "layers that TFLite knows, before any training."
        )
        self.lacking = dict(lacking)


def refuse_long_sequences(step: Step) -> None:
    """Refuse a recurrent layer whose sequences the conversion could neither loop over nor unroll.

    Args:
        step: The step of a layer that stays float.

    Raises:
        ModelError: It is recurrent and returns sequences, and of too many steps. (An unknown number may be stated for
            the conversion.)
    """
    layer = step.layer
    if not rules.is_recurrent(layer) or not getattr(layer, "return_sequences", False):
        return
    steps = refs_in(step.args)[0].shape[0 if getattr(layer, "time_major", False) else 1]
    if steps is not None and steps > MAX_UNROLLED_STEPS:
        raise ModelError(
            f"{type(layer).__name__} layer {step.name!r} returns sequences of {steps} time steps, and the file of a "
            f"QAT model needs it unrolled, which is done up to {MAX_UNROLLED_STEPS}; shorten the sequence, or convert "
            "the float model with quantize='dynamic'."
        )


def why_no_file(step: Step) -> str:
    """Return why no file could be made of a step that stays float; "" if none is known.

    Recurrent layers are not looked into: they convert, but for the last step of a ConvLSTM3D.
    """
    if step.layer is not None and rules.is_recurrent(step.layer):
        if step.kind == "ConvLSTM3D" and not step.layer.return_sequences:
            return f"{step.kind} layer {step.name!r} needs StridedSlice on 6 dimensions, which TFLite lacks"
        return ""
    found = lacking(step)
    kind = f"{step.kind} layer" if step.layer is not None else f"keras.ops.{step.operation}"
    return f"{kind} {step.name!r} needs {' and '.join(found)}, which TFLite lacks" if found else ""


def refuse_masks(step: Step, outputs: Any) -> None:
    """Refuse a layer that masks: the quantised layers behind it would not heed the mask.

    Args:
        step: The step of a layer that stays float.
        outputs: What it gave.

    Raises:
        ModelError: An output has a mask.
    """
    if any(getattr(tensor, "_keras_mask", None) is not None for tensor in flatten_structure(outputs)):
        raise ModelError(
            f"{type(step.layer).__name__} layer {step.name!r} gives a mask, which is not trained quantised; drop it "
            "(mask_zero, Masking) and handle the padding in the data, or convert the float model with calibration data."
        )
