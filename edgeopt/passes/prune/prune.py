"""Pruning: the least important weights become zero, one by one, in blocks, or m of every n; shapes stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ...errors import RecipeError
from ...recipes.values import require_choice, require_number, require_whole
from ...training.context import PassContext
from ...training.feed import steps_of
from ...training.loop import train
from ...training.losses import with_loss_of
from ...training.options import Training
from ...training.report import Trained
from ...training.zero_keeper import zero_keeper
from ..base import Pass, PassResult, check_fractions, check_layers, check_needs, refuse_half_precision, skipped_names
from ..properties import measure_model
from ..tfmot import private
from ..tfmot.wrapping import Wrappable, carry_back, check_any, check_layer_names, wrap, wrappable
from .report import PruneReport, compare
from .schedule import Steps, check_step, plan_steps, tfmot_schedule
from .select import Selection, make_prunable, select

SCHEDULES = ("polynomial", "constant")
CRITERIA = ("magnitude", "random")
POOLING = ("avg", "max")


@dataclass(frozen=True, kw_only=True)
class Prune(Pass):
    """Set weights to zero while the model trains on, with TFMOT's `prune_low_magnitude`.

    Attributes:
        sparsity: Fraction of each kernel to zero, in [0, 1); None, the default, prunes only what `layers` names.
        layers: Layer name -> its own sparsity, in [0, 1); none by default.
        skip: Names of layers that stay as they are; none by default.
        sparsity_schedule: ``polynomial``, the default, raises the sparsity step by step; ``constant`` goes there at
            once, at `begin`.
        initial_sparsity: Sparsity at which ``polynomial`` begins, in [0, 1); 0 by default.
        power: Exponent of ``polynomial``, above 0; 3 by default.
        begin: First pruning step: a step when it is an int, a fraction of the run in [0, 1] when it is a float; 0.0 by
            default.
        end: Where ``polynomial`` reaches its target, as `begin`, 0.75 by default; the rest of the run lets the other
            weights recover.
        frequency: Steps between two updates of the masks, at least 1; None, the default, spreads some twenty of them.
        m_by_n: (2, 4) zeroes 2 of every 4 consecutive input weights, instead of a sparsity; None by default.
        block_size: (rows, columns) of a Dense kernel that are zeroed together; (1, 1), single weights, by default.
        block_pooling: What counts of a block: its ``avg`` (the default) or its ``max`` magnitude.
        criterion: ``magnitude``, the default, or ``random``: the baseline that any criterion must beat.
        keep_first: Leave the layers that the model's inputs go into as they are; by default not.
        keep_last: Leave the layers that make the outputs as they are; by default not.
        keep_zeros: Keep, by default, at zero what an earlier pass has pruned.
        training: The fine-tuning, one epoch by default; with ``epochs=0`` the weights are zeroed once, and nothing is
            trained.

    Raises:
        RecipeError: An option is out of its range, unknown, or contradicts another.

    Example:
        >>> result = Prune(sparsity=0.8).apply(model, PassContext(train=(x, y), loss="mse"))
        >>> result.report.layers[0].after
        0.8
    """

    sparsity: float | None = None
    layers: Mapping[str, float] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    sparsity_schedule: str = "polynomial"
    initial_sparsity: float = 0.0
    power: float = 3.0
    begin: float = 0.0
    end: float = 0.75
    frequency: int | None = None
    m_by_n: tuple[int, int] | None = None
    block_size: tuple[int, int] = (1, 1)
    block_pooling: str = "avg"
    criterion: str = "magnitude"
    keep_first: bool = False
    keep_last: bool = False
    keep_zeros: bool = True
    training: Training = field(default_factory=Training)

    name = "prune"
    leaves = ("size_bytes", "latency_ms")
    old_options: ClassVar[Mapping[str, str]] = {"schedule": "sparsity_schedule"}

    def __post_init__(self) -> None:
        check_layers(self.layers, "0.8")
        object.__setattr__(self, "skip", skipped_names(self.skip))
        refuse_half_precision(self.name, self.training.mixed_precision)
        fractions = {"initial_sparsity": self.initial_sparsity, "sparsity": self.sparsity}
        check_fractions(fractions, self.layers, "of zeros")
        require_choice("sparsity_schedule", self.sparsity_schedule, SCHEDULES)
        require_choice("criterion", self.criterion, CRITERIA)
        require_choice("block_pooling", self.block_pooling, POOLING)
        check_step("begin", self.begin)
        check_step("end", self.end)
        self._check_course()
        if self.frequency is not None:
            require_whole("frequency", self.frequency, 1)
        require_number("power", self.power, "a positive exponent", lambda value: value > 0)
        self._check_pattern()
        if self.training.strategy is not None and (self.m_by_n is not None or self.criterion != "magnitude"):
            what = "m_by_n" if self.m_by_n is not None else f"criterion={self.criterion!r}"
            raise RecipeError(
                f"Received {what} together with a strategy, under which TFMOT's wrappers are made again without it; "
                "train this pass without strategy."
            )

    def _check_course(self) -> None:
        if self.sparsity_schedule != "polynomial":
            return
        if type(self.begin) is type(self.end) and self.end < self.begin:
            raise RecipeError(
                f"Received begin={self.begin} and end={self.end}; expected the pruning to begin before it ends."
            )
        targets = [*self.layers.values(), *([] if self.sparsity is None else [self.sparsity])]
        if targets and self.initial_sparsity > min(targets):
            raise RecipeError(
                f"Received initial_sparsity={self.initial_sparsity} and a target of {min(targets)}; expected the "
                "sparsity to grow."
            )

    def _check_pattern(self) -> None:
        object.__setattr__(self, "block_size", _pair("block_size", self.block_size))
        if self.m_by_n is None:
            if self.sparsity is None and not self.layers:
                raise RecipeError("Received no target; give sparsity=..., layers={name: sparsity} or m_by_n=(2, 4).")
            return
        object.__setattr__(self, "m_by_n", _pair("m_by_n", self.m_by_n))
        if not self.m_by_n[0] < self.m_by_n[1]:
            raise RecipeError(f"Received m_by_n={self.m_by_n}; expected (m, n), m zeros in every n weights, m < n.")
        if self.sparsity is not None or self.layers or self.block_size != (1, 1):
            raise RecipeError("Received m_by_n together with sparsity, layers or block_size; the pattern says it all.")

    @property
    def pattern(self) -> str:
        """What is zeroed together."""
        if self.m_by_n is not None:
            return f"{self.m_by_n[0]}:{self.m_by_n[1]}"
        return "unstructured" if self.block_size == (1, 1) else f"blocks {self.block_size[0]}x{self.block_size[1]}"

    def target_of(self, layer: str) -> float | None:
        """Return the sparsity that is wanted of a layer, or None."""
        if self.m_by_n is not None:
            return self.m_by_n[0] / self.m_by_n[1]
        return self.layers.get(layer, self.sparsity)

    def apply(self, model: Any, context: PassContext) -> PassResult:
        """Return the pruned model, flat, of the flavour of `model`, uncompiled, and a `PruneReport`.

        Raises:
            UsageError: An unknown layer name, or no loss; `DataError` for data that do not fit.
            RecipeError: A schedule that does not fit the length of the run.
            ModelError: Nothing can be pruned, a layer is named that cannot be, or a layer has no tf_keras counterpart.
            TrainingDivergedError: The loss became NaN or infinite.
        """
        check_needs(self, context)
        source = wrappable(model, context.seed)
        check_layer_names(source, self.skip, "skip")
        check_layer_names(source, self.layers, "layers")
        selection = select(source, self)
        check_any(source, selection.targets, selection.skipped, "prune")
        before = measure_model(source.target)
        run = _Run(self, context, source, selection)
        done = run.train(model)
        result = carry_back(source, run.stripped(), context.seed)
        layers, sparsity = compare(selection.targets, before, measure_model(result))
        own = {"criterion": self.criterion, "pattern": self.pattern, "layers": layers, "sparsity": sparsity}
        return PassResult(result, PruneReport.of(self.training, done, selection.skipped, **own))


def _pair(name: str, value: Any) -> tuple[int, int]:
    """Return an option of two positive whole numbers as a tuple."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise RecipeError(f"Received {name}={value!r}; expected two whole numbers.")
    for number in value:
        require_whole(f"a number of {name}", number, 1)
    return value[0], value[1]


