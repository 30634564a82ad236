"""Layers that scale and shift, and what that does to the weights of a convolution or Dense layer beside them.

With y = s x + o, one number a channel, and a layer that computes K x + b:

    behind the layer    s (K x + b) + o  =  (s K) x + (s b + o)       s along the output channels of K
    in front of it      K (s x + o) + b  =  (K s) x + (b + K o)       s along the input channels of K

The second holds where the kernel sees the channels only: padding with zeros pads x, which o is then not added to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .changes import NotExactError

Array = npt.NDArray[np.float64]
Weights = list[Array]

CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
WEIGHTED = ("Dense", *CONVOLUTIONS, *TRANSPOSED, *DEPTHWISE, *SEPARABLE)
AFFINE = ("BatchNormalization", "Normalization", "Rescaling")


@dataclass(frozen=True)
class Affine:
    """y = scale x + offset; both of shape () or (channels,)."""

    scale: Array
    offset: Array

    def sized(self, channels: int) -> Affine:
        """Return it with one number a channel."""
        return Affine(np.broadcast_to(self.scale, (channels,)), np.broadcast_to(self.offset, (channels,)))

    def after(self, first: Affine) -> Affine:
        """Return what this one computes of the outputs of `first`."""
        return Affine(self.scale * first.scale, self.scale * first.offset + self.offset)

    def tiled(self, count: int) -> Affine:
        """Return it for the channels of `count` positions laid one behind the other."""
        return Affine(*(part if part.ndim == 0 else np.tile(part, count) for part in (self.scale, self.offset)))


def read(layer: Any, shape: tuple[int | None, ...]) -> Affine:
    """Return what a layer of `AFFINE` computes at inference.

    Args:
        layer: A layer of either flavour of Keras.
        shape: The shape of its input, the batch included.

    Raises:
        NotExactError: It has other numbers than one for each channel of the last axis.
    """
    kind = type(layer).__name__
    parts = {"BatchNormalization": _norm, "Normalization": _normalization, "Rescaling": _rescaling}[kind](layer)
    last_axis = kind != "BatchNormalization" or _axes(layer) in ([-1], [len(shape) - 1])
    sizes = {int(np.size(part)) for part in parts}
    leading = any(size != 1 for part in parts for size in np.shape(part)[:-1])
    if not last_axis or leading or not sizes <= {1, shape[-1]}:
        raise NotExactError("axis", f"{kind} with other numbers than one for each channel of the last axis")
    scale, offset = (np.asarray(part, np.float64).reshape(-1) for part in parts)
    return Affine(*(part.reshape(()) if part.size == 1 else part for part in (scale, offset)))


def _axes(layer: Any) -> list[int]:
    axis = layer.axis
    return [int(axis)] if isinstance(axis, int) else [int(value) for value in axis]


def _norm(layer: Any) -> tuple[Any, Any]:
    mean, variance = (np.asarray(part, np.float64) for part in (layer.moving_mean, layer.moving_variance))
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        scale = scale * np.asarray(layer.gamma, np.float64)
    beta = 0.0 if layer.beta is None else np.asarray(layer.beta, np.float64)
    return scale, beta - mean * scale


def _normalization(layer: Any) -> tuple[Any, Any]:
    """Keras keeps the deviation from being zero by the backend's epsilon, 1e-7."""
    mean = np.asarray(layer.mean, np.float64)
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance, np.float64)), 1e-7)
    return (deviation, mean) if layer.invert else (1.0 / deviation, -mean / deviation)


def _rescaling(layer: Any) -> tuple[Any, Any]:
    return np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)


def fold_behind(layer: Any, weights: Weights, affine: Affine) -> Weights:
    """Return kernels and bias of a layer of `WEIGHTED` that computes `affine` of its outputs as well."""
    *kernels, bias = weights
    own = affine.sized(len(bias))
    kernels[-1] = _per_output(type(layer).__name__, kernels[-1], own.scale)
    return [*kernels, bias * own.scale + own.offset]


def fold_before(layer: Any, weights: Weights, affine: Affine) -> Weights:
    """Return kernels and bias of a layer of `WEIGHTED` that takes the inputs of `affine` instead of its outputs.

    Raises:
        NotExactError: The layer pads, and there is an offset.
    """
    *kernels, bias = weights
    kind = type(layer).__name__
    own = affine.sized(_input_channels(layer, kernels[0]))
    if np.any(own.offset):
        if _pads(layer):
            raise NotExactError(
                "padding", f"{layer.name!r} pads with zeros, to which the offset of this layer would not be added"
            )
        bias = bias + _offset_at_output(layer, kernels, own.offset)
    kernels[0] = _per_input(kind, kernels[0], own.scale)
    return [*kernels, bias]


def _per_output(kind: str, kernel: Array, scale: Array) -> Array:
    """The last kernel of a layer, times one number for each output channel."""
    if kind in TRANSPOSED:  # (..., outputs, inputs)
        return kernel * scale[:, np.newaxis]
    if kind in DEPTHWISE:  # (..., inputs, multiplier), an output for each pair
        return kernel * scale.reshape(kernel.shape[-2:])
    return kernel * scale


def _per_input(kind: str, kernel: Array, scale: Array) -> Array:
    """The first kernel of a layer, times one number for each input channel."""
    if kind in TRANSPOSED:
        return kernel * scale
    if kind in CONVOLUTIONS and len(scale) != kernel.shape[-2]:
        return kernel * _by_group(kernel, scale)
    return kernel * scale[:, np.newaxis]


def _by_group(kernel: Array, values: Array) -> Array:
    """Numbers of the input channels, as the grouped convolution's kernel (..., inputs of a group, outputs) has them."""
    inputs, outputs = kernel.shape[-2:]
    groups = len(values) // inputs
    return np.repeat(values.reshape(groups, inputs).T, outputs // groups, axis=1)


def _offset_at_output(layer: Any, kernels: Weights, offset: Array) -> Array:
    """What a constant input gives."""
    kind, kernel = type(layer).__name__, kernels[0]
    taps = kernel.sum(axis=tuple(range(kernel.ndim - 2)))
    if kind in (*DEPTHWISE, *SEPARABLE):
        middle = (taps * offset[:, np.newaxis]).reshape(-1)
        if kind in DEPTHWISE:
            return np.asarray(middle)
        return np.asarray(middle @ kernels[1].reshape(len(middle), -1))
    if len(offset) != taps.shape[0]:
        return np.asarray((taps * _by_group(kernel, offset)).sum(axis=0))
    return np.asarray(offset @ taps)


def _pads(layer: Any) -> bool:
    """Whether some output sees less than all of the kernel's places in the input."""
    kind = type(layer).__name__
    if kind == "Dense":
        return False
    if kind in TRANSPOSED:
        return True  # near the border, fewer places of the kernel meet an input
    return layer.padding != "valid" and any(size > 1 for size in layer.kernel_size)


def _input_channels(layer: Any, kernel: Array) -> int:
    kind = type(layer).__name__
    if kind in TRANSPOSED:
        return int(kernel.shape[-1])
    return int(kernel.shape[-2]) * int(getattr(layer, "groups", 1) if kind in CONVOLUTIONS else 1)
