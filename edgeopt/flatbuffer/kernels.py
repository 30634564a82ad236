"""The kernels in a .tflite file, and which layer each of them came from."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .layer_names import paths_in
from .model import Model, Operator, Subgraph, Tensor

# Operator -> inputs that may be kernels, and the axes of the output channels as the file lays them out.
_KERNELS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "CONV_2D": ((1,), (0,)),
    "CONV_3D": ((1,), (-1,)),
    "DEPTHWISE_CONV_2D": ((1,), (-1,)),
    "FULLY_CONNECTED": ((1,), (0,)),
    "TRANSPOSE_CONV": ((1,), (0,)),
    "BATCH_MATMUL": ((0, 1), ()),
    "GATHER": ((0,), ()),
    "EMBEDDING_LOOKUP": ((1,), ()),
}
_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_LSTM_GROUPS = ((1, 2, 3, 4), (5, 6, 7, 8))  # the four gates' kernels and recurrent kernels
_GATES = (4, 3)
_PASSED_THROUGH = ("DEQUANTIZE", "DENSIFY")
_INDEX_TYPES = ("int32", "int64", "bool", "string")


@dataclass(frozen=True, eq=False)
class FileKernel:
    """One kernel of a file.

    Attributes:
        names: The names of the tensors that hold it and of those that its operators write.
        size: Number of weights.
        parts: The stored values less their zero points; the gates of a fused LSTM are several.
        channel_axes: Axes of the output channels; empty when not known.
        per_channel: One scale a channel.
        unstored_zeros: Zeros of a sparse tensor that the file leaves out.
    """

    names: tuple[str, ...]
    size: int
    parts: tuple[npt.NDArray[Any], ...]
    channel_axes: tuple[int, ...]
    per_channel: bool
    unstored_zeros: int

    @property
    def segments(self) -> frozenset[str]:
        """The parts of the names, which are paths of the layers that were fused; the last part is the operation."""
        paths = [path for name in self.names for path in paths_in(name)]
        return frozenset(part for path in paths for part in (path[:-1] or path))

    @property
    def hides_zero(self) -> bool:
        """Whether zero is a value of the kernel that is stored nowhere."""
        return self.unstored_zeros > 0 and not any(np.any(part == 0) for part in self.parts)


def file_kernels(model: Model) -> list[FileKernel]:
    """Return the kernels of all subgraphs, in the order of their first use; one that is used twice comes once."""
    found: list[FileKernel] = []
    for subgraph in model.subgraphs:
        producers = {output: operator for operator in subgraph.operators for output in operator.outputs}
        users: dict[tuple[int, ...], list[Operator]] = defaultdict(list)
        axes: dict[tuple[int, ...], tuple[int, ...]] = {}
        for operator in subgraph.operators:
            for tensors, channel_axes in _weights(subgraph, operator, producers):
                users[tensors].append(operator)
                axes.setdefault(tensors, channel_axes)
        found += [_kernel(subgraph, tensors, using, axes[tensors]) for tensors, using in users.items()]
    return found


def join_gates(kernels: Sequence[FileKernel], sizes: Mapping[str, int]) -> list[FileKernel]:
    """Put the gates of a recurrent kernel together, where the file has them as kernels of their own.

    Unrolled recurrent layers multiply by one gate's weights at a time: three (GRU) or four (LSTM) kernels of one size,
    named after the layer. Where input and recurrent kernel have the same size they cannot be told apart, and stay.
    """
    joined = list(kernels)
    for name, size in sizes.items():
        named = [kernel for kernel in joined if any(fits(kernel, name) for fits in _RULES)]
        if any(kernel.size == size for kernel in named):
            continue
        for gates in _GATES:
            parts = [kernel for kernel in named if kernel.size * gates == size]
            if len(parts) == gates:
                joined[joined.index(parts[0])] = _joined(parts)
                joined = [kernel for kernel in joined if kernel not in parts]
    return joined


def _joined(parts: Sequence[FileKernel]) -> FileKernel:
    return FileKernel(
        names=tuple(name for part in parts for name in part.names),
        size=sum(part.size for part in parts),
        parts=tuple(array for part in parts for array in part.parts),
        channel_axes=parts[0].channel_axes,
        per_channel=True,  # each gate has scales of its own
        unstored_zeros=sum(part.unstored_zeros for part in parts),
    )


def assign(kernels: Sequence[FileKernel], sizes: Mapping[str, int]) -> list[str]:
    """Return a name for each kernel: one of `sizes` (layer, or layer/weight, -> number of weights), or its tensor's.

    Names are given first where a tensor's name holds that of the layer; then among what is left, kernel by kernel of
    one size in the order of both, where there are equally many.
    """
    # To Keras 3, "dense_1" is the first call of the layer "dense", to tf_keras the layer "dense_1": what names more
    # kernels is right.
    plain, numbered = (_by_name(kernels, sizes, (_is_inside, *rules)) for rules in (_RULES, _RULES[::-1]))
    chosen = plain if len(plain) >= len(numbered) else numbered
    left = {name: size for name, size in sizes.items() if name not in chosen.values()}
    for size in set(left.values()):
        ours = [index for index, kernel in enumerate(kernels) if index not in chosen and kernel.size == size]
        theirs = [name for name, other in left.items() if other == size]
        if len(ours) == len(theirs):
            chosen.update(zip(ours, theirs, strict=True))
    return _unique([chosen.get(index, kernel.names[0]) for index, kernel in enumerate(kernels)])


def _by_name(
    kernels: Sequence[FileKernel], sizes: Mapping[str, int], rules: Sequence[Callable[[FileKernel, str], bool]]
) -> dict[int, str]:
    chosen: dict[int, str] = {}
    left = set(sizes)
    for fits in rules:
        fitting = {
            index: [name for name, size in sizes.items() if size == kernel.size and fits(kernel, name)]
            for index, kernel in enumerate(kernels)
        }
        # Fused operators carry the names of several layers: the kernels that fit one name only choose first.
        while fitting:
            fitting = {index: [name for name in names if name in left] for index, names in fitting.items()}
            fitting = {index: names for index, names in fitting.items() if names and index not in chosen}
            if fitting:
                index = min(fitting, key=lambda index: len(fitting[index]))
                chosen[index] = fitting[index][0]
                left.discard(chosen[index])
    return chosen


def _is_inside(kernel: FileKernel, name: str) -> bool:
    """Whether a tensor's name holds the path of a layer inside a layer: ``attention/query`` of the kernel there."""
    layers = name.split("/")[:-1]
    return len(layers) > 1 and any("/".join(layers) in path for path in kernel.names)


