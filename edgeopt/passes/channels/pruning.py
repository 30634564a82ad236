"""The pass: options, and the rounds of score, plan, cut, verify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...data.calibration import choose_samples
from ...data.dataset import Dataset, load_dataset
from ...errors import BudgetError, RecipeError, UsageError
from ...models.graph.rebuild import read_native
from ...models.load import flavour_of
from ...recipes.values import require_choice, require_number, require_whole
from ...training.context import PassContext
from ..base import Pass, PassResult, check_fractions, check_layers, check_needs, skipped_names
from .allocation import Ladder, allocate_globally, allocate_uniformly
from .cost import MEASURES, CostModel, Counts, Measure
from .dependencies import ChannelMap, Group, analyse
from .importance import CRITERIA, NEEDS_DATA, Evidence, Scores, loss_function
from .latency import LatencyTable, plan_latency
from .plan import Candidates, candidates, check_names, fixed_places, mask
from .report import ChannelReport, GroupChange, LatencyFigures
from .surgery import kept_outputs, remove_units
from .verify import verify


@dataclass(frozen=True, kw_only=True)
class ChannelPruning(Pass):
    """Remove the least important filters and neurons, with all that depends on them.

    One target is given: `fraction`, `latency_ms`, `latency_share`, or `layers` alone.

    Attributes:
        fraction: Fraction of the cost `of` to remove, in [0, 1); None by default.
        of: What the fraction is of: ``macs``, the default, ``params``, or ``bytes`` (of the int8 weights).
        latency_ms: Latency in milliseconds to come down to, as `PassContext.measure` measures it; None by default.
        latency_share: Share of the model's own latency, in (0, 1), to come down to, which is measured first; None by
            default.
        importance: ``l1``, the default, ``l2``, ``bn_gamma``, ``taylor``, ``apoz``, ``entropy`` or ``random``.
        multiple: Channel counts that are cut become multiples of this; 8 by default.
        minimum: Channels that every layer keeps at least; 8 by default.
        allocation: ``global``, the default, decides by importance and cost how far each layer is cut; ``uniform`` keeps
            the same share of every layer.
        normalise: Compare the relative losses of layers, as by default, or the scores as they are (see `allocation`).
        skip: Names of layers whose channels stay; none by default.
        layers: Layer name -> fraction of its channels to remove, in [0, 1); the others make up the rest of the target.
        steps: Rounds of cutting, with `PassContext.finetune` between them; 1 by default.
        samples: Samples that data-driven criteria look at; 256 by default.

    Raises:
        RecipeError: An option is out of its range, unknown, or contradicts another.

    Example:
        >>> result = ChannelPruning(fraction=0.5, of="macs").apply(model, PassContext())
        >>> result.report.removed("macs")
        0.503
    """

    fraction: float | None = None
    of: Measure = "macs"
    latency_ms: float | None = None
    latency_share: float | None = None
    importance: str = "l1"
    multiple: int = 8
    minimum: int = 8
    allocation: Literal["global", "uniform"] = "global"
    normalise: bool = True
    skip: tuple[str, ...] = ()
    layers: Mapping[str, float] = field(default_factory=dict)
    steps: int = 1
    samples: int = 256

    name = "channels"
    changes = ("macs",)

    def __post_init__(self) -> None:
        check_layers(self.layers, "0.5")
        object.__setattr__(self, "skip", skipped_names(self.skip))
        check_fractions({"fraction": self.fraction}, self.layers, "to remove")
        targets = [name for name in ("fraction", "latency_ms", "latency_share") if vars(self)[name] is not None]
        if len(targets) > 1:
            raise RecipeError(f"Received {' and '.join(targets)}; give the one that is the target.")
        if not targets and not self.layers:
            raise RecipeError(
                "Received no target; give fraction=..., latency_ms=..., latency_share=..., or layers={name: fraction}."
            )
        if self.latency_ms is not None:
            require_number("latency_ms", self.latency_ms, "a positive number of milliseconds", lambda value: value > 0)
        if self.latency_share is not None:
            require_number("latency_share", self.latency_share, "a fraction in (0, 1)", lambda value: 0 < value < 1)
        if self.for_latency and self.allocation == "uniform":
            raise RecipeError(f"Received {targets[0]} with allocation='uniform'; a latency needs allocation='global'.")
        require_choice("of", self.of, MEASURES)
        require_choice("importance", self.importance, CRITERIA)
        require_choice("allocation", self.allocation, ("global", "uniform"))
        for key in ("multiple", "minimum", "steps", "samples"):
            require_whole(key, vars(self)[key], 1)
        if self.steps > 1 and self.fraction is None:
            raise RecipeError(f"Received steps={self.steps} without fraction; only a fraction is approached in steps.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of the context that these options need."""
        data = ("train",) if self.importance in NEEDS_DATA else ()
        training = ("finetune",) if self.steps > 1 else ()
        device = ("convert", "measure") if self.for_latency else ()
        return (*data, *training, *device)

    @property
    def for_latency(self) -> bool:
        """Whether the target is a latency."""
        return self.latency_ms is not None or self.latency_share is not None

    def apply(self, model: Any, context: PassContext) -> PassResult:
        """Return the smaller model, of the flavour of `model`, uncompiled, and a `ChannelReport`.

        Raises:
            UsageError: An unknown layer name, something in `needs` that is missing, or MACs of an open input size.
            DataError: Data that does not fit the model.
            ModelError: Nothing can be removed, or the model is no graph of layers.
            BudgetError: The target cannot be reached.
        """
        check_needs(self, context)
        data = load_dataset(context.train, limit=self.samples) if self.importance in NEEDS_DATA else None
        if data is not None and data.count > self.samples:
            data = data.take(choose_samples(data.count, data.labels, self.samples, context.seed))
        run = _Run(self, context, data)
        for step in range(1, self.steps + 1):
            if step > 1:
                model = run.finetuned(model)
            context.progress(f"channels: step {step} of {self.steps}, importance {self.importance}")
            model = run.cut(model, self._fraction_at(step))
        return PassResult(model, run.report())

    def _fraction_at(self, step: int) -> float | None:
        """The fraction removed after `step`: the same share of what is left goes in each step."""
        return None if self.fraction is None else 1.0 - (1.0 - self.fraction) ** (step / self.steps)


