"""Convolutions become binary ones of Larq: their inputs first, then their weights, each stage trained with a teacher.

A binary convolution reads signs and multiplies them by signs. In front of it goes a BatchNormalization, which puts the
threshold of the signs where the values are (behind a ReLU all would be positive otherwise); behind it, the magnitude of
each channel's weights is multiplied in (Rastegari et al. 2016, "XNOR-Net"). Binarising the inputs first, and the
weights in a training of its own, is the two-stage training of Martinez et al. 2020, "Training Binary Neural Networks
with Real-to-Binary Convolutions". The gradient passes through a sign where its argument is within [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ModelError, RecipeError, UsageError, nearest
from ..models.bridge import flatten, to_tf_keras
from ..models.detect import Flavour
from ..models.load import flavour_of
from ..recipes.values import require_whole
from ..training.context import PassContext, Skipped
from ..training.distillation import Distillation
from ..training.loop import train
from ..training.losses import compiled_loss
from ..training.options import Training
from ..training.report import TrainingReport
from .base import Pass, PassResult, check_needs, refuse_half_precision, skipped_names

if TYPE_CHECKING:
    from ..models.graph.read import Step

_STAGES = ("activations", "weights")


@dataclass(frozen=True)
class BinarizeReport(TrainingReport):
    """What a binarisation did.

    Attributes:
        binary: Names of the convolutions that are binary now.
        first_history: Metric values of each epoch of the first stage; `history` is the second's.
    """

    binary: tuple[str, ...] = ()
    first_history: tuple[Any, ...] = ()

    note: ClassVar[str] = (
        "Binary weights take a 32nd of the bytes; the file runs with larq_compute_engine alone, on no board of Arm."
    )

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        own = {"binary": list(self.binary), "first_history": [dict(epoch) for epoch in self.first_history]}
        return {**super().to_dict(), **own}


@dataclass(frozen=True, kw_only=True)
class Binarize(Pass):
    """Make convolutions binary, with Larq's layers (extra ``binary``); the process must have TF_USE_LEGACY_KERAS=1.

    Attributes:
        training: Of each of the two stages; one epoch by default.
        layers: Names of the convolutions that become binary; by default all that are larger than 1x1, but for the
            first.
        skip: Names of layers that stay float; none by default.
        least_inputs: Input channels that a convolution must have to become binary where `layers` does not name it, at
            least 1; 16 by default.

    Raises:
        RecipeError: An option is out of its range, or there are no epochs.

    Example:
        >>> binary = Binarize(training=Training(epochs=20)).apply(model, PassContext(train=(x, y))).model
        >>> edgeopt.convert(binary, quantize="float32").save("binary.tflite")
    """

    training: Training = field(default_factory=Training)
    layers: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    least_inputs: int = 16

    name = "binarize"
    wants_teacher = True

    def __post_init__(self) -> None:
        require_whole("least_inputs", self.least_inputs, 1)
        object.__setattr__(self, "skip", skipped_names(self.skip))
        named: Any = self.layers
        if isinstance(named, str) or not isinstance(named, Sequence):
            raise RecipeError(f"Received layers={named!r}; expected a list of layer names.")
        object.__setattr__(self, "layers", tuple(named))
        refuse_half_precision(self.name, self.training.mixed_precision)
        if self.training.epochs == 0:
            raise RecipeError("Received epochs=0 for the pass 'binarize'; expected at least 1: signs must be learned.")

    def apply(self, model: Any, context: PassContext) -> PassResult:
        """Return a tf_keras model with Larq's layers, and a `BinarizeReport`; `model`, the teacher, is not changed.

        Raises:
            UsageError: An unknown layer name, or no loss.
            ModelError: Larq is not installed, or the model has no convolution that could be binary.
            TrainingDivergedError: The loss became NaN or infinite.
        """
        from ..models.graph.rebuild import read_native, rebuild
        from ..models.larq import import_larq

        check_needs(self, context)
        larq = import_larq()
        flavour = flavour_of(model)
        if flavour is None:
            raise UsageError(f"Received {type(model).__name__}; expected a Keras model, of Keras 3 or of tf_keras.")
        bridged = (to_tf_keras if flavour is Flavour.KERAS3 else flatten)(model, seed=context.seed).model
        graph = read_native(bridged)
        chosen, skipped = self._choose(graph.steps)
        context = replace(
            context,
            loss=compiled_loss(model) if context.loss is None else context.loss,
            distillation=context.distillation or Distillation(teacher=model),
        )
        sources: dict[str, list[Any]] = {}
        for step in graph.steps:
            if step.layer is not None:
                sources.setdefault(step.name, step.layer.get_weights())
        made: Any = None
        histories: list[tuple[Any, ...]] = []
        for stage in _STAGES:
            binary = _Binary(larq, frozenset(chosen), weights=stage == "weights")
            built = rebuild(graph, bridged, binary.copy)
            if made is None:
                binary.load(sources)
            else:
                built.set_weights(made.get_weights())
            made = built
            trained = train(made, context, self.training, name=f"{self.name}-{stage}")
            histories.append(tuple(trained.history))
        own = {"binary": tuple(chosen), "first_history": histories[0]}
        return PassResult(made, BinarizeReport.of(self.training, trained, tuple(skipped), **own))

    def _choose(self, steps: list[Step]) -> tuple[list[str], list[Skipped]]:
        """Return the names of the convolutions that become binary, and of those that do not, with the reason."""
        found = {step.name: step.layer for step in steps if type(step.layer).__name__ == "Conv2D"}
        for name in (*self.layers, *self.skip):
            if name not in found:
                option = "layers" if name in self.layers else "skip"
                raise UsageError(f"Received {option} with the layer {name!r}{nearest(name, found)}")
        chosen, skipped = [], []
        for place, (name, layer) in enumerate(found.items()):
            why = self._objection(name, layer, place)
            if why is None:
                chosen.append(name)
            else:
                skipped.append(Skipped(name, *why))
        if not chosen:
            raise ModelError(
                "The model has no convolution that could be binary: a Conv2D behind the first, larger than 1x1, of "
                f"{self.least_inputs} input channels or more; name others in layers."
            )
        return chosen, skipped

    def _objection(self, name: str, layer: Any, place: int) -> tuple[str, str] | None:
        if name in self.skip:
            return "in-skip-list", "named in skip"
        if layer.groups != 1 or layer.data_format != "channels_last":
            return "no binary operator", "groups, or the channels first"
        if self.layers:
            return None if name in self.layers else ("not chosen", "others are named in layers")
        inputs = int(layer.kernel.shape[2])
        if place == 0 or max(layer.kernel_size) == 1 or inputs < self.least_inputs:
            detail = "the first" if place == 0 else f"{max(layer.kernel_size)} wide, {inputs} input channels"
            return "not chosen", f"{detail}: little to be saved, and much to be lost"
        return None


class _Binary:
    """Makes the layers of a stage.

    Args:
        larq: The library.
        chosen: Names of the convolutions.
        weights: Whether their weights are binary, too.
    """

    def __init__(self, larq: Any, chosen: frozenset[str], *, weights: bool) -> None:
        self._larq, self._chosen, self._weights = larq, chosen, weights
        self._made: dict[str, Any] = {}

    def copy(self, layer: Any, step: Step) -> Callable[..., Any]:
        """Return what takes a layer's place."""
        from ..models.graph.rebuild import copy_layer

        if step.name not in self._chosen:
            self._made[step.name] = copied = copy_layer(layer, step, {})
            return copied  # type: ignore[no-any-return]
        import tf_keras

        config = layer.get_config()
        same = {key: config[key] for key in ("name", "filters", "kernel_size", "strides", "padding", "dilation_rate")}
        convolution = self._larq.layers.QuantConv2D(
            **{**same, "name": step.name},
            use_bias=layer.use_bias,
            pad_values=1.0 if layer.padding == "same" else 0.0,
            input_quantizer="ste_sign",
            kernel_quantizer="magnitude_aware_sign" if self._weights else None,
            kernel_constraint="weight_clip",
        )
        self._made[step.name] = convolution
        centre = tf_keras.layers.BatchNormalization(name=f"{step.name}_threshold")
        activation = tf_keras.layers.Activation(layer.activation, name=f"{step.name}_activation")
        linear = getattr(layer.activation, "__name__", "") == "linear"
        return lambda x: convolution(centre(x)) if linear else activation(convolution(centre(x)))

    def load(self, sources: dict[str, list[Any]]) -> None:
        """Give the layers the weights of those that they stand for."""
        for name, layer in self._made.items():
            layer.set_weights(sources[name])
