"""Measure activation ranges several times faster than TensorFlow's calibrator does, with the same result to the bit.

TensorFlow's calibrator looks at each value of each operator's inputs, before and after it, and of its outputs, one by
one. Here the same float kernels run in an interpreter that keeps all tensors, and NumPy takes minimum and maximum once
a tensor. Two traits of the original are kept, so that the files are the same:

* it runs the kernels with four threads, whose sums differ from one thread's in the last bits;
* it looks at inputs *after* the operator, too. Where an operator works in place (an ADD over its own input's memory),
  the input's range then holds the output's values. Such pairs are found as they are: by equal addresses in an
  interpreter that shares memory.

With several threads, the float CONV_2D kernel reads memory that nobody wrote for some shapes (a ConvLSTM1D's). So the
first sample also runs with one thread, and where that differs by more than rounding, its exact ranges are taken.

Each conversion proves the sameness on its first sample; where it does not hold, or a model has what only the original
can do (several subgraphs, open dimensions, variables, LSTM intermediates, custom operators), the original runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from ..data.dataset import Array
from ..flatbuffer import Model, read_model
from .cell_states import widened_cell_states
from .range_meter import RangeMeter, Ranges, Sample
from .repairs.change import Change
from .repairs.editing import without_orphans
from .repairs.repairing import Repairing, repair

_ORIGINAL_ONLY = frozenset(
    {"CALL", "CALL_ONCE", "IF", "WHILE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "LSTM", "SVDF", "RNN"}
)
_LSTM_INPUTS = 24
_PROVING = 64  # samples that repairs are chosen and proven by, or one group of more


@dataclass
class Calibration:
    """What came of measuring the ranges.

    Attributes:
        engine: ``fast``: this module, with TensorFlow's result; ``exact``: this module, where TensorFlow's kernels
            compute wrongly with several threads; ``tflite``: TensorFlow's own.
        content: The float file, once it is known.
        changes: What was repaired in it before measuring.
        meter: What measured; None for TensorFlow's own.
        earlier: The ranges by each method after the first part of the samples, where that was asked for.
    """

    engine: str = "tflite"
    content: bytes | None = field(default=None, repr=False)
    changes: Sequence[Change] = ()
    meter: RangeMeter | None = None
    earlier: dict[str, Ranges] = field(default_factory=dict)


@contextmanager
def faster_calibration(
    values: int = 0, first_part: int = 0, repairs: Sequence[Repairing] = ()
) -> Iterator[Calibration]:
    """Let the converter calibrate through this module for as long as the context lasts.

    Args:
        values: See `RangeMeter`.
        first_part: After so many samples, the ranges are kept as `Calibration.earlier`; 0 for never.
        repairs: What is to be repaired in the float file first.
    """
    from tensorflow.lite.python.optimize import calibrator

    outcome = Calibration()
    original = calibrator.Calibrator

    def measured(meter: RangeMeter, others: Iterable[Sample]) -> bytes:
        for number, sample in enumerate(others, start=1):
            if number == first_part:
                outcome.earlier = meter.all_ranges()
            meter.feed(sample)
        outcome.meter = meter
        return meter.annotated()

    class FastCalibrator(original):  # type: ignore[misc, valid-type]
        """TensorFlow's calibrator with its loop over the samples replaced."""

        def calibrate(self, dataset_gen: Callable[[], Iterable[Sample]]) -> bytes:
            samples = iter(dataset_gen())
            first = next(samples, None)
            outcome.content = content = bytes(self._model_content)
            if first is None or not measurable(read_model(content)):
                found = super().calibrate(lambda: chain([first] if first is not None else [], samples))
                return widened_cell_states(bytes(found))
            floors: Mapping[int, float] = {}
            if repairs:
                groups = max(1, _PROVING // len(np.asarray(next(iter(first.values())))))
                some = [first, *islice(samples, groups - 1)]
                samples = chain(some[1:], samples)
                outcome.changes = repair(content, {name: _stacked(some, name) for name in first}, repairs)
                if outcome.changes:
                    content, floors = outcome.changes[-1].content, outcome.changes[-1].floors
            exact = RangeMeter(content, exact=True, values=values, floors=floors)
            exact.feed(first)
            ranges = RangeMeter(content, values=values, floors=floors)
            if not ranges.agrees(exact, first):
                outcome.engine = "exact"
                return measured(exact, samples)
            if not ranges.equals(bytes(original(content).calibrate(lambda: [first]))):
                return bytes(original(content).calibrate(lambda: chain([first], samples)))
            outcome.engine = "fast"
            return measured(ranges, samples)

        def calibrate_and_quantize(self, *settings: object, **named: object) -> bytes:
            """Quantise what was repaired; for 16 bits this follows `calibrate`."""
            if not outcome.changes:
                return bytes(super().calibrate_and_quantize(*settings, **named))
            content = without_orphans(outcome.changes[-1].content)
            return bytes(original(content).calibrate_and_quantize(*settings, **named))

    calibrator.Calibrator = FastCalibrator
    try:
        yield outcome
    finally:
        calibrator.Calibrator = original


def _stacked(samples: Iterable[Sample], name: str) -> Array:
    return np.concatenate([np.asarray(sample[name]) for sample in samples])


def measurable(model: Model) -> bool:
    """Say whether a file is one graph of fixed shapes without variables, loops and custom operators."""
    tensors = model.main.tensors
    if len(model.subgraphs) != 1 or any(
        tensor.is_variable or min(tensor.signature, default=0) < 0 for tensor in tensors
    ):
        return False
    return not any(
        operator.custom
        or operator.name in _ORIGINAL_ONLY
        or len(operator.inputs) >= _LSTM_INPUTS
        or operator.intermediates
        for operator in model.main.operators
    )
