"""The ranges of a float file's activations, measured over samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConversionError
from ..flatbuffer import Subgraph, read_model
from .clipping import Range, least_error, percentile
from .histograms import Histogram, Histograms
from .outputs import interpreter_of
from .requantise import COPYING

_THREADS = 4  # of TensorFlow's calibrator: the default size of its Eigen thread pool
_ROUNDING = 1e-2  # far above what sums in another order differ by, far below what a wrong kernel does
Sample = dict[str, object]
Floats = npt.NDArray[np.float32]
Ranges = tuple[Floats, Floats]

METHODS: dict[str, Callable[[Histogram, Range], Range]] = {
    "percentile": partial(percentile, percent=0.01),
    "mse": least_error,
}
# Operators whose result has its operand's scale: what one of them clips, the other does.
_SAME_SCALE = frozenset(
    {
        *COPYING,
        "AVERAGE_POOL_2D",
        "BATCH_TO_SPACE_ND",
        "CONCATENATION",
        "DYNAMIC_UPDATE_SLICE",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MINIMUM",
        "MIRROR_PAD",
        "PACK",
        "PAD",
        "PADV2",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "SELECT",
        "SELECT_V2",
        "SPACE_TO_BATCH_ND",
        "SPLIT",
        "SPLIT_V",
        "TOPK_V2",
        "UNPACK",
    }
)


class _Run:
    """An interpreter that keeps all tensors, and views of those that are measured."""

    def __init__(self, content: bytes, tensors: list[int], threads: int) -> None:
        self._interpreter = interpreter_of(content, keep_all=True, threads=threads)
        self._inputs = self._interpreter.get_signature_runner().get_input_details()
        self.views = [self._interpreter.tensor(index) for index in tensors]

    def on(self, sample: Sample) -> None:
        for name, value in sample.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], value)
        self._interpreter.invoke()


class RangeMeter:
    """Minimum and maximum of every float activation of a .tflite file, over the samples fed so far.

    Two interpreters take turns: while one computes a sample, what the other has computed is looked at.
    """

    def __init__(
        self, content: bytes, *, exact: bool = False, values: int = 0, floors: Mapping[int, float] | None = None
    ) -> None:
        """Prepare to run the float file `content` (one subgraph).

        Args:
            content: The file.
            exact: Take the ranges of the tensors as one thread computes them, without TensorFlow's two traits.
            values: How many values of a tensor are counted in each sample, for other ranges than minimum and maximum;
                0 for none.
            floors: Tensor index -> where its range is to end at the low side, at the lowest.
        """
        self._floors = floors or {}
        self._content = content
        graph = read_model(content).main
        self._names = [tensor.name for tensor in graph.tensors]
        self._tensors = _float_activations(graph)
        self._threads = 1 if exact else _THREADS
        self._run = _Run(content, self._tensors, self._threads)
        self._looked: Future[None] | None = None
        self._low: npt.NDArray[np.float32] = np.full(len(self._tensors), np.inf, dtype=np.float32)
        # TensorFlow's calibrator starts there, too: the least positive float, which its author may have taken for -inf.
        self._high: npt.NDArray[np.float32] = np.full(len(self._tensors), np.finfo(np.float32).tiny, dtype=np.float32)
        self._free = ~np.isin(self._tensors, list(_tied_to_ends(graph)))
        self._histograms = Histograms([view().size for view in self._run.views], values) if values else None
        self._in_place = [] if exact else _in_place_pairs(content, graph, self._tensors)

    def feed(self, sample: Sample) -> None:
        """Run one sample, given by signature input name.

        Raises:
            ConversionError: An activation was NaN or infinite in the sample before; its tensor is named.
        """
        if self._looked is not None:
            self._run, self._other = self._other, self._run
        self._run.on(sample)
        self._settle()
        self._looked = self._worker.submit(self._look, self._run.views)

    @cached_property
    def _other(self) -> _Run:
        return _Run(self._content, self._tensors, self._threads)

    @cached_property
    def _worker(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1)

    @cached_property
    def _known(self) -> dict[int, tuple[np.float32, np.float32]]:
        """The ranges that a repair has written, by index of the tensor."""
        return {index: found for index, found in _written(self._content).items() if index in self._tensors}

    def _settle(self) -> None:
        """Wait until the last sample has been looked at; raises what `feed` does."""
        looked, self._looked = self._looked, None
        if looked is not None:
            looked.result()

    def _look(self, views: list[Any]) -> None:
        low = np.array([view().min(initial=np.inf) for view in views], dtype=np.float32)
        high = np.array([view().max(initial=-np.inf) for view in views], dtype=np.float32)
        bad = np.flatnonzero(np.isnan(low) | np.isnan(high) | np.isposinf(high) | np.isneginf(low))
        if bad.size:
            name = self._names[self._tensors[bad[0]]]
            raise ConversionError(
                f"The float model itself gives NaN or infinity in {name!r} on a calibration sample; "
                "check the model and the data's scaling."
            )
        if self._histograms is not None:
            self._histograms.add((view() for view in views), low, high)
        for source, target in self._in_place:
            low[source] = min(low[source], low[target])
            high[source] = max(high[source], high[target])
        np.minimum(self._low, low, out=self._low)
        np.maximum(self._high, high, out=self._high)

    def agrees(self, exact: RangeMeter, first: Sample) -> bool:
        """Feed the first sample, and say whether its ranges are those of the exact meter up to float rounding."""
        try:
            self.feed(first)
            self._settle()
        except ConversionError:  # the exact meter would have raised it as well
            return False
        widened = [source for source, _ in self._in_place]
        return all(
            np.allclose(np.delete(ours, widened), np.delete(theirs, widened), rtol=_ROUNDING, atol=_ROUNDING)
            for ours, theirs in zip(self._extremes(), exact._extremes(), strict=True)
        )

    def equals(self, annotated: bytes) -> bool:
        """Say whether the ranges that TensorFlow's calibrator wrote into a file are these, bit for bit."""
        tensors = _tree(annotated).subgraphs[0].tensors
        low, high = self._extremes()
        ours = dict(zip(self._tensors, zip(low.tolist(), high.tolist(), strict=True), strict=True))
        theirs = {
            index: (float(np.float32(tensor.quantization.min[0])), float(np.float32(tensor.quantization.max[0])))
            for index, tensor in enumerate(tensors)
            if tensor.quantization is not None and tensor.quantization.min is not None and len(tensor.quantization.min)
        }
        return ours == theirs

    def _extremes(self) -> Ranges:
        self._settle()
        return self._low, self._high

    def ranges(self, method: str) -> Ranges:
        """Return the least and the greatest value of each tensor that its steps are to span.

        Args:
            method: ``minmax``, or one of `METHODS` for what is inside the graph; its inputs and outputs stay whole.

        Raises:
            ConversionError: An activation was NaN or infinite in the last sample; its tensor is named.
        """
        low, high = (values.copy() for values in self._extremes())
        if method != "minmax" and self._histograms is not None:
            for place in np.flatnonzero(self._free):
                extremes = float(low[place]), float(high[place])
                low[place], high[place] = METHODS[method](self._histograms.of(int(place)), extremes)
        for index, (least, greatest) in self._known.items():
            place = self._tensors.index(index)
            low[place], high[place] = least, greatest
        for index, floor in self._floors.items():
            place = self._tensors.index(index)
            low[place] = max(low[place], np.float32(floor))
        return low, high

    def all_ranges(self) -> dict[str, Ranges]:
        """Return the ranges by every method that there are values for."""
        return {method: self.ranges(method) for method in ("minmax", *(METHODS if self._histograms else ()))}

    def annotated(self, ranges: Ranges | None = None) -> bytes:
        """Return the file with ranges written where the quantiser looks for them.

        Args:
            ranges: As `ranges` gives them; minimum and maximum by default.
        """
        from ai_edge_litert import schema_py_generated as schema
        from tensorflow.lite.tools import flatbuffer_utils

        tree = _tree(self._content)
        for index, low, high in zip(self._tensors, *(ranges or self.ranges("minmax")), strict=True):
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


def _tied_to_ends(graph: Subgraph) -> set[int]:
    """Return the graph's inputs and outputs, and what has their scale because it is only moved or chosen from."""
    tied, before = {*graph.inputs, *graph.outputs}, 0
    while len(tied) > before:
        before = len(tied)
        for operator in graph.operators:
            around = {*operator.inputs, *operator.outputs}
            if operator.name in _SAME_SCALE and around & tied:
                tied |= around
    return tied


def _in_place_pairs(content: bytes, graph: Subgraph, tensors: list[int]) -> list[tuple[int, int]]:
    """Return (input, output) positions in `tensors` of operators that write over their own input."""
    interpreter = interpreter_of(content, delegates=False, threads=_THREADS)
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


def _written(content: bytes) -> dict[int, tuple[np.float32, np.float32]]:
    """Return the ranges that a repair has written into a float file, by index of the tensor."""
    return {
        index: (np.float32(tensor.quantization.min[0]), np.float32(tensor.quantization.max[0]))
        for index, tensor in enumerate(_tree(content).subgraphs[0].tensors)
        if tensor.quantization is not None and tensor.quantization.min is not None and len(tensor.quantization.min) == 1
    }
