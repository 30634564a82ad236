"""Leave the fewest operators of an int8 file float that bring its outputs near enough to the model's."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UsageError, nearest
from ..flatbuffer.model import Operator
from .outputs import fed
from .rewrite import put_names
from .scored import Scored
from .trials import Tell, Trials

_SAME = 0.05  # decibels that make no difference
_EACH = 0.01  # what an operator takes besides its share of MACs and bytes, for it needs conversions
_TIMED_S = 1.0
_ROUNDS = 100


@dataclass(frozen=True)
class FloatOperator:
    """An operator that stayed float on request.

    Attributes:
        op: Its name.
        layer: The layer of the Keras model that it comes from; "" where its name does not tell.
        tensor: Full name of its result.
        macs_share: Its share of all multiply-accumulates, in [0, 1].
    """

    op: str
    layer: str
    tensor: str
    macs_share: float


@dataclass(frozen=True)
class Worth:
    """What a file is worth and what it takes.

    Attributes:
        snr_db: Signal to noise of the worst output.
        drop: How much the metric is worse than the float file's; None where it is not the goal.
        size_bytes: Of the file.
        latency_ms: The least of one inference in `Selection.runtime`; None where nothing was compared.
    """

    snr_db: float
    drop: float | None
    size_bytes: int
    latency_ms: float | None = None


@dataclass(frozen=True)
class Selection:
    """Which operators stayed float, what for, and what that costs.

    Attributes:
        asked: ``auto``, a number, or names.
        goal: What was to be reached, in words; "" for what needs none.
        reached: Whether it was.
        operators: Those that stayed float; none where nothing reached the goal, or int8 did.
        macs_share: Their share of all multiply-accumulates, in [0, 1].
        kept: Names of all float results, with those of operators that only move values between them.
        int8: The file without them.
        selective: The file with them; None without any.
        best: The best that was found on the way, in the goal's unit; None without a goal.
        tried: How many files were made.
        runtime: What timed them.
        seconds: How long the search took.
    """

    asked: str | int | tuple[str, ...]
    goal: str
    reached: bool
    operators: tuple[FloatOperator, ...]
    macs_share: float
    kept: tuple[str, ...]
    int8: Worth
    selective: Worth | None
    best: float | None
    tried: int
    runtime: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, as the sidecar has them."""
        return asdict(self)


@dataclass(frozen=True)
class Judged:
    """What a file is worth: a value of which more is better, and whether that reaches the goal."""

    value: float
    reached: bool


@dataclass(frozen=True)
class Goal:
    """What is to be reached, in words; how a file is judged; and whether by a metric, of which values are drops."""

    words: str
    judge: Callable[[bytes], Judged]
    of_metric: bool = False


def fidelity_goal(trials: Trials, least_db: float | None) -> Goal:
    """Return the goal of outputs that are the model's, with so many decibels if that is said."""

    def judge(file: bytes) -> Judged:
        found = trials.fidelity_of(file)
        return Judged(found.snr_db, found.holds if least_db is None else found.snr_db >= least_db)

    return Goal("outputs that are the model's" if least_db is None else f"{least_db:g} dB", judge)


def drop_goal(trials: Trials, scored: Scored, most: float) -> Goal:
    """Return the goal of a metric that is at most so much worse than the float file's."""
    baseline = scored.of(trials.reference.float_file)

    def judge(file: bytes) -> Judged:
        drop = scored.drop(put_names(file, *trials.names), baseline)
        return Judged(-drop, drop <= most)

    return Goal(f"{scored.metric.name} at most {most:g} worse on {scored.count} samples", judge, of_metric=True)


