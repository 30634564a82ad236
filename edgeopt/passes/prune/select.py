"""Which layers are pruned, how far, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ...errors import ModelError
from ...training.context import Skipped
from ..tfmot.wrapping import Wrappable


class PruneReason(str, Enum):
    """Why a layer with a kernel is not pruned: the closed list."""

    DEPTHWISE = "depthwise"
    LAYER = "layer-not-supported"
    MASKED = "masked"
    BLOCKS = "blocks-need-dense"
    M_BY_N = "m-by-n-needs-dense-or-conv2d"
    SKIPPED = "in-skip-list"
    FIRST = "first-layer"
    LAST = "last-layer"
    NO_TARGET = "no-target"


_DETAILS = {
    PruneReason.DEPTHWISE: "few weights that matter much; TFMOT prunes no depthwise kernels",
    PruneReason.LAYER: "TFMOT does not know how to prune it",
    PruneReason.MASKED: "a Keras mask passes here, and TFMOT's wrapper would drop it",
    PruneReason.BLOCKS: "blocks are of a kernel with two axes; TFMOT refuses them on convolutions",
    PruneReason.M_BY_N: "the pattern runs along the input channels of Dense and Conv2D kernels",
    PruneReason.NO_TARGET: "not named in layers, and no sparsity for the others",
}
# What TFMOT's registry lacks and its wrapper can do, given the kernels.
_EXTRA_KERNELS = {"Conv1DTranspose": ("kernel",), "EinsumDense": ("kernel",)}
_M_BY_N = ("Dense", "Conv2D", "SeparableConv2D")


@dataclass(frozen=True)
class Selection:
    """The result.

    Attributes:
        targets: Layer -> sparsity.
        skipped: The other layers with kernels.
    """

    targets: Mapping[str, float]
    skipped: tuple[Skipped, ...]


def select(source: Wrappable, options: Any) -> Selection:
    """Return what the options of a `Prune` mean for this model.

    Raises:
        ModelError: A layer is named in ``layers`` that cannot be pruned.
    """
    targets: dict[str, float] = {}
    skipped: list[Skipped] = []
    for name, layer in source.layers.items():
        target = options.target_of(name)
        reason = _obstacle(name, layer, source, options) or _policy(name, target, source, options)
        if reason is None and target is not None:
            targets[name] = target
            continue
        reason = reason or PruneReason.NO_TARGET
        detail = _DETAILS.get(reason, "")
        if name in options.layers and reason is not PruneReason.SKIPPED:
            raise ModelError(f"layers names {name!r} ({type(layer).__name__}), which cannot be pruned: {detail}.")
        skipped.append(Skipped(name, reason.value, detail))
    return Selection(targets, tuple(skipped))


def make_prunable(layer: Any) -> Any:
    """Tell TFMOT about the kernels of a layer that its registry lacks; returns the layer."""
    names = _EXTRA_KERNELS.get(type(layer).__name__)
    if names is not None:
        layer.get_prunable_weights = lambda: [getattr(layer, name) for name in names]
    elif type(layer).__name__ == "Bidirectional":
        cells = [layer.forward_layer.cell, layer.backward_layer.cell]
        layer.get_prunable_weights = lambda: [
            kernel for cell in cells for kernel in (cell.kernel, cell.recurrent_kernel)
        ]
    return layer


def _obstacle(name: str, layer: Any, source: Wrappable, options: Any) -> PruneReason | None:
    """What makes pruning impossible, whatever was asked for."""
    kind = type(layer).__name__
    if "DepthwiseConv" in kind:
        return PruneReason.DEPTHWISE
    if not _supported(layer):
        return PruneReason.LAYER
    if name in source.masked:
        return PruneReason.MASKED
    if options.block_size != (1, 1) and kind != "Dense":
        return PruneReason.BLOCKS
    if options.m_by_n is not None and kind not in _M_BY_N:
        return PruneReason.M_BY_N
    return None


def _policy(name: str, target: float | None, source: Wrappable, options: Any) -> PruneReason | None:
    if name in options.skip:
        return PruneReason.SKIPPED
    if name in options.layers:
        return None
    if options.keep_first and name in source.first:
        return PruneReason.FIRST
    if options.keep_last and name in source.last:
        return PruneReason.LAST
    return PruneReason.NO_TARGET if target is None else None


def _supported(layer: Any) -> bool:
    """Whether TFMOT wraps the layer, and finds something in it to prune."""
    import tensorflow_model_optimization as tfmot

    layer = make_prunable(layer)
    try:
        wrapper = tfmot.sparsity.keras.prune_low_magnitude(layer)
    except ValueError:
        return False
    return bool(wrapper.layer.get_prunable_weights())
