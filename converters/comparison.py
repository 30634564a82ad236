"""Hold a converted file against the model that it was made from, on samples, as part of the conversion."""

from __future__ import annotations

from dataclasses import replace

from ..evaluation.fidelity import Fidelity
from ..models.export.export import LeanModel
from .base import ConvertedFile
from .cause import find_cause
from .outputs import Samples, model_outputs
from .reference import Run, compared, some_samples


def compare_with_model(
    converted: ConvertedFile,
    lean: LeanModel,
    samples: Samples | None,
    held_back: Samples | None,
    run: Run | None = None,
) -> Fidelity:
    """Return how near the file's outputs are to the model's, and where they part if they are not near.

    The float file that was calibrated stands for the model where there is one, and else the model in TensorFlow.

    Args:
        converted: The file.
        lean: The exported model.
        samples: Input name -> samples that made the ranges; a part of them is run where none are held back.
        held_back: Input name -> samples that made none.
        run: Gives the outputs by name where not the file itself is held against the model, but what was made of it.

    Raises:
        RuntimeError: TensorFlow's interpreter cannot run the file; ValueError for the same, or without any samples.
    """
    reference = converted.reference
    if reference is None or converted.calibrated_model is None:
        chosen = some_samples(converted.model, samples, held_back)
        return compared(model_outputs(lean, chosen), converted.model, chosen, held_back is not None, run)
    found = reference.fidelity_of(converted.model, run)
    if found.holds or found.still:
        return found
    cause = find_cause(converted.calibrated_model, converted.model, reference.samples, found, lean.layer_names)
    return replace(found, cause=cause)