def _is_named(kernel: FileKernel, name: str) -> bool:
    layer = name.split("/")[0]
    return bool(kernel.segments & {layer, f"quant_{layer}"})


def _is_numbered(kernel: FileKernel, name: str) -> bool:
    """Keras 3 numbers the calls of a layer in its tensors' names, and the converter the tensors."""
    pattern = re.compile(rf"(?:quant_)?{re.escape(name.split('/')[0])}_?\d+")
    return any(pattern.fullmatch(segment) for segment in kernel.segments)


_RULES = (_is_named, _is_numbered)


def _unique(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = defaultdict(int)
    result = []
    for name in names:
        result.append(f"{name}#{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return result


def _weights(
    subgraph: Subgraph, operator: Operator, producers: Mapping[int, Operator]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the constant tensors that an operator takes as kernels, with the axes of their output channels."""
    if operator.name == _LSTM:
        groups = [operator.inputs[group[0] : group[-1] + 1] for group in _LSTM_GROUPS]
        present = [tuple(index for index in group if index >= 0) for group in groups]
        return [(group, (0,)) for group in present if group and all(subgraph.tensors[i].is_constant for i in group)]
    inputs, axes = _KERNELS.get(operator.name, ((), ()))
    found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for place in inputs:
        index = operator.inputs[place] if place < len(operator.inputs) else -1
        # Upwards only: a damaged file may have an operator that reads what it writes.
        above = operator.index
        while index in producers and producers[index].name in _PASSED_THROUGH and producers[index].index < above:
            above, index = producers[index].index, next(iter(producers[index].inputs), -1)
        if index >= 0 and _is_kernel(subgraph.tensors[index]):
            found.append(((index,), axes))
    return found


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.is_constant and len(tensor.shape) >= 2 and tensor.dtype not in _INDEX_TYPES


def _kernel(
    subgraph: Subgraph, indices: tuple[int, ...], users: Sequence[Operator], axes: tuple[int, ...]
) -> FileKernel:
    tensors = [subgraph.tensors[index] for index in indices]
    parts = [_values(tensor) for tensor in tensors]
    size = sum(tensor.elements for tensor in tensors)
    outputs = [subgraph.tensors[operator.outputs[0]].name for operator in users if operator.outputs]
    sparse = any(tensor.sparse for tensor in tensors)
    return FileKernel(
        names=(*(tensor.name for tensor in tensors), *outputs),
        size=size,
        parts=tuple(parts),
        channel_axes=() if sparse else axes,
        per_channel=any(tensor.quantization is not None and tensor.quantization.per_channel for tensor in tensors),
        unstored_zeros=max(size - sum(part.size for part in parts), 0) if sparse else 0,
    )


def _values(tensor: Tensor) -> npt.NDArray[Any]:
    """Return the stored values less their zero point, so that zero is zero; those of a sparse tensor as a vector."""
    values: npt.NDArray[Any] | None = tensor.data()
    if values is None:
        raw = np.zeros(0, np.uint8) if tensor.raw is None else tensor.raw
        values = raw.view({"float32": "<f4", "float16": "<f2"}.get(tensor.dtype, "i1"))
    if tensor.quantization is None or not np.any(tensor.quantization.zero_points):
        return values
    points = tensor.quantization.zero_points
    shape = [1] * values.ndim
    if points.size > 1 and not tensor.sparse:
        shape[tensor.quantization.axis] = points.size
        points = points.reshape(shape)
    shifted: npt.NDArray[np.int64] = values.astype(np.int64) - (points if points.ndim > 1 else points[0])
    return shifted
