"""What a float file gives for samples: what the files that are made from it are held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from ..data.dataset import Array
from ..evaluation.fidelity import Fidelity, compare_outputs
from ..flatbuffer import read_model
from ..flatbuffer.specs import output_specs
from .outputs import Samples, count_of, file_outputs, spread

Run = Callable[[Samples], dict[str, Array]]
SAMPLES = 50
_LEAST = 4
_VALUES = 1 << 25  # of all outputs of all samples together, so that pictures as outputs fit into memory


class Reference:
    """What a float file gives for samples, run once; the files made from it are held against that."""

    def __init__(self, float_file: bytes, samples: Samples, *, held_back: bool) -> None:
        """Take the samples, or the first of them where the outputs are large.

        Args:
            float_file: A float .tflite file with the model's names.
            samples: Input name -> samples.
            held_back: Whether they made no ranges.
        """
        most = most_samples(float_file)
        self.samples = {name: np.asarray(array[:most]) for name, array in samples.items()}
        self.float_file, self.held_back = float_file, held_back

    @cached_property
    def expected(self) -> dict[str, Array]:
        """Output name -> what the float file gives."""
        return file_outputs(self.float_file, self.samples)

    def fidelity_of(self, file: bytes, run: Run | None = None) -> Fidelity:
        """Return how near a file's outputs, or those that `run` gives, are to those of the float file."""
        return compared(self.expected, file, self.samples, self.held_back, run)


def compared(expected: Mapping[str, Array], file: bytes, chosen: Samples, held_back: bool, run: Run | None) -> Fidelity:
    """Return how near a file's outputs for samples, or those that `run` gives, are to the expected ones."""
    scales = [spec.scale for spec in output_specs(read_model(file))]
    got = file_outputs(file, chosen) if run is None else run(chosen)
    return compare_outputs(expected, got, scales, held_back=held_back)


def some_samples(file: bytes, samples: Samples | None, held_back: Samples | None) -> dict[str, Array]:
    """Return at most 50 samples, held back where there are such, spread over all; fewer where the outputs are large."""
    given = held_back if held_back is not None else samples
    if given is None:
        raise ValueError("no samples")
    rows = spread(count_of(given), most_samples(file))
    return {name: np.asarray(array[rows]) for name, array in given.items()}


def most_samples(file: bytes) -> int:
    """Return on how many samples files are held against one another: 50, fewer where the outputs are large."""
    elements = sum(math.prod(spec.shape) for spec in output_specs(read_model(file)))
    return min(SAMPLES, max(_LEAST, _VALUES // max(1, elements)))
