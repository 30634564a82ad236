"""Which of two files gives samples outputs nearer to the float file's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.dataset import Array
from ...flatbuffer import read_model
from ...flatbuffer.model import Model, Tensor
from ..outputs import Samples, real_values
from ..range_choice import Candidate, Errors, compare, sample_errors
from ..tapped import Tapped

# What only presents a result: a score says more before a softmax, which hides all but the largest, than after it.
_PRESENTING = frozenset({"ARG_MAX", "CAST", "DEQUANTIZE", "LOGISTIC", "QUANTIZE", "RESHAPE", "SOFTMAX"})


class Judge:
    """Holds files against a float file on samples that fitted nothing."""

    def __init__(self, float_file: bytes, groups: Sequence[Samples]) -> None:
        """Run the float file; `groups` are the samples, as many in each as a file takes at a time."""
        self._groups = groups
        self._expected = _results(float_file, groups)

    def errors(self, file: bytes) -> Errors:
        """Return each group's squared error as a part of the signal, see `sample_errors`."""
        return sample_errors(self._expected, _results(file, self._groups))


def compared(before: Errors, after: Errors) -> tuple[Candidate, Candidate]:
    """Return what two files are worth, the gains being those over the first."""
    found = compare({"before": before, "after": after}, base="before")
    return found["before"], found["after"]


def improved(before: Candidate, after: Candidate) -> bool:
    """Return whether a file is better than the one before: by more than the standard error, and over all together."""
    return after.gain_db > after.noise_db and after.snr_db > before.snr_db


def _results(file: bytes, groups: Sequence[Samples]) -> dict[str, Array]:
    """Return the real values of each output, or of what it presents: (groups, ...)."""
    model = read_model(file)
    tensors = [_presented(model, index) for index in model.main.outputs]
    found: dict[int, list[Array]] = {tensor.index: [] for tensor in tensors}
    for values in Tapped(file, list(found)).each(groups):
        for index, stored in values.items():
            found[index].append(real_values(stored, model.main.tensors[index]))
    return {str(place): np.stack(found[tensor.index]) for place, tensor in enumerate(tensors)}


def _presented(model: Model, index: int) -> Tensor:
    graph = model.main
    makers = {output: operator for operator in graph.operators for output in operator.outputs}
    while index in makers and makers[index].name in _PRESENTING:
        given = graph.tensors[makers[index].inputs[0]]
        if given.is_constant:
            break
        index = given.index
    return graph.tensors[index]
