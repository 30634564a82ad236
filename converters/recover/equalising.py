"""Cross-layer equalisation: channels between two layers scaled to spans that suit their one range.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1: what a layer
gives is multiplied channel by channel, and the weights that the next one has for that channel are divided. There, both
layers' weights have one scale, and a factor suits these two. Here the first layer has a scale for each of its channels,
so that its integers stay, and what suffers from one scale for all is the result between them: a channel is brought half
the way, in decibels, from its largest value to the end of the range. No factor is below 1, so the steps of the second
layer's weights become no coarser. RELU6 does not scale: channels that reach 6 stay, and no other is brought there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...devices.agent.arith import real_range
from ...flatbuffer import read_model
from ...flatbuffer.model import Subgraph
from ..outputs import Samples
from ..rewrite import packed, unpacked
from ..tapped import Tapped
from .editing import put_constant, put_scales, put_weights
from .layers import Layer, Reals, find_layers

# Give each channel by itself, and twice as much of twice as much.
_PASSING = frozenset({"PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D"})
_MOST, _PART = 64.0**2, 0.5
_CEILING = 6.0 * (1 - 1e-6)
_WEIGHTS, _BIAS = 1, 2
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Pair:
    """A layer and the only one that reads what it gives, perhaps behind pooling."""

    writer: Layer
    reader: Layer


def equalised(file: bytes, float_file: bytes, some: Sequence[Samples], *, but_first: bool) -> tuple[bytes, bytes, int]:
    """Return both files with channels scaled, and how many pairs of layers were.

    Args:
        file: The int8 file.
        float_file: The one that was calibrated; it gives what it gave.
        some: Groups of samples that show how far each channel reaches.
        but_first: See `find_layers`.
    """
    layers = find_layers(read_model(file), read_model(float_file), but_first=but_first)
    pairs = find_pairs(layers)
    if not pairs:
        return file, float_file, 0
    reach = _reach(float_file, pairs, some)
    tree, float_tree, count = unpacked(file), unpacked(float_file), 0
    weights: dict[int, Reals] = {}  # of the float file, as they are by now
    for pair in pairs:
        factors = scaling(pair.writer, *reach[pair.writer.twin.outputs[0]])
        if np.allclose(factors, 1):
            continue
        count += 1
        _give(tree, float_tree, pair.writer, factors, weights)
        _read(tree, float_tree, pair.reader, factors, weights)
    return packed(tree), packed(float_tree), count


def find_pairs(layers: Sequence[Layer]) -> list[Pair]:
    """Return the pairs, by their first layers' order; a depthwise reader has a scale a channel, see `even_channels`."""
    readers = {layer.operator.index: layer for layer in layers if not layer.depthwise}
    found = []
    for writer in layers:
        reader = readers.get(_reader(writer.graph, writer.operator.outputs[0]))
        channels = writer.output.shape[-1]
        if reader is not None and reader.weights.shape[-1] == channels == _scales(writer):
            found.append(Pair(writer, reader))
    return found


def _reader(graph: Subgraph, index: int) -> int:
    """Return the index of the only operator that reads a tensor, looked for behind what passes channels on; or -1."""
    while index not in graph.outputs:
        users = [operator for operator in graph.operators if index in operator.inputs]
        if len(users) != 1:
            break
        if users[0].name not in _PASSING:
            return users[0].index
        index = users[0].outputs[0]
    return -1


def _scales(layer: Layer) -> int:
    found = layer.weights.quantization
    return 0 if found is None else len(found.scales)


def _reach(float_file: bytes, pairs: Sequence[Pair], some: Sequence[Samples]) -> dict[int, tuple[Reals, Reals]]:
    """Return the least and the greatest value of each channel that the first layers give, by tensor; never past 0."""
    found = {pair.writer.twin.outputs[0]: (np.zeros(1), np.zeros(1)) for pair in pairs}
    for values in Tapped(float_file, list(found)).each(some):
        for tensor, value in values.items():
            each = value.reshape(-1, value.shape[-1])
            low, high = found[tensor]
            found[tensor] = np.minimum(low, each.min(axis=0)), np.maximum(high, each.max(axis=0))
    return found


def scaling(layer: Layer, low: Reals, high: Reals) -> Reals:
    """Return the factor of each channel that a layer gives, at least 1.

    Args:
        layer: The layer.
        low: The least value of each channel, at most 0.
        high: The greatest, at least 0.
    """
    tiny, output = np.finfo(np.float32).tiny, layer.output
    if output.quantization is None:
        return np.ones(len(low))
    scale, zero_point = float(output.quantization.scales[0]), int(output.quantization.zero_points[0])
    least, most = real_range(scale, zero_point, output.dtype)
    spans = np.maximum(high, -low)
    room = np.minimum(
        np.where(high > 0, most / np.maximum(high, tiny), np.inf),
        np.where(low < 0, least / np.minimum(low, -tiny), np.inf),
    )
    wanted = np.minimum(room, _MOST) ** _PART
    if layer.operator.options.get("fused_activation_function") == "RELU6":
        wanted = np.minimum(wanted, _CEILING / np.maximum(spans, tiny))
    return np.asarray(np.where(spans > 0, np.maximum(wanted, 1), 1.0))


def _give(tree: Any, float_tree: Any, layer: Layer, factors: Reals, weights: dict[int, Reals]) -> None:
    """Multiply what a layer gives: in the int8 file its scales, in the float file its weights and bias."""
    for place in (_WEIGHTS, _BIAS)[: 1 + (layer.bias is not None)]:
        tensor = tree.subgraphs[0].tensors[layer.operator.inputs[place]]
        stored = np.asarray(tree.buffers[tensor.buffer].data, np.uint8)
        scales = np.asarray(tensor.quantization.scale) * factors
        put_scales(put_constant(tree, layer.operator.index, place, stored), scales)
    _put_float(float_tree, layer, weights.get(layer.twin.index, layer.real_weights) * factors, weights)
    if layer.real_bias.any():
        put_constant(float_tree, layer.twin.index, _BIAS, (layer.real_bias * factors).astype(np.float32))


def _read(tree: Any, float_tree: Any, layer: Layer, factors: Reals, weights: dict[int, Reals]) -> None:
    """Divide the weights by which a layer reads, and round them anew on scales of their own."""
    made = layer.real_weights / np.tile(factors, len(layer.real_weights) // len(factors))[:, None]
    _put_float(float_tree, layer, made, weights)
    largest = np.abs(made).max(axis=0 if _scales(layer) > 1 else None)
    steps = np.where(largest > 0, largest / layer.most, layer.steps)
    integers = np.clip(np.rint(made / steps), -layer.most, layer.most).astype(np.int64)
    put_scales(put_weights(tree, layer, integers), steps[: _scales(layer)])
    if layer.bias is not None:
        bias_steps = steps * layer.bias_step / layer.steps
        stored = np.clip(np.rint(layer.stored_bias / bias_steps), -_LARGEST, _LARGEST).astype(np.int32)
        tensor = put_constant(tree, layer.operator.index, _BIAS, stored)
        put_scales(tensor, bias_steps[: len(tensor.quantization.scale)])


def _put_float(float_tree: Any, layer: Layer, made: Reals, weights: dict[int, Reals]) -> None:
    weights[layer.twin.index] = made
    put_constant(float_tree, layer.twin.index, _WEIGHTS, layer.as_stored(made).astype(np.float32))