class _Run:
    """The rounds of one `apply`: what was there at the beginning, and what is kept of it."""

    def __init__(self, options: ChannelPruning, context: PassContext, data: Dataset | None) -> None:
        self.options = options
        self.context = context
        self.data = data
        self.first: ChannelMap | None = None
        self.kept: dict[str, npt.NDArray[np.int64]] = {}
        self.costs: dict[str, tuple[float, float]] = {}
        self.original: dict[str, int] = {}
        self.worst = 0.0
        self.latency: LatencyFigures | None = None
        self.found: Candidates | None = None

    def finetuned(self, model: Any) -> Any:
        """Train the model between two steps."""
        finetune = self.context.finetune
        trained = model if finetune is None else finetune(model)
        if flavour_of(trained) is not flavour_of(model):
            raise UsageError(
                f"finetune= returned {type(trained).__name__}; expected the model that it was given, trained."
            )
        return trained

    def cut(self, model: Any, fraction: float | None) -> Any:
        """Score, plan, cut and verify once."""
        options = self.options
        channel_map = analyse(read_native(model))
        if self.first is None:
            self._begin(channel_map)
        scores = self._scores(model, channel_map)
        found = self.found = candidates(channel_map, scores, options.skip, options.multiple, options.minimum)
        ladder = Ladder(found.groups, found.scores, options.multiple, options.minimum, normalise=options.normalise)
        fixed = fixed_places(found.groups, ladder, options.layers, self.original)
        if options.for_latency:
            counts = self._counts_for_latency(model, channel_map, found, ladder, fixed)
        else:
            counts = self._counts_for_fraction(channel_map, found, ladder, fixed, fraction)
        kept = mask(channel_map, found.groups, found.scores, counts)
        smaller = remove_units(model, channel_map, kept)
        self.worst = max(self.worst, verify(smaller, channel_map, kept, seed=self.context.seed))
        for name, indices in kept_outputs(channel_map, kept).items():
            self.kept[name] = self.kept[name][indices] if name in self.kept else indices
        self._account(channel_map, found.groups, counts)
        return smaller

    def _begin(self, channel_map: ChannelMap) -> None:
        self.first = channel_map
        self.original = {group.name: len(group.units) for group in channel_map.groups}
        check_names(channel_map, self.options.skip, "skip")
        check_names(channel_map, self.options.layers, "layers")

    def _scores(self, model: Any, channel_map: ChannelMap) -> Scores:
        options, context = self.options, self.context
        loss = loss_function(model, channel_map, context.loss) if options.importance == "taylor" else None
        return CRITERIA[options.importance](Evidence(channel_map, self.data, loss, context.seed))

    def _counts_for_fraction(
        self, channel_map: ChannelMap, found: Candidates, ladder: Ladder, fixed: dict[int, int], fraction: float | None
    ) -> Counts:
        options = self.options
        cost = CostModel(channel_map, found.groups, options.of)
        total = self.costs.get(options.of, (cost.total,))[0]
        limit = np.inf if fraction is None else total * (1.0 - fraction) * (1.0 + 1e-12)
        allocate = allocate_uniformly if options.allocation == "uniform" else allocate_globally
        counts = allocate(ladder, cost.of, limit, fixed)
        reached = float(cost.of(counts[np.newaxis])[0])
        if reached > limit:
            raise BudgetError(
                f"Received fraction={options.fraction} of the {options.of}; at most {1.0 - reached / total:.3f} can be "
                f"removed with multiple={options.multiple}, minimum={options.minimum} and {len(found.skipped)} groups "
                "that stay; lower one of them."
            )
        return counts

    def _counts_for_latency(
        self, model: Any, channel_map: ChannelMap, found: Candidates, ladder: Ladder, fixed: dict[int, int]
    ) -> Counts:
        context, options = self.context, self.options
        convert, measure = context.convert, context.measure
        if convert is None or measure is None:
            raise UsageError("A latency target needs convert=... and measure=... in the context.")

        def timer(counts: Counts) -> float:
            candidate = remove_units(model, channel_map, mask(channel_map, found.groups, found.scores, counts))
            return float(measure(convert(candidate)))

        table = LatencyTable(ladder, CostModel(channel_map, found.groups, "macs"), timer, context.advance)
        target = options.latency_ms or table.before_ms * (options.latency_share or 1.0)
        plan = plan_latency(ladder, table, timer, target, fixed)
        self.latency = LatencyFigures(plan.before_ms, target, plan.after_ms, plan.measurements)
        return plan.counts

    def _account(self, channel_map: ChannelMap, groups: tuple[Group, ...], counts: Counts) -> None:
        for measure in MEASURES:
            if measure == "macs" and channel_map.open_step:
                continue
            cost = CostModel(channel_map, groups, measure)
            before = self.costs.get(measure, (cost.total,))[0]
            self.costs[measure] = (before, float(cost.of(counts[np.newaxis])[0]))

    def report(self) -> ChannelReport:
        """Return the account of all rounds."""
        if self.first is None or self.found is None:
            raise UsageError("No step was run; expected steps of at least 1.")
        places = {cut.name: cut.weights[cut.filters[0]][cut.filters[1]] for cut in self.first.cuts if cut.filters}
        changes = []
        skipped = {entry.subject for entry in self.found.skipped}
        for group in self.first.groups:
            if group.name in skipped:
                continue
            mine = np.flatnonzero(np.isin(self.first.units[places[group.name]], group.units))
            after = int(np.count_nonzero(np.isin(mine, self.kept[group.name])))
            changes.append(GroupChange(group.name, group.layers, group.channels, after))
        return ChannelReport(
            self.options.importance, tuple(changes), self.costs, self.kept, self.worst, self.latency, self.found.skipped
        )
