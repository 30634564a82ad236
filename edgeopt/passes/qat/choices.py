"""What the options of the pass say of single layers, and the grid that follows for a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ..properties import measure_kernel
from .kernels import Grid, channel_axes


@dataclass(frozen=True)
class Choices:
    """Which layers stay float, and what of earlier passes is kept.

    Attributes:
        skip: Layers that stay float.
        sparsity: Keep the zeros of sparse kernels.
        clusters: Keep the distinct values of clustered kernels.
        per_tensor_dense: One scale for all weights of a Dense layer.
        weight_bits: Of the weights of convolutions and Dense layers.
    """

    skip: frozenset[str] = frozenset()
    sparsity: bool = True
    clusters: bool = True
    per_tensor_dense: bool = False
    weight_bits: int = 8


def grid_of(choices: Choices, layer: Any, kernel: npt.NDArray[Any], *, has_norm: bool) -> tuple[Grid, bool, int]:
    """Return the grid of a kernel, whether its zeros are kept, and how many clusters are.

    Args:
        choices: The options.
        layer: The layer, in the form in which it will be quantised.
        kernel: The weights of the layer.
        has_norm: Whether a normalisation is folded into them.
    """
    found = measure_kernel(kernel, channel_axes(layer))
    masked = choices.sparsity and found.sparse
    clusters = found.clusters if choices.clusters and found.clustered else 0
    kind = type(layer).__name__
    if clusters and kind == "Conv2D":
        return "shared", masked, clusters
    if clusters and "Depthwise" not in kind and not has_norm:
        return "tensor", masked, clusters
    return ("tensor" if kind == "Dense" and choices.per_tensor_dense else "channel"), masked, clusters
