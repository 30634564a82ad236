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

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConversionError
from ..flatbuffer import Model, Subgraph, read_model
from .cell_states import widened_cell_states

_THREADS = 4  # of TensorFlow's calibrator: the default size of its Eigen thread pool
_ORIGINAL_ONLY = frozenset(
    {"CALL", "CALL_ONCE", "IF", "WHILE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "LSTM", "SVDF", "RNN"}
)
_LSTM_INPUTS = 24
_ROUNDING = 1e-2  # far above what sums in another order differ by, far below what a wrong kernel does
Sample = dict[str, object]


@dataclass
class Calibration:
    """Which engine measured the ranges.

    ``fast``: this module, with TensorFlow's result; ``exact``: this module, where TensorFlow's kernels compute wrongly
    with several threads; ``tflite``: TensorFlow's own. `content` is the float file, once it is known.
    """

    engine: str = "tflite"
    content: bytes | None = None


@contextmanager
def faster_calibration() -> Iterator[Calibration]:
    """Let the converter calibrate through this module for as long as the context lasts."""
    from tensorflow.lite.python.optimize import calibrator

    outcome = Calibration()
    original = calibrator.Calibrator

    class FastCalibrator(original):  # type: ignore[misc, valid-type]
        """TensorFlow's calibrator with its loop over the samples replaced."""

        def calibrate(self, dataset_gen: Callable[[], Iterable[Sample]]) -> bytes:
            samples = iter(dataset_gen())
            first = next(samples, None)
            outcome.content = content = bytes(self._model_content)
            if first is None or not _supported(read_model(content)):
                measured = super().calibrate(lambda: chain([first] if first is not None else [], samples))
                return widened_cell_states(bytes(measured))
            exact = RangeMeter(content, exact=True)
            exact.feed(first)
            ranges = RangeMeter(content)
            if not ranges.agrees(exact, first):
                outcome.engine = "exact"
                for sample in samples:
                    exact.feed(sample)
                return exact.annotated()
            if not ranges.equals(bytes(super().calibrate(lambda: [first]))):
                return bytes(original(content).calibrate(lambda: chain([first], samples)))
            outcome.engine = "fast"
            for sample in samples:
                ranges.feed(sample)
            return ranges.annotated()

    calibrator.Calibrator = FastCalibrator
    try:
        yield outcome
    finally:
        calibrator.Calibrator = original


def _supported(model: Model) -> bool:
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


class RangeMeter:
    """Minimum and maximum of every float activation of a .tflite file, over the samples fed so far."""

    def __init__(self, content: bytes, *, exact: bool = False) -> None:
        """Prepare to run the float file `content` (one subgraph).

        Args:
            content: The file.
            exact: Take the ranges of the tensors as one thread computes them, without TensorFlow's two traits.
        """
        self._content = content
        graph = read_model(content).main
        self._names = [tensor.name for tensor in graph.tensors]
        self._tensors = _float_activations(graph)
        self._interpreter = _interpreter(content, keep_all=True, threads=1 if exact else _THREADS)
        self._runner_inputs = self._interpreter.get_signature_runner().get_input_details()
        self._views = [self._interpreter.tensor(index) for index in self._tensors]
        self.low: npt.NDArray[np.float32] = np.full(len(self._tensors), np.inf, dtype=np.float32)
        self.high: npt.NDArray[np.float32] = -self.low
        self._in_place = [] if exact else _in_place_pairs(content, graph, self._tensors)

    def feed(self, sample: Sample) -> None:
        """Run one sample, given by signature input name.

        Raises:
            ConversionError: An activation is NaN or infinite; its tensor is named.
        """
        for name, value in sample.items():
            self._interpreter.set_tensor(self._runner_inputs[name]["index"], value)
        self._interpreter.invoke()
        low = np.array([view().min(initial=np.inf) for view in self._views], dtype=np.float32)
        high = np.array([view().max(initial=-np.inf) for view in self._views], dtype=np.float32)
        bad = np.flatnonzero(np.isnan(low) | np.isnan(high) | np.isposinf(high) | np.isneginf(low))
        if bad.size:
            name = self._names[self._tensors[bad[0]]]
            raise ConversionError(
                f"The float model itself gives NaN or infinity in {name!r} on a calibration sample; "
                "check the model and the data's scaling."
            )
        for source, target in self._in_place:
            low[source] = min(low[source], low[target])
            high[source] = max(high[source], high[target])
        np.minimum(self.low, low, out=self.low)
        np.maximum(self.high, high, out=self.high)

    def agrees(self, exact: RangeMeter, first: Sample) -> bool:
        """Feed the first sample, and say whether its ranges are those of the exact meter up to float rounding."""
        try:
            self.feed(first)
        except ConversionError:  # the exact meter would have raised it as well
            return False
        widened = [source for source, _ in self._in_place]
        return all(
            np.allclose(np.delete(ours, widened), np.delete(theirs, widened), rtol=_ROUNDING, atol=_ROUNDING)
            for ours, theirs in ((self.low, exact.low), (self.high, exact.high))
        )

    def equals(self, annotated: bytes) -> bool:
        """Say whether the ranges that TensorFlow's calibrator wrote into a file are these, bit for bit."""
        tensors = _tree(annotated).subgraphs[0].tensors
        ours = dict(zip(self._tensors, zip(self.low.tolist(), self.high.tolist(), strict=True), strict=True))
        theirs = {
            index: (float(np.float32(tensor.quantization.min[0])), float(np.float32(tensor.quantization.max[0])))
            for index, tensor in enumerate(tensors)
            if tensor.quantization is not None and tensor.quantization.min is not None and len(tensor.quantization.min)
        }
        return ours == theirs

    def annotated(self) -> bytes:
        """Return the file with the ranges written where the quantiser looks for them."""
        from ai_edge_litert import schema_py_generated as schema
        from tensorflow.lite.tools import flatbuffer_utils

        tree = _tree(self._content)
        for index, low, high in zip(self._tensors, self.low, self.high, strict=True):
            tensor = tree.subgraphs[0].tensors[index]
            if tensor.quantization is None:
                tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.min = np.array([low], dtype=np.float32)
            tensor.quantization.max = np.array([high], dtype=np.float32)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _float_activations(graph: Subgraph) -> list[int]:
    touched = {index for operator in graph.operators for index in (*operator.inputs, *operator.outputs) if index >= 0}
    return [
        index
        for index in sorted(touched)
        if graph.tensors[index].dtype == "float32" and not graph.tensors[index].is_constant
    ]


def _interpreter(content: bytes, *, keep_all: bool, threads: int = _THREADS) -> Any:
    import warnings

    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its own move to another package
        interpreter = tf.lite.Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=keep_all,
        )
    interpreter.allocate_tensors()
    return interpreter


def _in_place_pairs(content: bytes, graph: Subgraph, tensors: list[int]) -> list[tuple[int, int]]:
    """Return (input, output) positions in `tensors` of operators that write over their own input."""
    interpreter = _interpreter(content, keep_all=False)
    address = {index: interpreter.tensor(index)().__array_interface__["data"][0] for index in tensors}
    position = {index: place for place, index in enumerate(tensors)}
    return [
        (position[source], position[target])
        for operator in graph.operators
        for source in operator.inputs
        for target in operator.outputs
        if source in address and target in address and source != target and address[source] == address[target]
    ]


def _tree(content: bytes) -> Any:
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
