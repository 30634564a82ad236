"""The operators of an int8 file whose weights and biases can be put right, each with its twin in the float file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.dataset import Array
from ...flatbuffer.model import Model, Operator, Quantization, Subgraph, Tensor

# Type of stored weights -> their greatest integer, on a grid that is symmetric.
MOST = {"int8": 127, "int4": 7}
KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_WEIGHTS, _BIAS = 1, 2
_ROUNDED = 2.0  # steps: more than rounding, to whichever side, takes weights away
_ACTIVATIONS: dict[object, tuple[float, float]] = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """An operator with int8 or int4 weights, and the float operator that it was made from.

    A result is a row of what the operator reads times its weights: rows are (n, K) and weights (K, channels), or, of a
    depthwise convolution, rows (n, K, channels), each channel being multiplied with its own.

    Attributes:
        operator: In the int8 file.
        graph: That file's.
        twin: In the float file.
        float_graph: That file's.
    """

    operator: Operator
    graph: Subgraph
    twin: Operator
    float_graph: Subgraph

    @property
    def depthwise(self) -> bool:
        """Whether each channel has rows of its own."""
        return self.operator.name == "DEPTHWISE_CONV_2D"

    @property
    def input(self) -> Tensor:
        """What the int8 operator reads."""
        return self.graph.tensors[self.operator.inputs[0]]

    @property
    def weights(self) -> Tensor:
        """Its weights."""
        return self.graph.tensors[self.operator.inputs[_WEIGHTS]]

    @property
    def bias(self) -> Tensor | None:
        """Its bias; None for none."""
        index = self.operator.inputs[_BIAS] if len(self.operator.inputs) > _BIAS else -1
        return None if index < 0 else self.graph.tensors[index]

    @property
    def output(self) -> Tensor:
        """What it gives."""
        return self.graph.tensors[self.operator.outputs[0]]

    @cached_property
    def integers(self) -> Integers:
        """The stored weights, (K, channels)."""
        return self.as_matrix(_constant(self.weights)).astype(np.int64)

    @property
    def most(self) -> int:
        """The greatest integer that its weights may be."""
        return MOST[self.weights.dtype]

    @cached_property
    def steps(self) -> Reals:
        """The scale of each channel's weights, (channels,)."""
        scales = _quantization(self.weights).scales.astype(np.float64)
        return np.broadcast_to(scales, self.integers.shape[1:])

    @cached_property
    def real_weights(self) -> Reals:
        """The float file's weights, (K, channels)."""
        tensor = self.float_graph.tensors[self.twin.inputs[_WEIGHTS]]
        return self.as_matrix(_constant(tensor)).astype(np.float64)

    @cached_property
    def real_bias(self) -> Reals:
        """The float file's bias, (channels,); zeros where it has none."""
        index = self.twin.inputs[_BIAS] if len(self.twin.inputs) > _BIAS else -1
        if index < 0:
            return np.zeros(self.integers.shape[1])
        return _constant(self.float_graph.tensors[index]).astype(np.float64)

    @cached_property
    def bias_step(self) -> Reals:
        """The scale of each bias, (channels,)."""
        return self.steps * float(_quantization(self.input).scales[0])

    @cached_property
    def stored_bias(self) -> Reals:
        """The bias of the int8 file in real values, (channels,)."""
        return np.zeros(len(self.steps)) if self.bias is None else _constant(self.bias) * self.bias_step

    def activation(self, values: Array) -> Array:
        """Return values as the operator's activation lets them through."""
        return np.clip(values, *_ACTIVATIONS[self.operator.options.get("fused_activation_function", "NONE")])

    def as_matrix(self, weights: Array) -> Array:
        """Return weights as they lie in the file as (K, channels)."""
        if self.depthwise:
            return weights.reshape(-1, weights.shape[-1])
        return weights.reshape(len(weights), -1).T

    def as_stored(self, matrix: Array) -> Array:
        """Return (K, channels) as weights lie in the file."""
        return (matrix if self.depthwise else matrix.T).reshape(self.weights.shape)

    def places(self, count: int, rng: np.random.Generator) -> Integers:
        """Choose at most `count` places of the operator's result for a group of samples."""
        total = self.output.elements // self.output.shape[-1]
        return np.sort(rng.permutation(total)[:count])

    def float_rows(self, values: Array, places: Integers) -> Floats:
        """Return the rows of the float operator's input at some places of its result."""
        return self._rows(values, places, 0).astype(np.float32, copy=False)

    def rows(self, values: Array, places: Integers) -> Floats:
        """Return the rows of the int8 operator's input, in real values, at some places of its result."""
        found = _quantization(self.input)
        zero = int(found.zero_points[0])
        return np.asarray((self._rows(values, places, zero).astype(np.float32) - zero) * found.scales[0])

    def _rows(self, values: Array, places: Integers, zero: int) -> Array:
        if self.operator.name == "FULLY_CONNECTED":
            return values.reshape(-1, self.weights.shape[-1])[places]
        patches = self._patches(values, places, zero)
        if not self.depthwise:
            return patches.reshape(len(places), -1)
        # A channel that is read makes as many results as the multiplier says, one beside the other.
        return np.repeat(patches.reshape(len(places), -1, values.shape[-1]),
                         self.weights.shape[-1] // values.shape[-1], axis=2)  # fmt: skip

    def _patches(self, values: Array, places: Integers, zero: int) -> Array:
        """Return what a kernel covers at some places of the result: (n, height, width, channels)."""
        options, size, result = self.operator.options, self.weights.shape[1:3], self.output.shape
        strides = _number(options["stride_h"]), _number(options["stride_w"])
        dilation = _number(options["dilation_h_factor"]), _number(options["dilation_w_factor"])
        spans = [(n - 1) * d + 1 for n, d in zip(size, dilation, strict=True)]
        pads = [(0, 0)] * 4
        if options["padding"] == "SAME":
            for axis in (0, 1):
                lacking = max(0, (result[1 + axis] - 1) * strides[axis] + spans[axis] - values.shape[1 + axis])
                pads[1 + axis] = lacking // 2, lacking - lacking // 2
        padded = np.pad(values, pads, constant_values=zero)
        sample, row, column = np.unravel_index(places, result[:3])
        rows = (row * strides[0])[:, None] + np.arange(size[0]) * dilation[0]
        columns = (column * strides[1])[:, None] + np.arange(size[1]) * dilation[1]
        return np.asarray(padded[sample[:, None, None], rows[:, :, None], columns[:, None, :]])


def find_layers(model: Model, float_model: Model, *, but_first: bool = False) -> list[Layer]:
    """Return the layers of an int8 file that can be put right, in the order in which they are computed.

    Left out are weights that several operators share, groups of channels, what has no twin, and weights that are others
    than the twin's.

    Args:
        model: The int8 file.
        float_model: The float file that was calibrated.
        but_first: Leave out what reads an input of the file, too: where a picture's normalisation was folded into it,
            its float bias is that of the rounded weights.
    """
    graph, float_graph = model.main, float_model.main
    twins = {float_graph.tensors[item.outputs[0]].name: item for item in float_graph.operators if item.outputs}
    makers = {item.outputs[0]: item for item in twins.values()}
    # Outputs are called otherwise as long as a file has not the model's names.
    for ours, theirs in zip(graph.outputs, float_graph.outputs, strict=False):
        if theirs in makers:
            twins[graph.tensors[ours].name] = makers[theirs]
    readers = Counter(graph.tensors[index].buffer for item in graph.operators for index in item.inputs if index >= 0)
    found = []
    for operator in graph.operators:
        twin = twins.get(graph.tensors[operator.outputs[0]].name) if operator.name in KINDS else None
        if twin is None or twin.name != operator.name:
            continue
        layer = Layer(operator, graph, twin, float_graph)
        if but_first and twin.inputs[0] in float_graph.inputs:
            continue
        if readers[layer.weights.buffer] == 1 and _fits(layer):
            found.append(layer)
    return found


def _fits(layer: Layer) -> bool:
    twin_weights = layer.float_graph.tensors[layer.twin.inputs[_WEIGHTS]]
    dense = layer.operator.name == "FULLY_CONNECTED"
    checks: list[Callable[[], bool]] = [
        lambda: layer.weights.dtype in MOST and layer.input.dtype == "int8" and layer.output.dtype == "int8",
        lambda: layer.weights.data() is not None and layer.weights.quantization is not None,
        lambda: twin_weights.data() is not None and twin_weights.shape == layer.weights.shape,
        lambda: twin_weights.dtype == "float32" and layer.input.quantization is not None,
        lambda: not layer.input.is_constant and not layer.float_graph.tensors[layer.twin.inputs[0]].is_constant,
        lambda: layer.operator.options.get("fused_activation_function", "NONE") in _ACTIVATIONS,
        lambda: dense or layer.depthwise or layer.input.shape[-1] == layer.weights.shape[-1],
        lambda: layer.bias is None or (layer.bias.dtype == "int32" and layer.bias.data() is not None),
        lambda: bool(np.all(np.abs(layer.real_weights - layer.integers * layer.steps) <= _ROUNDED * layer.steps)),
    ]
    return all(check() for check in checks)


def _constant(tensor: Tensor) -> Array:
    data = tensor.data()
    if data is None:
        raise ValueError(f"{tensor.name} is not constant")
    return data


def _quantization(tensor: Tensor) -> Quantization:
    if tensor.quantization is None:
        raise ValueError(f"{tensor.name} is not quantised")
    return tensor.quantization


def _number(value: Any) -> int:
    return int(value)
