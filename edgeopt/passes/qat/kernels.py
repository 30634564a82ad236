"""The weights of one quantised layer: rounded to the grid of the file, zeros and clusters kept; imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from .ranges import LEVELS, marked, on_grid, scales, straight_through

# channel: a scale for each output channel, as the converter chooses by itself.
# tensor: one scale for all weights. shared: one scale before the BatchNormalization is folded in.
Grid = Literal["channel", "tensor", "shared"]

KERNELS = ("kernel", "depthwise_kernel")


def kernel_name(layer: Any) -> str:
    """Return the attribute that holds the layer's kernel."""
    return next(name for name in reversed(KERNELS) if hasattr(layer, name))


# Layers that become TFLite's convolution or fully connected operator, for which there are 4-bit weights.
_FEW_BITS = frozenset({"Conv1D", "Conv2D", "Dense"})


def bits_of(layer: Any, asked: int) -> int:
    """Return of how many bits the weights of a layer are to be, where so many were asked for."""
    return asked if type(layer).__name__ in _FEW_BITS else 8


def channel_axes(layer: Any) -> tuple[int, ...]:
    """Return the axes of the kernel that count output channels."""
    kind = type(layer).__name__
    if "Depthwise" in kind:
        return (-2, -1)
    return (-2,) if "Transpose" in kind else (-1,)


class Kernel:
    """The kernel of a layer that is trained quantised.

    Args:
        owner: The quantised layer, while it is built: the weights made here are its own.
        layer: The float layer, built.
        grid: Where its scales are.
        masked: Keep zeros zero: a mask of what is not zero.
        clusters: Number of distinct values to keep; 0 keeps none. The values are trained instead of the weights.
        factor: What each input channel is multiplied by: the file's weights take it in. A convolution's only.
        bits: Of a weight, a key of `LEVELS`.
    """

    def __init__(
        self,
        owner: Any,
        layer: Any,
        grid: Grid,
        *,
        masked: bool,
        clusters: int,
        factor: Sequence[float] | None = None,
        bits: int = 8,
    ) -> None:
        self.variable = getattr(layer, kernel_name(layer))
        self.grid, self.bits = grid, bits
        self.factor = None if factor is None else tf.reshape(tf.constant(factor, tf.float32), (1, 1, -1, 1))
        rank = len(self.variable.shape)
        self.kept = tuple(axis % rank for axis in channel_axes(layer))
        self.reduced = tuple(axis for axis in range(rank) if axis not in self.kept)
        shape = tuple(self.variable.shape)
        self.mask = owner.add_weight("mask", shape, initializer="ones", trainable=False) if masked else None
        self.centroids = owner.add_weight("centroids", (clusters,), initializer="zeros") if clusters else None
        self.indices = (
            owner.add_weight("indices", shape, dtype="int32", initializer="zeros", trainable=False)
            if clusters
            else None
        )

    def remember(self) -> None:
        """Take the mask and the clusters from the weights as they are now."""
        values = self.variable.numpy()
        if self.mask is not None:
            self.mask.assign((values != 0).astype("float32"))
        if self.centroids is not None and self.indices is not None:
            distinct, indices = np.unique(values, return_inverse=True)
            self.centroids.assign(distinct)
            self.indices.assign(indices.reshape(values.shape).astype("int32"))

    def value(self) -> Any:
        """The float weights, with zeros and clusters as they are to stay."""
        kernel = self.variable
        if self.centroids is not None:
            kernel = tf.gather(self.centroids, self.indices)
        return kernel if self.mask is None else kernel * self.mask

    def numpy(self) -> npt.NDArray[Any]:
        """Return `value` as an array."""
        return np.asarray(self.value())

    def trained(self, gain: Any = None) -> Any:
        """The weights for a training step: rounded, with the gradient of the float weights.

        Args:
            gain: What a BatchNormalization that is folded in later multiplies each output channel by.
        """
        if self.factor is not None:
            return self._trained(self.value() * self.factor, gain) / self.factor
        return self._trained(self.value(), gain)

    def _trained(self, kernel: Any, gain: Any) -> Any:
        if self.grid == "channel":
            return straight_through(kernel, on_grid(kernel, self.reduced, self.bits))
        everything = range(len(kernel.shape))
        if gain is None or self.grid == "shared":
            return straight_through(kernel, on_grid(kernel, everything, self.bits))
        factor = self._spread(tf.where(tf.abs(gain) > 0, gain, tf.ones_like(gain)))
        return straight_through(kernel, on_grid(kernel * factor, everything, self.bits) / factor)

    def deployed(self, gain: Any = None) -> Any:
        """The weights of the file, as floats; the converter makes the integers that were meant out of them."""
        kernel = self.value() if self.factor is None else self.value() * self.factor
        factor = None if gain is None else self._spread(gain)
        if self.grid == "channel":
            rounded = on_grid(kernel, self.reduced, self.bits)
            return rounded if factor is None else rounded * factor
        everything = range(len(kernel.shape))
        if self.grid == "tensor":
            folded = kernel if factor is None else kernel * factor
            return marked(on_grid(folded, everything, self.bits), self._limit(folded))
        limit = self._limit(kernel)
        limits = limit * (tf.ones(kernel.shape[-1]) if gain is None else tf.maximum(tf.abs(gain), 1e-12))
        rounded = on_grid(kernel, everything, self.bits)
        return marked(rounded if factor is None else rounded * factor, limits)

    def response(self, constant: Sequence[float]) -> Any:
        """Return what the file's weights, a scale a channel, give for constant input channels; gains apart."""
        kernel = self.value() if self.factor is None else self.value() * self.factor
        rounded = on_grid(kernel, self.reduced, self.bits)
        each = (rounded if self.factor is None else rounded / self.factor) * tf.reshape(
            tf.constant(constant, tf.float32), (1, 1, -1, 1)
        )
        return tf.reshape(tf.reduce_sum(each, axis=self.reduced), (-1,))

    def _limit(self, weights: Any) -> Any:
        """The greatest value of one grid for all weights: a scalar."""
        return tf.reshape(scales(weights, range(len(weights.shape)), self.bits), ()) * LEVELS[self.bits]

    def _spread(self, gain: Any) -> Any:
        """Reshape one number for each output channel so that it multiplies the kernel."""
        sizes = [size if axis in self.kept else 1 for axis, size in enumerate(self.variable.shape)]
        return tf.reshape(gain, sizes)


def call_with(layer: Any, inputs: Any, replaced: Mapping[str, Any]) -> Any:
    """Call a layer with other values in the place of some of its attributes.

    The attributes are put back as they were, past Keras' tracking: tensors of a traced graph must not stay there.
    """
    attributes = vars(layer)
    saved = {name: attributes[name] for name in replaced}
    attributes.update(replaced)
    try:
        return layer.call(inputs)
    finally:
        attributes.update(saved)
