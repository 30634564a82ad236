"""Everything of TFMOT that is not its public interface, in one place: what a new release may break.

Each function says what it relies on; `tests/passes/tfmot/test_private.py` tries them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def cluster_layer(layer: Any, clusters: int, initialization: Any, *, preserve_sparsity: bool) -> Any:
    """Wrap one layer for clustering; with `preserve_sparsity`, one centroid stays zero and zeros stay on it.

    Relies on ``core.clustering.keras.experimental.cluster``, the only way to `preserve_sparsity`.
    """
    from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import cluster_weights

    return cluster_weights(layer, clusters, initialization, preserve_sparsity=preserve_sparsity)


def clustered_names(wrapper: Any) -> list[str]:
    """Return the names of the weights that a built clustering wrapper clusters; none means that it does nothing.

    Relies on ``ClusterWeights.cluster_centroids``.
    """
    return list(wrapper.cluster_centroids)


def pruned_weights(wrapper: Any) -> list[Any]:
    """Return the variables that a built pruning wrapper masks.

    Relies on ``PruneLowMagnitude.pruning_vars``, triples of weight, mask and threshold.
    """
    return [weight for weight, _, _ in wrapper.pruning_vars]


def masked_arrays(wrapper: Any) -> list[Any]:
    """Return what stripping a built pruning wrapper would leave: the layer's weights as arrays, in its order.

    Relies on ``PruneLowMagnitude.pruning_vars``.
    """
    masks = {id(weight): mask for weight, mask, _ in wrapper.pruning_vars}
    return [
        weight.numpy() * masks[id(weight)].numpy() if id(weight) in masks else weight.numpy()
        for weight in wrapper.layer.weights
    ]


def clustered_arrays(wrapper: Any) -> list[Any]:
    """Return what stripping a built clustering wrapper would leave: the layer's weights as arrays, in its order.

    Relies on ``ClusterWeights.update_clustered_weights_associations``, which each of the wrapper's own calls begins
    with, ``position_original_weights`` and ``get_weight_from_layer``.
    """
    wrapper.update_clustered_weights_associations()
    arrays = list(wrapper.layer.get_weights())  # the wrapper has put tensors in the place of those that it clusters
    for position, name in sorted(wrapper.position_original_weights.items()):
        arrays.insert(position, wrapper.get_weight_from_layer(name).numpy())
    return arrays


def update_masks(wrapper: Any, step: int) -> None:
    """Make the masks anew, as in training step `step`, and apply them.

    Relies on ``PruneLowMagnitude.pruning_step`` and ``pruning_obj.conditional_mask_update``.
    """
    wrapper.pruning_step.assign(step)
    wrapper.pruning_obj.conditional_mask_update()
    apply_masks(wrapper)


def apply_masks(wrapper: Any) -> None:
    """Set to zero what the masks rule out.

    Relies on ``pruning_obj.weight_mask_op``.
    """
    wrapper.pruning_obj.weight_mask_op()


def prune_by_scores(wrapper: Any, scores: Sequence[Any]) -> None:
    """Let the masks follow fixed scores instead of the weights' magnitudes.

    Args:
        wrapper: A built pruning wrapper.
        scores: An array for each of `pruned_weights`, of its shape; low ones are pruned first.

    Relies on ``pruning_obj._maybe_update_block_mask``, which turns a weight into a threshold and a mask.
    """
    import tensorflow as tf

    original = wrapper.pruning_obj._maybe_update_block_mask
    weights = pruned_weights(wrapper)
    by_weight: Mapping[Any, Any] = {
        weight.ref(): tf.constant(score, weight.dtype) for weight, score in zip(weights, scores, strict=True)
    }
    wrapper.pruning_obj._maybe_update_block_mask = lambda weight: original(by_weight[weight.ref()])
