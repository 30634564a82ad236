"""Hold a converted file against the model that it was made from, on samples, as part of the conversion."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..data.dataset import Array
from ..evaluation.fidelity import Fidelity, compare_outputs
from ..flatbuffer import read_model
from ..flatbuffer.specs import output_specs
from ..models.export.export import LeanModel
from .base import ConvertedFile
from .cause import find_cause
from .outputs import Samples, file_outputs, model_outputs

_SAMPLES = 50
_LEAST = 4
_VALUES = 1 << 25  # of all outputs of all samples together, so that pictures as outputs fit into memory


def compare_with_model(
    converted: ConvertedFile, lean: LeanModel, samples: Samples | None, held_back: Samples | None
) -> Fidelity:
    """Return how near the file's outputs are to the model's, and where they part if they are not near.

    The float file that was calibrated stands for the model where there is one, and else the model in TensorFlow.

    Args:
        converted: The file.
        lean: The exported model.
        samples: Input name -> samples that made the ranges; a part of them is run where none are held back.
        held_back: Input name -> samples that made none.

    Raises:
        RuntimeError: TensorFlow's interpreter cannot run the file; ValueError for the same, or without any samples.
    """
    given = held_back if held_back is not None else samples
    if given is None:
        raise ValueError("no samples")
    specs = output_specs(read_model(converted.model))
    chosen = _some(given, sum(math.prod(spec.shape) for spec in specs))
    floats = converted.float_model
    expected = model_outputs(lean, chosen) if floats is None else file_outputs(floats, chosen)
    got = file_outputs(converted.model, chosen)
    found = compare_outputs(expected, got, [spec.scale for spec in specs], held_back=held_back is not None)
    if found.holds or floats is None:
        return found
    return replace(found, cause=find_cause(floats, converted.model, chosen, found, lean.layer_names))


def _some(samples: Samples, elements: int) -> dict[str, Array]:
    """Return at most 50 of the samples, spread over all, and fewer where the outputs are large."""
    count = len(next(iter(samples.values())))
    most = min(count, _SAMPLES, max(_LEAST, _VALUES // max(1, elements)))
    rows = np.linspace(0, count - 1, most).round().astype(np.int64)
    return {name: np.asarray(array[rows]) for name, array in samples.items()}