class _Run:
    """One pruning: the wrapped model, its training, and what is left without the wrappers."""

    def __init__(self, options: Prune, context: PassContext, source: Wrappable, selection: Selection) -> None:
        self.options, self.context, self.selection = options, context, selection
        self.steps = self._steps()
        self.wrappers: dict[str, Any] = {}
        self.model = wrap(source, self._wrapper)
        self.keep: Callable[[Any], None] | None = zero_keeper(source.model)[0] if options.keep_zeros else None
        if options.criterion == "random":
            generator = np.random.default_rng(context.seed)
            for wrapper in self.wrappers.values():
                weights = [weight.numpy() for weight in private.pruned_weights(wrapper)]
                # What is zero already is chosen first, as it would be by magnitude.
                scores = [generator.random(weight.shape, np.float32) * (weight != 0) for weight in weights]
                private.prune_by_scores(wrapper, scores)

    def train(self, model: Any) -> Trained:
        """Train and prune in step, then see to it that the target is reached."""
        import tensorflow_model_optimization as tfmot

        options, done = self.options, Trained(self.model)
        if options.training.epochs:
            context = with_loss_of(model, self.context, options.name)
            callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
            done = train(self.model, context, options.training, name=options.name, callbacks=callbacks, keep=self.keep)
        for name, wrapper in self.wrappers.items():
            private.apply_masks(wrapper)
            if self._falls_short(wrapper, self.selection.targets[name]):
                # No training, one that an early stop cut short or took back, or a layer that is called several times.
                private.update_masks(wrapper, 1 if options.m_by_n is not None else self.last_update)
        if self.keep is not None:
            self.keep(self.model)
        return done

    def stripped(self) -> Any:
        """Return the trained model without the wrappers."""
        import tensorflow_model_optimization as tfmot

        return tfmot.sparsity.keras.strip_pruning(self.model)

    @property
    def last_update(self) -> int:
        """The step at which the masks reach the target."""
        return self.steps.begin if self.options.sparsity_schedule == "constant" else self.steps.end

    def _steps(self) -> Steps:
        options, training = self.options, self.options.training
        if training.epochs == 0:
            return Steps(1, 1, 1)
        each = steps_of(self.context.train, training.batch_size, training.steps_per_epoch)
        if each is None:
            raise RecipeError("The training data do not tell how many steps they make; give training steps_per_epoch.")
        end = options.end if options.sparsity_schedule == "polynomial" else 1.0
        return plan_steps(each * training.epochs, options.begin, end, options.frequency)

    def _wrapper(self, name: str, layer: Any) -> Any:
        import tensorflow_model_optimization as tfmot

        target = self.selection.targets.get(name)
        if target is None:
            return layer
        options = self.options
        wrapper = tfmot.sparsity.keras.prune_low_magnitude(
            make_prunable(layer),
            pruning_schedule=tfmot_schedule(
                self.steps, options.sparsity_schedule, min(options.initial_sparsity, target), target, options.power
            ),
            block_size=options.block_size,
            block_pooling_type=options.block_pooling.upper(),
            sparsity_m_by_n=options.m_by_n,
        )
        self.wrappers[name] = wrapper
        return wrapper

    def _falls_short(self, wrapper: Any, target: float) -> bool:
        for weight in private.pruned_weights(wrapper):
            array = weight.numpy()
            zeros = int(np.count_nonzero(array == 0))
            # TFMOT keeps round(size * (1 - target)) weights, and at least one; blocks at the rim are cut.
            if zeros < array.size - max(round(array.size * (1.0 - target)), 1):
                return True
        return False
