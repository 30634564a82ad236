"""Clustering: each kernel is left with a few distinct values, which zip well; shapes, and the raw size, stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ...errors import ModelError, RecipeError
from ...recipes.values import require_choice, require_whole
from ...training.context import PassContext, Skipped
from ...training.loop import train
from ...training.losses import with_loss_of
from ...training.options import Training
from ...training.report import Trained
from ..base import Pass, PassResult, check_layers, check_needs, refuse_half_precision, skipped_names
from ..properties import kernels_of, measure_model
from ..tfmot import private
from ..tfmot.unwrapping import without_wrappers
from ..tfmot.wrapping import Wrappable, carry_back, check_any, check_layer_names, wrap, wrappable
from .report import ClusterReport, compare

INITIALIZATIONS = {
    "kmeans++": "KMEANS_PLUS_PLUS",
    "linear": "LINEAR",
    "density": "DENSITY_BASED",
    "random": "RANDOM",
}


class ClusterReason(str, Enum):
    """Why a layer with a kernel is not clustered: the closed list."""

    DEPTHWISE = "depthwise"
    LAYER = "layer-not-supported"
    MASKED = "masked"
    FROZEN = "frozen"
    FEW = "too-few-weights"
    SKIPPED = "in-skip-list"
    NO_TARGET = "no-target"


_DETAILS = {
    ClusterReason.DEPTHWISE: "few weights that matter much; TFMOT clusters no depthwise kernels",
    ClusterReason.LAYER: "TFMOT does not know how to cluster it",
    ClusterReason.MASKED: "a Keras mask passes here, and TFMOT's wrapper would drop it",
    ClusterReason.FROZEN: "TFMOT clusters trainable weights only; set trainable = True",
    ClusterReason.FEW: "a kernel of it has no more weights than there are to be values",
    ClusterReason.NO_TARGET: "not named in layers, and no number of clusters for the others",
}
# A number of clusters that TFMOT takes, to see whether it takes the layer.
_TRIAL = 3
_UNFIT = ("EinsumDense", "TimeDistributed", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


@dataclass(frozen=True, kw_only=True)
class Cluster(Pass):
    """Train with a few shared values a kernel, with TFMOT's `cluster_weights`.

    Attributes:
        clusters: Most distinct values of each kernel, zero included, at least 2; None, the default, clusters only what
            `layers` names.
        layers: Layer name -> its own number of values; none by default.
        skip: Names of layers that stay as they are; none by default.
        initialization: Where the centroids begin: ``kmeans++`` (the default), ``linear``, ``density`` or ``random``.
        preserve_sparsity: Keep zeros at zero, on a centroid of their own, for models that were pruned; by default not.
        training: The fine-tuning; with ``epochs=0`` each weight goes to its nearest centroid, and nothing is trained.

    Raises:
        RecipeError: An option is out of its range, unknown, or contradicts another.

    Example:
        >>> result = Cluster(clusters=16).apply(model, PassContext(train=(x, y), loss="mse"))
        >>> result.report.layers[0].after
        16
    """

    clusters: int | None = None
    layers: Mapping[str, int] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    initialization: str = "kmeans++"
    preserve_sparsity: bool = False
    training: Training = field(default_factory=Training)

    name = "cluster"
    leaves = ("size_bytes", "latency_ms")

    def __post_init__(self) -> None:
        check_layers(self.layers, "16")
        object.__setattr__(self, "skip", skipped_names(self.skip))
        refuse_half_precision(self.name, self.training.mixed_precision)
        numbers = {f"layers[{name!r}]": value for name, value in self.layers.items()}
        if self.clusters is not None:
            numbers["clusters"] = self.clusters
        if not numbers:
            raise RecipeError("Received no target; give clusters=16 or layers={name: clusters}.")
        least, why = (3, " (zero is one of them)") if self.preserve_sparsity else (2, "")
        for what, value in numbers.items():
            require_whole(what, value, least, why)
        require_choice("initialization", self.initialization, INITIALIZATIONS)

    def apply(self, model: Any, context: PassContext) -> PassResult:
        """Return the clustered model, flat, of the flavour of `model`, uncompiled, and a `ClusterReport`.

        Raises:
            UsageError: An unknown layer name, or no loss; `DataError` for data that do not fit.
            ModelError: Nothing can be clustered, a layer is named that cannot be, or one has no tf_keras counterpart.
            TrainingDivergedError: The loss became NaN or infinite.
        """
        check_needs(self, context)
        source = wrappable(model, context.seed)
        check_layer_names(source, self.skip, "skip")
        check_layer_names(source, self.layers, "layers")
        targets, skipped = self.select(source)
        check_any(source, targets, skipped, "cluster")
        before = measure_model(source.target)
        wrapped = self._wrapped(source, targets, context.seed)
        done = Trained(wrapped)
        if self.training.epochs:
            done = train(wrapped, with_loss_of(model, context, self.name), self.training, name=self.name)
        # TFMOT's own stripping gives attention back with its weights in another order.
        result = carry_back(source, without_wrappers(wrapped), context.seed)
        layers = compare(targets, before, measure_model(result))
        own = {"initialization": self.initialization, "preserve_sparsity": self.preserve_sparsity, "layers": layers}
        return PassResult(result, ClusterReport.of(self.training, done, skipped, **own))

    def _wrapped(self, source: Wrappable, targets: Mapping[str, int], seed: int) -> Any:
        import tensorflow as tf
        import tensorflow_model_optimization as tfmot

        start = tfmot.clustering.keras.CentroidInitialization[INITIALIZATIONS[self.initialization]]
        tf.random.set_seed(seed)  # "random" draws its centroids

        def wrapper(name: str, layer: Any) -> Any:
            if name not in targets:
                return layer
            return private.cluster_layer(layer, targets[name], start, preserve_sparsity=self.preserve_sparsity)

        return wrap(source, wrapper)

    def select(self, source: Wrappable) -> tuple[dict[str, int], tuple[Skipped, ...]]:
        """Return the layers to cluster with their numbers, and the others with a reason.

        Raises:
            ModelError: A layer is named in ``layers`` that cannot be clustered.
        """
        targets: dict[str, int] = {}
        skipped: list[Skipped] = []
        for name, layer in source.layers.items():
            count = self.layers.get(name, self.clusters)
            reason = _obstacle(name, layer, source, count)
            if name in self.skip:
                reason = ClusterReason.SKIPPED
            if reason is None and count is not None:
                targets[name] = count
                continue
            reason = reason or ClusterReason.NO_TARGET
            detail = _DETAILS.get(reason, "")
            if name in self.layers and reason is not ClusterReason.SKIPPED:
                raise ModelError(
                    f"layers names {name!r} ({type(layer).__name__}), which cannot be clustered: {detail}."
                )
            skipped.append(Skipped(name, reason.value, detail))
        return targets, tuple(skipped)


def _obstacle(name: str, layer: Any, source: Wrappable, count: int | None) -> ClusterReason | None:
    """What makes clustering impossible, whatever was asked for."""
    import tensorflow_model_optimization as tfmot

    if "DepthwiseConv" in type(layer).__name__:
        return ClusterReason.DEPTHWISE
    if not layer.trainable:
        return ClusterReason.FROZEN
    if type(layer).__name__ in _UNFIT:
        return ClusterReason.LAYER
    if name in source.masked:
        return ClusterReason.MASKED
    if any(_size(weight) <= max(count or 0, _TRIAL) for weight, _, _ in kernels_of(layer)):
        return ClusterReason.FEW
    try:
        tfmot.clustering.keras.cluster_weights(layer, _TRIAL)
    except ValueError:
        return ClusterReason.LAYER
    return None


def _size(weight: Any) -> int:
    return int(weight.shape.num_elements())
