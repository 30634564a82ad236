"""The training step with a teacher, put into a model of either flavour for the time of one training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ..errors import UsageError, nearest
from ..models.detect import Flavour
from ..models.keras_spec import tree_of
from ..models.load import describe, flavour_of, import_keras
from .distillation import Distillation
from .losses import are_probabilities, are_shares, loss_name, losses_by_output

# How TFMOT calls the layers that it wraps.
_PREFIXES = ("", "prune_low_magnitude_", "cluster_", "quant_")
_SMALLEST = 1e-7
_REGRESSION = ("mean_squared", "mse", "mean_absolute", "mae", "huber", "log_cosh", "cosine", "msle", "mape")


@dataclass(frozen=True)
class AttachedTeacher:
    """A teacher attached to a student.

    Attributes:
        variables: What is trained besides the student's weights: the maps between features of different widths.
        begin_epoch: Sets the running means of the losses back to 0.
    """

    variables: Sequence[Any]
    begin_epoch: Callable[[], None]


@contextmanager
def attached(model: Any, distillation: Distillation, loss: Any, sample: Any, seed: int) -> Iterator[AttachedTeacher]:
    """Let `model`, which is compiled, learn from the teacher inside the block.

    Args:
        model: The student.
        distillation: The teacher and the weights.
        loss: The loss on the labels, by which ``auto`` is decided.
        sample: A batch of inputs, to see what the outputs look like.
        seed: Of the maps between features.

    Raises:
        UsageError: Layers that do not exist, or outputs or features that cannot be compared.
    """
    flavour = flavour_of(model)
    if flavour is None:
        raise UsageError(f"Received {type(model).__name__} as a student; expected a Keras model.")
    student, teacher = _Side(model, distillation.features), _Side(distillation.teacher, distillation.features.values())
    x = tf.nest.map_structure(tf.convert_to_tensor, sample)
    names = _input_names(model), _input_names(distillation.teacher)
    if len(names[0]) != len(names[1]):
        raise UsageError(
            f"The teacher has {len(names[1])} input(s) and the student {len(names[0])}; expected the same."
        )
    ours, theirs = student(x, training=False), teacher(_for_teacher(x, *names), training=False)
    outputs = describe(model).spec.output_names
    losses = losses_by_output(loss, outputs) if len(outputs) == len(ours[0]) else [loss] * len(ours[0])
    soft = _soft_losses(distillation, losses, ours[0], theirs[0])
    maps = _feature_maps(distillation, ours[1], theirs[1], import_keras(flavour), seed)
    step = _Step(model, flavour, distillation, student, teacher, soft, maps, names)
    model.__dict__["train_step"] = tf.autograph.experimental.do_not_convert(step)
    try:
        yield AttachedTeacher([item for item in maps if item is not None], step.begin_epoch)
    finally:
        model.__dict__.pop("train_step", None)
        model.train_function = None  # traced with the teacher


class _Side:
    """A model that gives its outputs and the outputs of some of its layers, as two lists."""

    def __init__(self, model: Any, layers: Any) -> None:
        flavour = flavour_of(model)
        self._tree = tree_of(flavour or Flavour.KERAS3)
        names = list(layers)
        self._model, self._features = model, len(names)
        if names:
            tensors = [_layer(model, name).output for name in names]
            self._model = import_keras(flavour or Flavour.KERAS3).Model(model.inputs, [*model.outputs, *tensors])

    def __call__(self, x: Any, *, training: bool) -> tuple[list[Any], list[Any]]:
        found = [tf.convert_to_tensor(item) for item in self._tree.flatten(self._model(x, training=training))]
        middle = len(found) - self._features
        return found[:middle], found[middle:]


def _layer(model: Any, name: str) -> Any:
    by_name = {layer.name: layer for layer in model.layers}
    for prefix in _PREFIXES:
        if prefix + name in by_name:
            return by_name[prefix + name]
    raise UsageError(f"The model {model.name!r} has no layer {name!r} to match features on{nearest(name, by_name)}")


def _input_names(model: Any) -> list[str]:
    return [item.name for item in describe(model).spec.inputs]


def _for_teacher(x: Any, ours: Sequence[str], theirs: Sequence[str]) -> Any:
    """Return the student's inputs under the teacher's names, by name where they agree and else by position."""
    if not isinstance(x, (Mapping, list, tuple)):
        return x
    if not isinstance(x, Mapping):
        x = dict(zip(ours, x, strict=True))
    values = [x[name] for name in theirs] if set(theirs) == set(x) else list(x.values())
    return values[0] if len(values) == 1 else dict(zip(theirs, values, strict=True))


def _soft_losses(distillation: Distillation, losses: list[Any], ours: list[Any], theirs: list[Any]) -> list[Any]:
    """Return a function ``(student, teacher) -> scalar`` for each output."""
    shapes = [tuple(item.shape[1:]) for item in ours], [tuple(item.shape[1:]) for item in theirs]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"The student's outputs have shapes {shapes[0]} and the teacher's {shapes[1]}; expected the same."
        )
    made = []
    for loss, student, teacher in zip(losses, ours, theirs, strict=True):
        kind = distillation.kind if distillation.kind != "auto" else _kind(loss, teacher.numpy())
        made.append(_soft_loss(kind, distillation.temperature, _gives_logits(loss), student.numpy(), teacher.numpy()))
    return made


def _kind(loss: Any, outputs: Any) -> str:
    name = loss_name(loss)
    if "binary" in name:
        return "sigmoid"
    if "crossentropy" in name or "kl" in name.split("_") or are_probabilities(outputs):
        return "softmax"
    if any(word in name for word in _REGRESSION):
        return "mse"
    raise UsageError(
        f"The loss {name or type(loss).__name__!r} does not tell how to compare outputs with the teacher's; give "
        "kind='softmax', 'sigmoid' or 'mse' to the distillation."
    )


def _gives_logits(loss: Any) -> bool:
    """Whether the loss says that the student's outputs are logits; an untrained one's may look like probabilities."""
    return hasattr(loss, "get_config") and loss.get_config().get("from_logits") is True


def _soft_loss(
    kind: str, temperature: float, student_gives_logits: bool, ours: Any, theirs: Any
) -> Callable[[Any, Any], Any]:
    if kind == "mse":
        return lambda student, teacher: tf.reduce_mean(tf.square(_float(student) - _float(teacher)))
    logits = _softmax_logits if kind == "softmax" else _sigmoid_logits
    test = are_probabilities if kind == "softmax" else are_shares
    takes = not student_gives_logits and test(ours), test(theirs)

    def loss(student: Any, teacher: Any) -> Any:
        z = [logits(_float(item), known) / temperature for item, known in zip((student, teacher), takes, strict=True)]
        if kind == "softmax":
            target = tf.nn.softmax(z[1])
            divergence = tf.reduce_sum(target * (tf.nn.log_softmax(z[1]) - tf.nn.log_softmax(z[0])), axis=-1)
        else:
            target = tf.sigmoid(z[1])
            cross = tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=z[0])
            divergence = cross - tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=z[1])
        return temperature**2 * tf.reduce_mean(divergence)

    return loss


def _softmax_logits(outputs: Any, probabilities: bool) -> Any:
    """Logits up to a constant, which softmax does not see: ln p."""
    return tf.math.log(tf.maximum(outputs, _SMALLEST)) if probabilities else outputs


def _sigmoid_logits(outputs: Any, probabilities: bool) -> Any:
    if not probabilities:
        return outputs
    shares = tf.clip_by_value(outputs, _SMALLEST, 1.0 - _SMALLEST)
    return tf.math.log(shares) - tf.math.log1p(-shares)


def _float(tensor: Any) -> Any:
    return tf.cast(tensor, tf.float32)


def _feature_maps(distillation: Distillation, ours: list[Any], theirs: list[Any], keras: Any, seed: int) -> list[Any]:
    """Return, for each pair of layers, a matrix from the student's channels to the teacher's, or None if equal."""
    maps: list[Any] = []
    for (mine, other), student, teacher in zip(distillation.features.items(), ours, theirs, strict=True):
        if student.shape[1:-1] != teacher.shape[1:-1]:
            raise UsageError(
                f"The student's layer {mine!r} gives shape {tuple(student.shape[1:])} and the teacher's {other!r} "
                f"{tuple(teacher.shape[1:])}; features can differ in their last dimension only."
            )
        shape = (int(student.shape[-1]), int(teacher.shape[-1]))
        start = keras.initializers.GlorotUniform(seed=seed)(shape)
        variable = keras.Variable if hasattr(keras, "Variable") else tf.Variable
        name = f"feature_map_{len(maps)}"
        maps.append(None if shape[0] == shape[1] else variable(start, name=name))
    return maps


class _Step:
    """What `train_step` is while a teacher is there."""

    def __init__(
        self,
        model: Any,
        flavour: Flavour,
        distillation: Distillation,
        student: _Side,
        teacher: _Side,
        soft: Sequence[Callable[[Any, Any], Any]],
        maps: Sequence[Any],
        names: tuple[Sequence[str], Sequence[str]],
    ) -> None:
        self._model, self._three, self._keras = model, flavour is Flavour.KERAS3, import_keras(flavour)
        self._options, self._student, self._teacher, self._soft, self._maps = distillation, student, teacher, soft, maps
        self._names = names
        self._means = {name: self._keras.metrics.Mean(name=name) for name in ("loss", "distil_loss")}
        self._structure = getattr(model, "_outputs_struct", None) if self._three else None

    def begin_epoch(self) -> None:
        """Set the running means back."""
        for mean in self._means.values():
            mean.reset_state()

    def __call__(self, data: Any) -> dict[str, Any]:
        """Train on one batch and return the metrics so far."""
        model = self._model
        x, y, weights = self._keras.utils.unpack_x_y_sample_weight(data)
        targets = self._teacher(_for_teacher(x, *self._names), training=False)
        with tf.GradientTape() as tape:
            outputs, features = self._student(x, training=True)
            predicted = self._packed(outputs)
            extra = {"training": True} if self._three else {}
            hard = model.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weights, **extra)
            soft = self._distillation_loss(outputs, features, targets)
            total = self._total(hard, soft)
            scaled = self._scaled(total)
        self._apply(tape, scaled)
        metrics = dict(model.compute_metrics(x, y, predicted, weights))
        self._means["loss"].update_state(total)
        self._means["distil_loss"].update_state(soft)
        return {**metrics, **{name: mean.result() for name, mean in self._means.items()}}

    def _packed(self, outputs: list[Any]) -> Any:
        if len(outputs) == 1 and not isinstance(self._model.output_shape, (list, dict)):
            return outputs[0]
        if self._structure is not None:
            return self._keras.tree.pack_sequence_as(self._structure, outputs)
        return outputs

    def _distillation_loss(self, outputs: list[Any], features: list[Any], targets: tuple[list[Any], list[Any]]) -> Any:
        """The teacher's part: alpha times the outputs', and the features'."""
        soft = tf.add_n(
            [loss(a, tf.stop_gradient(b)) for loss, a, b in zip(self._soft, outputs, targets[0], strict=True)]
        )
        total = self._options.alpha * soft
        for ours, theirs, linear in zip(features, targets[1], self._maps, strict=True):
            mapped = _float(ours) if linear is None else tf.tensordot(_float(ours), tf.convert_to_tensor(linear), 1)
            total += self._options.feature_weight * tf.reduce_mean(tf.square(mapped - tf.stop_gradient(_float(theirs))))
        return total

    def _total(self, hard: Any, soft: Any) -> Any:
        """The labels' part keeps what regularisers add whole, whatever alpha is."""
        penalties = [_float(item) for item in self._model.losses]
        penalty = tf.add_n(penalties) if penalties else 0.0
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return (1.0 - self._options.alpha) * (_float(hard) - penalty) + penalty + soft / replicas

    def _scaled(self, total: Any) -> Any:
        optimizer = self._model.optimizer
        if hasattr(optimizer, "get_scaled_loss"):  # tf_keras, mixed_float16
            return optimizer.get_scaled_loss(total)
        return optimizer.scale_loss(total) if hasattr(optimizer, "scale_loss") else total

    def _apply(self, tape: Any, loss: Any) -> None:
        optimizer = self._model.optimizer
        variables = [*self._model.trainable_variables, *(item for item in self._maps if item is not None)]
        gradients = tape.gradient(loss, variables)
        if hasattr(optimizer, "get_unscaled_gradients"):
            gradients = optimizer.get_unscaled_gradients(gradients)
        pairs = [(gradient, item) for gradient, item in zip(gradients, variables, strict=True) if gradient is not None]
        optimizer.apply_gradients(pairs)
