"""The pass: options, ranges from data, training, and the two models that come out of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ...errors import RecipeError, UsageError, nearest
from ...models.bridge import flatten, to_tf_keras
from ...models.detect import Flavour
from ...models.graph.rebuild import read_native
from ...models.load import flavour_of
from ...recipes.values import require_choice, require_whole
from ...training.context import PassContext
from ...training.feed import open_feed
from ...training.loop import train
from ...training.losses import compiled_loss
from ...training.options import Training
from ..base import Pass, PassResult, check_needs, refuse_half_precision, skipped_names
from ..properties import WeightProperty, check_kept, measure_file, measure_model
from .agreement import measure_agreement
from .report import QatReport
from .strip import in_original_flavour, put_back

if TYPE_CHECKING:
    from .lowering import Lowered

PRESERVE = ("auto", "none", "sparsity", "clusters", "both")
WEIGHT_BITS = (8, 4)
Properties = dict[str, WeightProperty]


@dataclass(frozen=True, kw_only=True)
class Qat(Pass):
    """Train with the rounding to integers in the loop, so that the int8 file is as good as the float model.

    Attributes:
        training: How long and how, one epoch by default; ``epochs=0`` only measures the ranges of the activations.
        preserve: What the passes before left and this one keeps: ``auto``, the default, keeps what it finds in each
            kernel (a tenth of zeros or more; few distinct values), ``sparsity`` and ``clusters`` one of the two,
            ``both``, ``none``.
        skip: Names of layers that stay float; none by default.
        per_tensor_dense: One scale for all weights of a Dense layer, for accelerators that know no other; by default
            there is one for each output channel.
        weight_bits: Of the weights of convolutions and Dense layers: 8, the default, or 4, for a file of the mode
            ``int8w4``; other weights, those of depthwise convolutions among them, have 8.
        range_batches: Batches of training data from which the ranges start, at least 1; 8 by default.

    Raises:
        RecipeError: An option is out of its range or unknown.

    Example:
        >>> result = Qat(training=Training(epochs=2)).apply(model, PassContext(train=(x, y), loss="mse"))
        >>> edgeopt.convert(result.exported).save("model_int8.tflite")
    """

    training: Training = field(default_factory=Training)
    preserve: Literal["auto", "none", "sparsity", "clusters", "both"] = "auto"
    skip: tuple[str, ...] = ()
    per_tensor_dense: bool = False
    weight_bits: Literal[8, 4] = 8
    range_batches: int = 8

    name = "qat"

    def __post_init__(self) -> None:
        require_choice("preserve", self.preserve, PRESERVE)
        require_whole("range_batches", self.range_batches, 1)
        if self.weight_bits not in WEIGHT_BITS:
            raise RecipeError(f"Received weight_bits={self.weight_bits!r}; expected 8 or 4.")
        object.__setattr__(self, "skip", skipped_names(self.skip))
        refuse_half_precision(self.name, self.training.mixed_precision)

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of the context that these options need."""
        return ("train",)

    def apply(self, model: Any, context: PassContext) -> PassResult:
        """Return the trained float model, of the flavour of `model`, a `QatReport`, and the QAT model as `exported`.

        The QAT model is of tf_keras; `edgeopt.convert` makes the int8 file of it without calibration, and, saved as
        ``.keras``, it loads inside `edgeopt.qat_scope()`. `model` is not changed.

        With `PassContext.convert`, the QAT model is converted, and what was preserved is measured in the file; with
        `PassContext.predict` also how far the file's outputs are from the model's.

        Raises:
            UsageError: An unknown layer name, no loss, or something in `needs` that is missing.
            DataError: Data that do not fit the model.
            ModelError: The model is no graph of layers, has layers that the bridge cannot carry, or none to quantise.
            PropertyLostError: A kernel has fewer zeros, or more distinct values, than before.
            TrainingDivergedError: The loss became NaN or infinite.
        """
        check_needs(self, context)
        flavour = flavour_of(model)
        if flavour is None:
            raise UsageError(f"Received {type(model).__name__}; expected a Keras model, of Keras 3 or of tf_keras.")
        bridged = (to_tf_keras if flavour is Flavour.KERAS3 else flatten)(model, seed=context.seed).model
        before = measure_model(bridged)
        lowered = self._lower(bridged, before)
        self._set_ranges(lowered.model, context)
        context = replace(context, loss=compiled_loss(model) if context.loss is None else context.loss)
        trained = train(lowered.model, context, self.training, name=self.name)
        put_back(bridged, lowered.sources)
        file = None if context.convert is None else context.convert(lowered.model)
        after = self._check(before, bridged, lowered, file)
        agreement = () if file is None else measure_agreement(lowered.model, file, context, self.training.batch_size)
        own = {"before": before, "after": after, "measured_in_file": file is not None, "agreement": agreement}
        layers, skipped = tuple(lowered.layers), tuple(lowered.skipped)
        report = QatReport.of(self.training, trained, skipped, layers=layers, **own)
        return PassResult(in_original_flavour(model, bridged), report, lowered.model)

    def _lower(self, bridged: Any, before: Properties) -> Lowered:
        from .choices import Choices
        from .lowering import lower

        graph = read_native(bridged)
        names = {step.name for step in graph.steps}
        for name in self.skip:
            if name not in names:
                raise UsageError(f"Received skip with the layer {name!r}{nearest(name, names)}")
        sparsity, clusters = (self.preserve in ("auto", "both", word) for word in ("sparsity", "clusters"))
        if self.preserve in ("sparsity", "both") and not any(item.sparse for item in before.values()):
            raise UsageError(f"Received preserve={self.preserve!r}, and no kernel of the model is sparse; prune first.")
        if self.preserve in ("clusters", "both") and not any(item.clustered for item in before.values()):
            raise UsageError(f"Received preserve={self.preserve!r}, and no kernel is clustered; cluster first.")
        return lower(graph, Choices(frozenset(self.skip), sparsity, clusters, self.per_tensor_dense, self.weight_bits))

    def _set_ranges(self, model: Any, context: PassContext) -> None:
        """Let the activations' ranges be those of some training data, before a step is made."""
        from .ranges import observing

        feed = open_feed(context.train, model, batch_size=self.training.batch_size, seed=context.seed)
        count = self.range_batches if feed.steps is None else min(self.range_batches, feed.steps)
        context.progress(f"qat: ranges from {count} batches")
        with observing():
            for x, *_ in feed.make(0, 1).take(count):
                model(x, training=False)

    def _check(self, before: Properties, bridged: Any, lowered: Lowered, file: bytes | None) -> Properties:
        """Measure what was to be kept, in the model and, where there is one, in the file."""
        kept = {name for layer in lowered.layers if layer.preserved for name in (layer.name, layer.name.split("/")[0])}
        relevant = {name: item for name, item in before.items() if name.split("/")[0] in kept}
        after = measure_model(bridged)
        words = {word for layer in lowered.layers for word in layer.preserved}
        if words:
            check_kept(_only(relevant, words), after, what="The trained model")
        if file is None:
            return after
        after = measure_file(file, like=before)
        if words:
            check_kept(_only(relevant, words), after)
        return after


def _only(properties: Properties, words: set[str]) -> Properties:
    """Leave out what was not asked to be kept: no zeros, or as many values as weights."""
    return {
        name: replace(
            item,
            zeros=item.zeros if "sparsity" in words else 0,
            clusters=item.clusters if "clusters" in words else item.size,
        )
        for name, item in properties.items()
    }
