"""Hold a converted file against the model that it was made from, on samples, as part of the conversion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..data.dataset import Array
from ..evaluation.fidelity import Fidelity, compare_outputs
from ..flatbuffer import read_model
from ..flatbuffer.specs import output_specs
from ..models.export.export import LeanModel
from .base import ConvertedFile
from .cause import find_cause
from .outputs import Samples, file_outputs, model_outputs

Run = Callable[[Samples], dict[str, Array]]
_SAMPLES = 50
_LEAST = 4
_VALUES = 1 << 25  # of all outputs of all samples together, so that pictures as outputs fit into memory


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
    floats = converted.float_model
    if floats is None:
        chosen = _some(converted.model, samples, held_back)
        return _compared(model_outputs(lean, chosen), converted.model, chosen, held_back is not None, run)
    reference = Reference(floats, samples, held_back)
    found = reference.fidelity_of(converted.model, run)
    if found.holds or found.still:
        return found
    return replace(found, cause=find_cause(floats, converted.model, reference.samples, found, lean.layer_names))


class Reference:
    """What a float file gives for samples, run once; the files made from it are held against that."""

    def __init__(self, float_file: bytes, samples: Samples | None, held_back: Samples | None) -> None:
        """Choose the samples; see `compare_with_model`."""
        self.samples = _some(float_file, samples, held_back)
        self.float_file, self.held_back = float_file, held_back is not None

    @cached_property
    def expected(self) -> dict[str, Array]:
        """Output name -> what the float file gives."""
        return file_outputs(self.float_file, self.samples)

    def fidelity_of(self, file: bytes, run: Run | None = None) -> Fidelity:
        """Return how near a file's outputs, or those that `run` gives, are to those of the float file."""
        return _compared(self.expected, file, self.samples, self.held_back, run)


def _compared(
    expected: Mapping[str, Array], file: bytes, chosen: Samples, held_back: bool, run: Run | None
) -> Fidelity:
    scales = [spec.scale for spec in output_specs(read_model(file))]
    got = file_outputs(file, chosen) if run is None else run(chosen)
    return compare_outputs(expected, got, scales, held_back=held_back)


def _some(file: bytes, samples: Samples | None, held_back: Samples | None) -> dict[str, Array]:
    """Return at most 50 samples, held back where there are such, spread over all; fewer where the outputs are large."""
    given = held_back if held_back is not None else samples
    if given is None:
        raise ValueError("no samples")
    elements = sum(math.prod(spec.shape) for spec in output_specs(read_model(file)))
    count = len(next(iter(given.values())))
    most = min(count, _SAMPLES, max(_LEAST, _VALUES // max(1, elements)))
    rows = np.linspace(0, count - 1, most).round().astype(np.int64)
    return {name: np.asarray(array[rows]) for name, array in given.items()}
