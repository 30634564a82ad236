"""Watching a training: each step and each epoch, divergence, early stop, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingDivergedError, UsageError
from .checkpoint import Checkpoint, State
from .context import PassContext
from .determinism import Reseed
from .options import Training

if TYPE_CHECKING:
    from .distillation_step import AttachedTeacher


Keep = Callable[[Any], None]


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
        teacher: AttachedTeacher | None = None,
    ) -> None:
        self.model, self.training, self.name = model, training, name
        self.state = State()
        self.resumed_at = 0
        self._context, self._keep, self._reseed, self._checkpoint = context, keep, reseed, checkpoint
        self._teacher = teacher
        self._extra = [] if teacher is None else list(teacher.variables)
        self._epoch, self._begun = 0, time.monotonic()

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
        self._epoch, self._begun = epoch, time.monotonic()
        self._reseed(epoch)
        if self._teacher is not None:
            self._teacher.begin_epoch()

    def step_ends(self, step: int, logs: Mapping[str, float] | None, steps: int | None = None) -> None:
        """Stop at once when the loss is no number any more; `steps` is how many the epoch has, where that is known."""
        self._context.advance(f"{self.name}: epoch {self._epoch + 1} of {self.training.epochs}", step + 1, steps)
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            raise self._diverged(f"the loss became {loss} in epoch {self._epoch + 1}, step {step + 1}")
        if self._keep is not None:
            self._keep(self.model)

    def epoch_ends(self, epoch: int, logs: Mapping[str, float] | None) -> bool:
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
        self._context.progress(f"{self.name}: epoch {epoch + 1} of {self.training.epochs}: {shown}{self._time(epoch)}")
        return state.stopped

    def finish(self) -> None:
        """Give the model the weights of the best epoch, where that was asked for."""
        if self.training.early_stop is not None and len(self.state.best):
            _assign(self.model.weights, self.state.best)

    def _time(self, epoch: int) -> str:
        """Return how long the epoch took, and about how long those behind it will take."""
        took, behind = time.monotonic() - self._begun, self.training.epochs - epoch - 1
        left = f", about {took * behind:.0f} s left" if behind and not self.state.stopped else ""
        return f" ({took:.0f} s{left})"

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
            state.best_value, state.best_epoch = metrics[stop.metric], state.epoch - 1
            state.best, state.wait = weights, 0
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
            watch.step_ends(batch, logs, self.params.get("steps"))

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
