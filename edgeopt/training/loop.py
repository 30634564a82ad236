"""One run of `train`: compile, go on from a checkpoint, fit, watch each step and each epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, ModelError, TrainingDivergedError, UsageError
from ..models.detect import Flavour
from ..models.load import flavour_of, import_keras
from .base import PassContext, check_name
from .training import Trained, Training
from .training_checkpoint import Checkpoint, State, purpose_of
from .training_compile import build_state, check_labels, compile_model, loss_of, loss_text
from .training_data import Feed, open_feed
from .training_norms import renew_statistics
from .training_seeds import Reseed, reproducible

if TYPE_CHECKING:
    from .distil_step import Lesson

Keep = Callable[[Any], None]


def run(
    model: Any, context: PassContext, training: Training, name: str, callbacks: Sequence[Any], keep: Keep | None
) -> Trained:
    """Train `model` in place; see `training.train`."""
    if flavour_of(model) is None:
        raise UsageError(f"Received {type(model).__name__}; expected a Keras model, of Keras 3 or of tf_keras.")
    check_name(name)
    if training.strategy is not None or training.mixed_precision is not None:
        from .training_elsewhere import run_elsewhere

        done = run_elsewhere(_train, model, context, training, name, callbacks, keep)
    else:
        done = _train(model, context, training, name, callbacks, keep)
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
        compile_model(model, context, training, steps, name)
        lesson = _lesson(stack, model, context, loss, feed)
        build_state(model, feed.first(), () if lesson is None else lesson.variables)
        checkpoint = _checkpoint(context, training, name, loss, start)
        watch = Watch(model, training, context, name, keep, reseed, checkpoint, lesson)
        watch.resume()
        if watch.state.epoch < training.epochs and not watch.state.stopped:
            flavour = flavour_of(model) or Flavour.KERAS3
            _fit(model, flavour, feed, validation, watch, [*_own(context.callbacks, flavour), *callbacks])
        watch.finish()
    state, steps = watch.state, int(model.optimizer.iterations.numpy())
    if state.best_epoch is not None:
        steps = steps * (state.best_epoch + 1) // state.epoch
    return Trained(model, state.history, watch.resumed_at, state.best_epoch, steps)


def _lesson(stack: ExitStack, model: Any, context: PassContext, loss: Any, feed: Feed) -> Lesson | None:
    """Attach the context's teacher, if there is one."""
    if context.distillation is None:
        return None
    from .distil_step import attached

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
        gist = " ".join(str(error.message).split())[:300]
        raise DataError(f"Pass {watch.name!r} could not train on these data: {gist}") from error


class Watch:
    """Looks at each step and each epoch of a training: divergence, early stop, checkpoints, random numbers."""

    def __init__(
        self,
        model: Any,
        training: Training,
        context: PassContext,
        name: str,
        keep: Keep | None,
        reseed: Reseed,
        checkpoint: Checkpoint | None,
        lesson: Lesson | None = None,
    ) -> None:
        self.model, self.training, self.name = model, training, name
        self.state = State()
        self.resumed_at = 0
        self._context, self._keep, self._reseed, self._checkpoint = context, keep, reseed, checkpoint
        self._lesson = lesson
        self._extra = [] if lesson is None else list(lesson.variables)
        self._epoch = 0

    def resume(self) -> None:
        """Go to where the checkpoint is, if there is one."""
        found = None if self._checkpoint is None else self._checkpoint.read()
        if found is None:
            return
        self.model.optimizer.build([*self.model.trainable_variables, *self._extra])
        _assign(self.model.weights, found.model)
        _assign(self._others(), found.optimizer)
        self.state, self.resumed_at = found, found.epoch
        self._context.progress(f"{self.name}: going on after epoch {found.epoch} of {self.training.epochs}")

    def epoch_begins(self, epoch: int) -> None:
        """Set every random state to what this epoch starts from."""
        self._epoch = epoch
        self._reseed(epoch)
        if self._lesson is not None:
            self._lesson.begin_epoch()

    def step_ends(self, step: int, logs: dict[str, Any] | None) -> None:
        """Stop at once when the loss is no number any more."""
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            raise self._diverged(f"the loss became {loss} in epoch {self._epoch + 1}, step {step + 1}")
        if self._keep is not None:
            self._keep(self.model)

    def epoch_ends(self, epoch: int, logs: dict[str, Any] | None) -> bool:
        """Note the metrics, judge them, write the checkpoint; return whether the training is to end."""
        metrics = {key: float(value) for key, value in (logs or {}).items()}
        weights = [weight.numpy() for weight in self.model.weights]
        for weight, array in zip(self.model.weights, weights, strict=True):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise self._diverged(f"the weight {weight.name!r} became infinite or NaN in epoch {epoch + 1}")
        state = self.state
        state.epoch, state.model = epoch + 1, weights
        state.history.append(metrics)
        state.stopped = self._judge(metrics, weights)
        if self._checkpoint is not None and _writes():
            state.optimizer = [item.numpy() for item in self._others()]
            self._checkpoint.write(state)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
        self._context.progress(f"{self.name}: epoch {epoch + 1} of {self.training.epochs}: {shown}")
        return state.stopped

    def finish(self) -> None:
        """Give the model the weights of the best epoch, where that was asked for."""
        if self.training.early_stop is not None and len(self.state.best):
            _assign(self.model.weights, self.state.best)

    def _others(self) -> list[Any]:
        """The optimiser's variables, and those that a distillation trains."""
        return [*optimizer_variables(self.model), *self._extra]

    def _judge(self, metrics: dict[str, float], weights: list[Any]) -> bool:
        stop, state = self.training.early_stop, self.state
        if stop is None:
            return False
        if stop.metric not in metrics:
            known = ", ".join(metrics)
            raise UsageError(f"early_stop watches {stop.metric!r}, and the training has {known}; name one of them.")
        if stop.improves(metrics[stop.metric], state.best_value):
            state.best_value, state.best_epoch, state.best, state.wait = (
                metrics[stop.metric],
                state.epoch - 1,
                weights,
                0,
            )
            return False
        state.wait += 1
        return state.wait >= stop.patience

    def _diverged(self, what: str) -> TrainingDivergedError:
        kept = "nothing was written yet"
        if self._checkpoint is not None and self._checkpoint.path.is_file():
            kept = f"the checkpoint {self._checkpoint.path} holds the state after epoch {self.state.epoch}"
        elif self._checkpoint is None:
            kept = "no checkpoints were asked for"
        return TrainingDivergedError(
            f"Pass {self.name!r} diverged: {what}; {kept}; lower the learning rate (it was "
            f"{self.training.learning_rate:g}) or look for values in the data that are not finite."
        )


def as_callback(keras: Any, watch: Watch) -> Any:
    """Return `watch` as a callback of this flavour; it must be the last one, to see what the others did."""

    class _Callback(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            watch.epoch_begins(epoch)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            watch.step_ends(batch, logs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if watch.epoch_ends(epoch, logs):
                self.model.stop_training = True

    return _Callback()


def _writes() -> bool:
    """Whether this process is the one that writes checkpoints: the first of several workers, or the only one."""
    import tensorflow as tf

    return not tf.distribute.has_strategy() or bool(tf.distribute.get_strategy().extended.should_checkpoint)


def optimizer_variables(model: Any) -> list[Any]:
    """Return the variables of the model's optimiser, in a fixed order."""
    found = model.optimizer.variables
    return list(found() if callable(found) else found)


def _assign(variables: Sequence[Any], arrays: Sequence[Any]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
