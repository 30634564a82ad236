"""What pruning and clustering win and later passes may lose: zeros and few distinct values, kernel by kernel.

A property is measured in a Keras model, and again in the integers of the file that came out of it; `check_kept` turns a
loss into an error. Quantisation by itself loses neither: a symmetric scale maps 0 to 0, equal weights of one channel to
equal integers. With one scale a channel, the same weight becomes other integers in other channels, so that distinct
values are counted within a channel there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PropertyLostError
from ..flatbuffer import read_model
from ..flatbuffer.kernels import FileKernel, assign, file_kernels, join_gates

_SPARSE_FROM = 0.1
_MOST_CLUSTERS = 256
_CHANCELESS = 16


@dataclass(frozen=True)
class WeightProperty:
    """Zeros and distinct values of one kernel.

    Attributes:
        size: Number of weights.
        zeros: How many of them are exactly zero.
        clusters: Distinct values in the whole kernel, zero included.
        channel_clusters: Distinct values in the output channel that has most of them.
        per_channel: Quantised with one scale a channel, so that `clusters` counts integers of different meaning.
    """

    size: int
    zeros: int
    clusters: int
    channel_clusters: int
    per_channel: bool = False

    @property
    def sparsity(self) -> float:
        """Fraction of the weights that are zero."""
        return self.zeros / self.size if self.size else 0.0

    @property
    def sparse(self) -> bool:
        """Whether so many weights are zero that a pass must have done it: a tenth or more."""
        return self.sparsity >= _SPARSE_FROM

    @property
    def clustered(self) -> bool:
        """Whether the values are so few that a pass must have done it.

        Of what is not zero (pruning alone leaves few values, too): 256 values at most, and each for two weights or
        more; of 16 or fewer values one that is there twice is enough, since of so few no two are equal by chance.
        """
        values, weights = self.clusters - (self.zeros > 0), self.size - self.zeros
        return values < weights and (
            values <= _CHANCELESS or (self.clusters <= _MOST_CLUSTERS and 2 * values <= weights)
        )

    def to_dict(self) -> dict[str, float | int | bool]:
        """Return the figures as JSON values."""
        return {"sparsity": self.sparsity, **vars(self)}


@dataclass(frozen=True)
class Kept:
    """What `check_kept` compared.

    Attributes:
        checked: Kernels whose property was found again.
        unmatched: Sparse or clustered kernels that are not among those measured afterwards.
    """

    checked: tuple[str, ...]
    unmatched: tuple[str, ...]


def measure_kernel(values: npt.NDArray[Any], channel_axes: tuple[int, ...] = (-1,)) -> WeightProperty:
    """Measure one kernel.

    Args:
        values: The weights, of any shape.
        channel_axes: The axes that count output channels; empty to count distinct values in the whole kernel only.

    Example:
        >>> measure_kernel(np.array([[0.0, 1.0], [0.0, 2.0]])).sparsity
        0.5
    """
    values = np.asarray(values)
    clusters = len(np.unique(values))
    channels = clusters
    if channel_axes and values.size:
        axes = [axis % values.ndim for axis in channel_axes]
        rows = np.moveaxis(values, axes, range(len(axes))).reshape(int(np.prod([values.shape[a] for a in axes])), -1)
        ordered = np.sort(rows, axis=1)
        channels = int(np.max(1 + np.count_nonzero(np.diff(ordered, axis=1), axis=1)))
    return WeightProperty(values.size, int(np.count_nonzero(values == 0)), clusters, channels)


def measure_model(model: Any) -> dict[str, WeightProperty]:
    """Measure every kernel of a Keras model of either flavour; nested models are entered.

    Returns:
        Layer name -> property, in the order of the model; layers with several kernels have ``layer/weight`` each.

    Example:
        >>> measure_model(pruned)["dense"].sparsity
        0.5
    """
    found: dict[str, WeightProperty] = {}
    for layer, prefix in _layers(model):
        kernels = kernels_of(layer)
        own = str(layer.name) if str(layer.name) not in found else f"{prefix}_{layer.name}"
        for weight, path, axes in kernels:
            key = own if len(kernels) == 1 else f"{own}/{path}"
            found[key] = measure_kernel(np.asarray(weight.numpy()), axes)
    return found


def measure_file(data: bytes, like: Mapping[str, WeightProperty] | None = None) -> dict[str, WeightProperty]:
    """Measure every kernel of a .tflite file, in the integers that it stores.

    A file names tensors, not layers. Kernels are matched to layers by the layer names inside the tensor names and by
    size; what is left over, by size and order.

    Args:
        data: The file.
        like: What `measure_model` found in the model that was converted; gives the names to match.

    Returns:
        A name of `like` (or, where none fits, the tensor's name) -> property.

    Raises:
        FileFormatError: The bytes are no .tflite file.
    """
    sizes = {name: item.size for name, item in (like or {}).items()}
    kernels = join_gates(file_kernels(read_model(data)), sizes)
    names = assign(kernels, sizes)
    return {name: _of_file(kernel) for name, kernel in zip(names, kernels, strict=True)}


def check_kept(
    before: Mapping[str, WeightProperty], after: Mapping[str, WeightProperty], *, what: str = "The exported file"
) -> Kept:
    """Raise unless every sparse kernel has kept its zeros, and every clustered one its few values.

    Args:
        before: What the pass left, from `measure_model`.
        after: What came out, from `measure_file` or `measure_model`.
        what: Names `after` in the message.

    Raises:
        PropertyLostError: The first kernel with fewer zeros, or more distinct values, is named.
    """
    checked, unmatched = [], []
    for name, old in before.items():
        if not (old.sparse or old.clustered):
            continue
        new = after.get(name)
        if new is None:
            unmatched.append(name)
            continue
        checked.append(name)
        if old.sparse and new.zeros < old.zeros:
            raise PropertyLostError(
                f"{what} has {new.zeros} zeros of {new.size} in {name!r}, the pruned model had {old.zeros}; "
                "train after pruning with what preserves sparsity (qat with preserve, cluster with preserve_sparsity)."
            )
        have, most = (new.channel_clusters, old.channel_clusters) if new.per_channel else (new.clusters, old.clusters)
        if old.clustered and have > most:
            where = "a channel of " if new.per_channel else ""
            raise PropertyLostError(
                f"{what} has {have} distinct values in {where}{name!r}, the clustered model had {most}; "
                "train after clustering with what preserves clusters (qat with preserve)."
            )
    return Kept(tuple(checked), tuple(unmatched))


def _of_file(kernel: FileKernel) -> WeightProperty:
    parts = [measure_kernel(part, kernel.channel_axes) for part in kernel.parts]
    return WeightProperty(
        size=kernel.size,
        # A sparse tensor stores what is not zero, and some zeros to fill its blocks.
        zeros=sum(part.zeros for part in parts) + kernel.unstored_zeros,
        clusters=len(np.unique(np.concatenate([part.ravel() for part in kernel.parts]))) + kernel.hides_zero,
        channel_clusters=max(part.channel_clusters for part in parts) + kernel.hides_zero,
        per_channel=kernel.per_channel,
    )


def _layers(model: Any, prefix: str = "") -> Iterator[tuple[Any, str]]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer, str(layer.name))
        else:
            yield layer, prefix


def kernels_of(layer: Any) -> list[tuple[Any, str, tuple[int, ...]]]:
    """Return the kernels of a layer: variable, its path inside the layer, and the axes of its output channels."""
    found = []
    for weight in layer.weights:
        path = str(getattr(weight, "path", weight.name)).split(":")[0]
        last = path.split("/")[-1]
        axes = _CHANNEL_AXES.get(last, ())
        local = "LocallyConnected" in type(layer).__name__ and last == "kernel"  # a list of weights, if it says so
        if last not in _CHANNEL_AXES or (len(weight.shape) < 2 and not local):
            continue
        if "DepthwiseConv" in type(layer).__name__:
            axes = (-2, -1)
        elif "Transpose" in type(layer).__name__:
            axes = (-2,)
        elif local:
            axes = ()
        elif len(weight.shape) == 3 and "Conv" not in type(layer).__name__:
            axes = ()  # attention's projections: heads and depths are not channels of the file's matrix
        own = path.split(f"{layer.name}/", 1)[-1]
        found.append((weight, own, axes))
    return found


_CHANNEL_AXES: dict[str, tuple[int, ...]] = {
    "kernel": (-1,),
    "pointwise_kernel": (-1,),
    "recurrent_kernel": (-1,),
    "depthwise_kernel": (-2, -1),
    "embeddings": (),
}
