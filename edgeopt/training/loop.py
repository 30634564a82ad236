"""`train`, the one training loop: compile, go on from a checkpoint, fit, watch each step and each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import DataError, ModelError, UsageError, one_line
from ..models.detect import Flavour
from ..models.load import flavour_of, import_keras
from .batch_norm import renew_statistics
from .checkpoint import Checkpoint, purpose_of
from .compiling import build_state, compile_model
from .context import PassContext, check_name
from .determinism import reproducible
from .feed import Feed, open_feed
from .losses import check_labels, loss_of, loss_text
from .options import Training
from .report import Trained
from .strategies import devices_of
from .watch import Keep, Watch, as_callback

if TYPE_CHECKING:
    from .distillation_step import AttachedTeacher


def train(
    model: Any,
    context: PassContext,
    training: Training,
    *,
    name: str,
    callbacks: Sequence[Any] = (),
    keep: Keep | None = None,
) -> Trained:
    """Compile and fit `model` in place, with its own flavour of Keras.

    The same seed, data and options give the same weights to the bit on one machine. With `PassContext.checkpoints` the
    state is written after each epoch, and a run that was killed goes on from there to the weights of an unbroken one.
    After so few steps that the moving statistics of BatchNormalization have not followed the weights, they are measured
    on training data.

    Args:
        model: A Keras 3 or tf_keras model, wrapped by TFMOT or not.
        context: Its data, loss, metrics, seed, distillation, callbacks and checkpoint folder are used.
        training: How long and how.
        name: The name of the pass, by which errors and the checkpoint are called.
        callbacks: Keras callbacks of the model's flavour that the pass needs; those of the context are added if they
            are of this flavour.
        keep: Called with the model after each step, to restore what the step must not change.

    Raises:
        DataError: Data that do not fit the model.
        UsageError: No loss, or options that do not go with this model; a checkpoint of other options.
        ModelError: A model without trainable weights.
        TrainingDivergedError: The loss or a weight became NaN or infinite; the last good checkpoint stays.
        OutputError: A checkpoint cannot be written.

    Example:
        >>> train(model, PassContext(train=(x, y), loss="mse"), Training(epochs=2), name="finetune").history
        [{'loss': 0.31}, {'loss': 0.27}]
    """
    if training.epochs == 0:
        return Trained(model)
    if flavour_of(model) is None:
        raise UsageError(f"Received {type(model).__name__}; expected a Keras model, of Keras 3 or of tf_keras.")
    check_name(name)
    if training.strategy is not None or training.mixed_precision is not None:
        from .stand_in import run_elsewhere

        done = run_elsewhere(_train, model, context, training, name, callbacks, keep)
    else:
        done = _train(model, context, training, name, callbacks, keep)
        done = replace(done, devices=devices_of(None))
    if any(device.startswith(("GPU", "TPU")) for device in done.devices) or len(done.devices) > 1:
        context.progress(f"{name}: trained on {', '.join(done.devices)}")
    return replace(done, renewed_norms=renew_statistics(model, context, training, done.steps))


def _train(
    model: Any, context: PassContext, training: Training, name: str, callbacks: Sequence[Any], keep: Keep | None
) -> Trained:
    """Compile and fit `model` itself, on this device and in its own precision."""
    if not model.trainable_weights:
        raise ModelError(
            f"Pass {name!r} received a model without trainable weights; set trainable = True on what is to be trained."
        )
    if context.train is None:
        raise DataError(f"Pass {name!r} needs training data, and got none; give it as train=...")
    feed, validation = _feeds(model, context, training)
    loss = loss_of(model, context, name)
    check_labels(feed.first()[1], model, loss, "training")
    with ExitStack() as stack:
        reseed = stack.enter_context(reproducible(model, context.seed))
        steps = None if feed.steps is None else feed.steps * training.epochs
        start = [weight.numpy() for weight in model.weights] if context.checkpoints is not None else []
        compile_model(model, loss, context.metrics, training, steps)
        teacher = _attached_teacher(stack, model, context, loss, feed)
        build_state(model, feed.first(), () if teacher is None else teacher.variables)
        checkpoint = _checkpoint(context, training, name, loss, start)
        watch = Watch(model, training, context, name, keep, reseed, checkpoint, teacher)
        watch.resume()
        if watch.state.epoch < training.epochs and not watch.state.stopped:
            flavour = flavour_of(model) or Flavour.KERAS3
            _fit(model, flavour, feed, validation, watch, [*_own(context.callbacks, flavour), *callbacks])
        watch.finish()
    state, steps = watch.state, int(model.optimizer.iterations.numpy())
    if state.best_epoch is not None:
        steps = steps * (state.best_epoch + 1) // state.epoch
    return Trained(model, state.history, watch.resumed_at, state.best_epoch, steps)


def _attached_teacher(
    stack: ExitStack, model: Any, context: PassContext, loss: Any, feed: Feed
) -> AttachedTeacher | None:
    """Attach the context's teacher, if there is one."""
    if context.distillation is None:
        return None
    from .distillation_step import attached

    return stack.enter_context(attached(model, context.distillation, loss, feed.first()[0], context.seed))


def _feeds(model: Any, context: PassContext, training: Training) -> tuple[Feed, Feed | None]:
    feed = open_feed(
        context.train, model, batch_size=training.batch_size, steps=training.steps_per_epoch, seed=context.seed
    )
    if context.validation is None:
        return feed, None
    return feed, open_feed(context.validation, model, batch_size=training.batch_size, shuffle=False, what="validation")


def _checkpoint(
    context: PassContext, training: Training, name: str, loss: Any, start: Sequence[Any]
) -> Checkpoint | None:
    if context.checkpoints is None:
        return None
    facts = {**training.to_dict(), "pass": name, "seed": context.seed, "loss": loss_text(loss)}
    if context.distillation is not None:
        facts["distillation"] = {**context.distillation.to_dict(), "teacher": None}  # its name may be automatic
    return Checkpoint(context.checkpoints / f"{name}.npz", purpose_of(start, facts))


def _own(callbacks: Sequence[Any], flavour: Flavour) -> list[Any]:
    """Return those of the user's callbacks that are of this flavour, or of none."""
    bases = {each: import_keras(each).callbacks.Callback for each in (Flavour.KERAS3, Flavour.TF_KERAS)}
    other = bases[Flavour.TF_KERAS if flavour is Flavour.KERAS3 else Flavour.KERAS3]
    return [item for item in callbacks if not isinstance(item, other)]


def _fit(model: Any, flavour: Flavour, feed: Feed, validation: Feed | None, watch: Watch, callbacks: list[Any]) -> None:
    import tensorflow as tf

    first, last = watch.state.epoch, watch.training.epochs
    try:
        model.fit(
            feed.make(first, last),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=feed.steps if feed.continuous or watch.training.steps_per_epoch else None,
            validation_data=None if validation is None else validation.make(0, 1),
            shuffle=False,  # the feed has done it
            verbose=0,
            callbacks=[*callbacks, as_callback(import_keras(flavour), watch)],
        )
    except tf.errors.OpError as error:
        gist = one_line(error.message, 300)
        raise DataError(f"Pass {watch.name!r} could not train on these data: {gist}") from error