class Search:
    """Finds the operators that stay float."""

    def __init__(self, trials: Trials, layers: Sequence[str], goal: Goal, tell: Tell) -> None:
        self._trials, self._layers, self._goal, self._tell = trials, layers, goal, tell
        self._judged: dict[frozenset[int], Judged] = {}

    def run(self, asked: str | int | tuple[str, ...]) -> tuple[Selection, bytes]:
        """Return what stayed float, and the file.

        Raises:
            UsageError: A name that no operator has.
        """
        started, trials = time.monotonic(), self._trials
        if isinstance(asked, tuple):
            chosen = self._named(asked)
        elif asked == "auto":
            chosen = [] if self._judge(()).reached else self._fewest()
        else:
            chosen = self._nearest(int(asked))
        file = trials.with_float(chosen)
        int8, selective, runtime = self._worth(()), None, ""
        if chosen:
            times, runtime = _times([trials.file, file], trials)
            int8, selective = self._worth((), times[0]), self._worth(chosen, times[1])
        best = max(found.value for found in self._judged.values()) if self._judged else None
        selection = Selection(
            asked=asked,
            goal=self._goal.words if asked == "auto" else "",
            reached=asked != "auto" or self._judge(chosen).reached,
            operators=tuple(self._row(operator) for operator in chosen),
            macs_share=sum(trials.macs_share[operator.index] for operator in chosen),
            kept=tuple(sorted(self._kept(chosen))) if chosen else (),
            int8=int8,
            selective=selective,
            best=None if best is None else self._shown(best),
            tried=len(self._judged),
            runtime=runtime,
            seconds=time.monotonic() - started,
        )
        return selection, file

    def _named(self, names: tuple[str, ...]) -> list[Operator]:
        """Return the operators of layers, or whose results have these names."""
        trials, chosen = self._trials, {}
        known = {trials.layer(operator, self._layers) for operator in trials.operators} - {""}
        for name in names:
            found = [
                operator
                for operator in trials.operators
                if name in (trials.result(operator).name, trials.layer(operator, self._layers))
            ]
            if not found:
                raise UsageError(f"No operator comes from a layer {name!r}{nearest(name, sorted(known))}")
            chosen.update({operator.index: operator for operator in found})
        return [chosen[index] for index in sorted(chosen)]

    def _fewest(self) -> list[Operator]:
        """Return the operators that reach the goal for the least; none where all together do not.

        They are added by what each costs when it alone is int8, and once more by that for what it takes to be float;
        the set that takes less stands. A tensor between two of them is rounded as long as one of the two is int8, so
        what each gains when it alone is float would be a worse order.
        """
        found = [self._first_enough(ordered) for ordered in (self._ordered(), self._ordered(self._price))]
        return min(filter(None, found), key=lambda chosen: sum(map(self._price, chosen)), default=[])

    def _first_enough(self, ordered: list[Operator]) -> list[Operator]:
        """Return what is needed of the first that reach the goal together."""
        for count in range(1, len(ordered) + 1):
            self._tell("selective", count, len(ordered))
            if self._judge(ordered[:count]).reached:
                return self._needed(ordered[:count], lambda found: found.reached)
        return []

    def _price(self, operator: Operator) -> float:
        """Return what it takes that an operator is float: of the time, about, and of the weights' bytes."""
        return self._trials.macs_share[operator.index] + self._trials.bytes_share[operator.index] + _EACH

    def _nearest(self, most: int) -> list[Operator]:
        """Return at most so many operators, those that bring the outputs nearest."""
        ordered = self._ordered()[:most]
        found = [self._judge(ordered[:count]).value for count in range(len(ordered) + 1)]
        least = max(found) - _SAME
        count = next(count for count, value in enumerate(found) if value >= least)
        return self._needed(ordered[:count], lambda judged: judged.value >= least)

    def _needed(self, chosen: list[Operator], enough: Callable[[Judged], bool]) -> list[Operator]:
        """Return the operators without those that the others do not need, looked at from the last on."""
        for operator in reversed(chosen):
            others = [other for other in chosen if other is not operator]
            if enough(self._judge(others)):
                chosen = others
        return sorted(chosen, key=lambda operator: operator.index)

    def _ordered(self, price: Callable[[Operator], float] = lambda _: 1.0) -> list[Operator]:
        """Return the operators by the noise that each makes when it alone is int8, for what it takes to be float."""
        operators = self._trials.operators
        worth = {}
        for number, operator in enumerate(operators):
            self._tell("sensitivity", number, len(operators))
            worth[operator.index] = 10 ** (-self._trials.alone(operator).snr_db / 10) / price(operator)
        return sorted(operators, key=lambda operator: -worth[operator.index])

    def _judge(self, chosen: Collection[Operator]) -> Judged:
        key = frozenset(operator.index for operator in chosen)
        if key not in self._judged:
            self._judged[key] = self._goal.judge(self._trials.with_float(chosen))
        return self._judged[key]

    def _shown(self, value: float) -> float:
        return -value + 0.0 if self._goal.of_metric else value  # no "-0"

    def _worth(self, chosen: Collection[Operator], latency_ms: float | None = None) -> Worth:
        file = self._trials.with_float(chosen)
        drop = self._shown(self._judge(chosen).value) if self._goal.of_metric else None
        return Worth(self._trials.fidelity_of(file).snr_db, drop, len(file), latency_ms)

    def _row(self, operator: Operator) -> FloatOperator:
        trials = self._trials
        return FloatOperator(
            operator.name,
            trials.layer(operator, self._layers),
            trials.result(operator).name,
            trials.macs_share[operator.index],
        )

    def _kept(self, chosen: Collection[Operator]) -> set[str]:
        """Return the names of the float results; that of an output is the model's where the file's output is float."""
        trials = self._trials
        names = trials.kept_float(chosen)
        ends = dict(zip(trials.outputs, trials.names[1], strict=True))
        return names | {ends[index] for index in ends if trials.graph.tensors[index].name in names}


def _times(files: Sequence[bytes], trials: Trials) -> tuple[list[float], str]:
    """Return the least time of one inference of each file in milliseconds, measured in turns, and in what.

    The least, because other work on the machine only ever adds to it.
    """
    import tensorflow as tf

    interpreters = [fed(put_names(file, *trials.names), trials.reference.samples) for file in files]
    found: list[list[float]] = [[] for _ in files]
    turns = list(zip(found, interpreters, strict=True))
    ends = time.monotonic() + _TIMED_S * len(files)
    for _ in range(_ROUNDS):
        for times, interpreter in turns:
            begun = time.perf_counter()
            interpreter.invoke()
            times.append(1000 * (time.perf_counter() - begun))
        turns.reverse()
        if time.monotonic() > ends:
            break
    words = f"TensorFlow {tf.__version__}'s interpreter with XNNPACK, 1 thread, on the machine that converts"
    return [min(times) for times in found], words
