"""How many bytes of parameters the chip stores for each operator, and whether they fit.

The Edge TPU keeps weights in blocks for its 64 columns of multipliers. Read off the parameter streams of compiled
models (by finding each layer's weights in them) and of LibrEdgeTPU's notes on Dense layers:

* the outputs of a convolution or Dense layer are padded to a multiple of 16 up to 64, to a multiple of 64 beyond;
* its input channels are padded to a multiple of 4;
* each output carries 4 bytes (the bias), or 8 where weights have one scale a channel (bias and scale);
* a depthwise convolution is stored as 4x4 blocks with only the diagonal in use: 4 bytes a weight, and 4 bytes a
  channel, or 16 where weights have one scale a channel;
* a softmax takes tables of 48 bytes a class;
* a split along the channels takes a matrix of 64 bytes for each piece that does not start on a multiple of 4;
* an LSTM is unrolled: its gates once, and a matrix that picks the step out of the input for each time step.

Everything is aligned to 64 bytes. On the compiled models of google-coral/test_data the sums are exact for uint8
convolutions, and within 7 % everywhere (`benchmarks/edgetpu_mapping.py` prints each).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from ...flatbuffer import Model, Subgraph
from .context import EIGHT_BITS, OpContext
from .rules import Memory

ALIGNMENT = 64
_COLUMNS, _LANES, _DEPTH = 64, 16, 4
_SOFTMAX_BYTES_PER_CLASS = 48


@dataclass(frozen=True)
class LayerBytes:
    """The stored parameters of one operator."""

    index: int
    op: str
    name: str
    stored_bytes: int
    cached: bool

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return dict(vars(self))


@dataclass(frozen=True)
class Fit:
    """How the parameters share the chip's memory.

    Attributes:
        layers: Those with parameters, in execution order.
        capacity_bytes: The room that was assumed.
        doubtful: Their sum lies where logs show some models fit and some not (it depends on the activations).
    """

    layers: tuple[LayerBytes, ...]
    capacity_bytes: int
    doubtful: bool

    @property
    def cached_bytes(self) -> int:
        """What stays on the chip."""
        return sum(layer.stored_bytes for layer in self.layers if layer.cached)

    @property
    def streamed_bytes(self) -> int:
        """What is sent with every inference."""
        return sum(layer.stored_bytes for layer in self.layers if not layer.cached)

    def advice(self) -> str:
        """Return what would end streaming, or "" where nothing is streamed.

        With a fraction f of the channels removed everywhere, a convolution keeps (1 - f)^2 of its weights, for it
        loses them at both ends: ``f = 1 - sqrt(capacity / stored)``.
        """
        if not self.streamed_bytes:
            return ""
        total = self.cached_bytes + self.streamed_bytes
        fraction = 1 - math.sqrt(self.capacity_bytes / total)
        largest = max(self.layers, key=lambda layer: layer.stored_bytes)
        layer = f"operator {largest.index} ({largest.op} {largest.name!r}, {largest.stored_bytes:,} B)"
        return (
            f"{self.streamed_bytes:,} B of parameters do not fit on the chip and are sent with every inference; remove "
            f"about {math.ceil(fraction * 100)} % of the channels, or shrink the largest layer, {layer}, "
            "or compile with --num-segments 2 for two chips"
        )


def fit(model: Model, mapped: Collection[int], memory: Memory) -> Fit:
    """Return how the parameters of the `mapped` operators share the chip's memory.

    Layers are cached in execution order while there is room; one that finds too little is streamed as a whole.
    """
    found: list[LayerBytes] = []
    room = memory.capacity_bytes
    pieces = split_pieces(model.main)
    for operator in model.main.operators:
        if operator.index not in mapped:
            continue
        context = OpContext(model.main, operator)
        size = stored_bytes(context, pieces)
        if size:
            output = context.output()
            cached = size <= room
            room -= size if cached else 0
            found.append(LayerBytes(operator.index, operator.name, "" if output is None else output.name, size, cached))
    total = sum(layer.stored_bytes for layer in found)
    doubtful = memory.doubtful_above_bytes < total <= memory.capacity_bytes
    return Fit(tuple(found), memory.capacity_bytes, doubtful)


@dataclass(frozen=True)
class SplitPieces:
    """Outputs of splits along the channels that do not start on a multiple of 4.

    Attributes:
        alone: Tensors that some other operator than a concatenation reads, or none at all.
        joined: Tensors that go into concatenations only.
    """

    alone: frozenset[int] = frozenset()
    joined: frozenset[int] = frozenset()


def split_pieces(graph: Subgraph) -> SplitPieces:
    """Return the pieces that the chip must pick out of a split tensor with a matrix."""
    splits = [OpContext(graph, operator) for operator in graph.operators if operator.name == "SPLIT"]
    pieces = {piece for split in splits for piece in _unaligned(split)}
    if not pieces:
        return SplitPieces()
    others = {i for operator in graph.operators if operator.name != "CONCATENATION" for i in operator.inputs}
    joined = {i for operator in graph.operators if operator.name == "CONCATENATION" for i in operator.inputs}
    together = frozenset(pieces & joined - others)
    return SplitPieces(frozenset(pieces) - together, together)


def stored_bytes(context: OpContext, pieces: SplitPieces | None = None) -> int:
    """Return the bytes that the chip stores for one operator, in blocks of 64.

    Args:
        context: The operator.
        pieces: As `split_pieces` returns them for its graph; None counts no matrices for splits.
    """
    name = context.operator.name
    if name in ("CONV_2D", "TRANSPOSE_CONV"):
        size = _convolution(context)
    elif name == "DEPTHWISE_CONV_2D":
        size = _depthwise(context)
    elif name == "FULLY_CONNECTED":
        shape = context.shape(1)
        size = _matrix(shape[0], 1, shape[1], _per_output(context)) if len(shape) == 2 else 0
    elif name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        size = _lstm(context)
    elif name in ("SPLIT", "CONCATENATION"):
        size = _constants(context) + ALIGNMENT * _selections(context, pieces or SplitPieces())
    elif name == "SOFTMAX":
        size = _SOFTMAX_BYTES_PER_CLASS * _up(context.shape()[-1], _DEPTH) if context.shape() else 0
    else:
        size = _constants(context)
    return _up(size, ALIGNMENT)


def _convolution(context: OpContext) -> int:
    shape = context.shape(1)
    if len(shape) != 4:
        return 0
    outputs, height, width, depth = shape
    return _matrix(outputs, height * width, depth, _per_output(context))


def _matrix(outputs: int, positions: int, depth: int, overhead: int) -> int:
    return _outputs(outputs) * (positions * _up(depth, _DEPTH) + overhead)


def _outputs(count: int) -> int:
    return _up(count, _LANES if count <= _COLUMNS else _COLUMNS)


def _per_output(context: OpContext) -> int:
    return 8 if _per_channel(context) else 4


def _per_channel(context: OpContext) -> bool:
    weights = context.input(1)
    return weights is not None and weights.quantization is not None and weights.quantization.per_channel


def _depthwise(context: OpContext) -> int:
    shape = context.shape(1)
    if len(shape) != 4:
        return 0
    _, height, width, channels = shape
    return _up(channels, _DEPTH) * (height * width * _DEPTH + (16 if _per_channel(context) else 4))


def _lstm(context: OpContext) -> int:
    inputs, recurrent = context.shape(1), context.shape(5)
    steps = context.shape()[:2]
    if len(inputs) != 2 or len(recurrent) != 2 or len(steps) != 2:
        return 0
    units = _outputs(inputs[0])
    gates = 4 * units * (4 + _up(inputs[1], _DEPTH) + _up(recurrent[1], _DEPTH))
    return gates + max(steps) * units * _up(inputs[1], _DEPTH)


def _selections(context: OpContext, pieces: SplitPieces) -> int:
    """Return how many matrices pick channels: one a piece, or one for all the pieces that a concatenation joins."""
    if context.operator.name == "SPLIT":
        return len(pieces.alone.intersection(context.operator.outputs))
    return 1 if pieces.joined.intersection(context.operator.inputs) else 0


def _unaligned(split: OpContext) -> list[int]:
    """Return the outputs of a split along the channels that do not start on a multiple of 4."""
    shape = split.shape(1)
    if split.axes(0, len(shape)) != (len(shape) - 1,):
        return []
    found, start = [], 0
    for index in split.operator.outputs:
        if start % _DEPTH:
            found.append(index)
        start += split.graph.tensors[index].shape[-1] if split.graph.tensors[index].shape else 0
    return found


def _constants(context: OpContext) -> int:
    """Return the constant 8-bit operands of the other operators (an addend, a factor, slopes)."""
    given = [context.input(position) for position in range(len(context.operator.inputs))]
    constants = [tensor for tensor in given if tensor is not None and tensor.is_constant]
    return sum(tensor.nbytes for tensor in constants if tensor.quantization is not None and tensor.dtype in EIGHT_BITS)


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
