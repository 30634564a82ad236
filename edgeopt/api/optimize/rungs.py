"""Which way to a smaller, faster or truer file is tried next: the cheapest that may help with what was missed.

A rung is a file made from the original model in one way. What costs accuracy is answered first by what needs no
training; time, size and memory are answered by taking channels out, by as much as the limit asks for. After a cut that
went too far a milder one is tried, between it and the mildest that did not go far enough. Where no cut is accurate
enough, the mildest that keeps the limits is trained for longer, by a better teacher: the original, which has first
learned from the training data itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...evaluation.budget import MISSED, NOT_PROVEN, BudgetLine
from ...recipes.convert import ConvertRecipe

ACCURACY = ("max_drop", "min_metric")
_TIME, _SPACE = "max_p95_ms", ("max_size_bytes", "max_memory_bytes")
COSTS = (_TIME, *_SPACE)
_CUTS = 3  # at most
_AIM = 0.97  # of what a limit asks for: the file is to keep it, not to touch it
_LEAST = 0.05  # no cut leaves less
_SPREAD = 0.02  # two cuts nearer than this are one
_STUDENT = "student-"

_TRAINED = {"learning_rate_schedule": "cosine"}
QAT: Mapping[str, Any] = {"kind": "qat", "epochs": 3, "learning_rate": 1e-4, **_TRAINED}
CHANNELS: Mapping[str, Any] = {
    "kind": "channels", "importance": "taylor", "epochs": 5, "learning_rate": 1e-3, **_TRAINED,
}  # fmt: skip
STUDENT: Mapping[str, Any] = {**CHANNELS, "epochs": 12}
# The original is rarely at its best on these data: pixels were stored otherwise, or there are more of them by now.
TEACHER: Mapping[str, Any] = {"kind": "finetune", "epochs": 3, "learning_rate": 3e-4, **_TRAINED}


@dataclass(frozen=True)
class Rung:
    """A way to make a file from the original model.

    Attributes:
        name: How its stage is called.
        passes: Tables of the passes, in order; the original teaches their trainings.
        convert: Keys of the conversion that differ from the run's.
        kept: Which share of the time, or of the weights' bytes, a cut is to leave; 1.0 for no cut.
        why: What it is tried for.
    """

    name: str
    passes: tuple[Mapping[str, object], ...] = ()
    convert: Mapping[str, Any] = field(default_factory=dict)
    kept: float = 1.0
    why: str = ""

    @property
    def trains(self) -> bool:
        """Whether training data are needed."""
        return bool(self.passes)

    def suiting(self, convert: ConvertRecipe) -> Rung:
        """Return the rung with its training for 8 bits on the grid of these conversions."""
        if not convert.per_tensor_dense:
            return self
        one_scale = [{**table, "per_tensor_dense": True} if table["kind"] == "qat" else table for table in self.passes]
        return replace(self, passes=tuple(one_scale))


@dataclass(frozen=True)
class Climbed:
    """A rung whose file was measured.

    Attributes:
        rung: The rung.
        lines: The budget's, judged on the samples that choose.
        widths: Layer name -> fraction of its channels that was taken out, of a cut.
    """

    rung: Rung
    lines: tuple[BudgetLine, ...]
    widths: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether no line was missed."""
        return not missed(self.lines)

    @property
    def excess(self) -> float:
        """How far the limits are missed, each as a part of itself, added up."""
        return sum(_excess(line) for line in missed(self.lines))


@dataclass(frozen=True)
class Passed:
    """A rung that was not tried, and why."""

    name: str
    reason: str


INT8 = Rung("int8", why="the cheapest file")
_TRAINED_FOR_8_BITS = Rung("qat", (QAT,), why="trained for its 8-bit grid, with the original as the teacher")


def truer(max_drop: float | None, *, may_float: bool) -> tuple[Rung, ...]:
    """Return what may give accuracy back, the cheapest first.

    Args:
        max_drop: The budget's limit on the drop, which says how many operators have to be float; None for none.
        may_float: Whether operators may be, which they may not for an accelerator.
    """
    recovered = Rung("recover", convert={"recover": True}, why="channels, biases, roundings, ranges put right")
    few = {"float_ops": "auto", "max_drop": max_drop, "recover": True}
    floating = Rung("float-ops", convert=few, why="the fewest operators stay float that keep the drop")
    return (recovered, *([floating] if may_float and max_drop is not None else []), _TRAINED_FOR_8_BITS)


def missed(lines: Sequence[BudgetLine]) -> list[BudgetLine]:
    """Return the lines that are missed, or not proven where the budget asks for proof."""
    return [line for line in lines if line.verdict == MISSED or (line.proven and line.verdict == NOT_PROVEN)]


def next_rung(
    climbed: Sequence[Climbed], *, may_train: bool, may_float: bool, failed: Collection[str] = ()
) -> tuple[Rung | None, tuple[Passed, ...]]:
    """Return what to try next, or None where a file keeps the budget or nothing is left; and what was passed over.

    Args:
        climbed: What was tried, in order.
        may_train: Whether there are training data.
        may_float: Whether operators may stay float.
        failed: Names of rungs that gave no file.
    """
    if not climbed:
        return INT8, ()
    if climbed[-1].met:
        return None, ()
    first = len(climbed) == 1
    if costly := [line.name for line in _costly(climbed[0])]:
        rung = next((rung for rung in (_cut(climbed), student(climbed)) if rung and rung.name not in failed), None)
        return _trainable(rung, may_train, _useless(climbed[0], costly) if first else ())
    tried = {*failed, *(entry.rung.name for entry in climbed)}
    drop = next((line.limit for line in climbed[0].lines if line.name == "max_drop"), None)
    left = [rung for rung in truer(drop, may_float=may_float) if rung.name not in tried]
    useless = [Passed("channels", "no limit of time, size or memory is missed")] if first else []
    if first and not may_float:
        useless.append(Passed("float-ops", "the file is to be strictly int8 (edges)"))
    return _trainable(left[0] if left else None, may_train, useless)


def _useless(first: Climbed, costly: Sequence[str]) -> list[Passed]:
    """Return what changes nothing of the costs that the first file misses."""
    are = "is" if len(missed(first.lines)) == 1 else "are"
    why = f"{_named(first.lines)} {are} missed, which it does not change"
    counts = "counts" if len(costly) == 1 else "count"
    zeros = f"they make the zip smaller, and {' and '.join(costly)} {counts} the file as it is"
    return [*(Passed(rung.name, why) for rung in truer(None, may_float=False)), Passed("prune, cluster", zeros)]


def _trainable(rung: Rung | None, may_train: bool, passed: Sequence[Passed]) -> tuple[Rung | None, tuple[Passed, ...]]:
    if rung is None or may_train or not rung.trains:
        return rung, tuple(passed)
    return None, (*passed, Passed(rung.name, "it trains, and there are no training data (--train)"))


def _cut(climbed: Sequence[Climbed]) -> Rung | None:
    """Return the next cut: as deep as the missed limit asks for, or between one too deep and one not deep enough."""
    cuts = [entry for entry in climbed if entry.rung.kept < 1]
    if len(cuts) >= _CUTS or any(entry.rung.name.startswith(_STUDENT) for entry in cuts):
        return None
    shallow = min((entry for entry in climbed if _costly(entry)), key=_kept)
    deep = max((entry for entry in cuts if not _costly(entry)), key=_kept, default=None)
    if deep is not None:
        kept = _between(shallow, deep, [line.name for line in climbed[0].lines if line.name in COSTS])
    elif len(climbed) == 1:
        kept = min(line.limit * _AIM / line.value for line in _costly(shallow))
    else:
        before = min((entry for entry in climbed if _kept(entry) > _kept(shallow)), key=_kept)
        kept = _between(before, shallow, [line.name for line in _costly(shallow)])
    kept = max(kept, _LEAST)
    if _kept(shallow) - kept < _SPREAD or (deep is not None and kept - _kept(deep) < _SPREAD):
        return None
    worst = max(_costly(climbed[0]), key=_excess)
    if worst.name == _TIME:
        target: dict[str, object] = {"latency_share": round(kept, 4), "multiple": 4, "minimum": 4}
        what = f"{kept:.0%} of the time"
    else:
        target = {"fraction": round(1 - kept, 4), "of": "bytes"}
        what = f"{kept:.0%} of the weights"
    return Rung(f"channels-{kept * 100:.0f}", ({**CHANNELS, **target}, QAT), kept=kept, why=f"cut to {what}")


def student(climbed: Sequence[Climbed]) -> Rung | None:
    """Return the mildest cut that keeps the limits as a student, which learns for longer from a better teacher.

    It begins with the weights that were left: the same widths with weights of their own learn far less in that time
    (`benchmarks/compression`: ResNet-8 of half of the MACs reaches 81 % cut, and 66 % begun anew). Its widths are those
    that were measured, and not found by timing once more.
    """
    cuts = [entry for entry in climbed if entry.widths and not _costly(entry)]
    if not cuts or any(entry.rung.name.startswith(_STUDENT) for entry in climbed):
        return None
    cut = max(cuts, key=_kept)
    name = cut.rung.name.replace("channels-", _STUDENT)
    why = f"{cut.rung.why}, and {STUDENT['epochs']} epochs with the original, trained on these data, as the teacher"
    steps = {key: value for key, value in cut.rung.passes[0].items() if key in ("multiple", "minimum")}
    return replace(cut.rung, name=name, passes=(TEACHER, {**STUDENT, **steps, "layers": cut.widths}, QAT), why=why)


def _between(shallow: Climbed, deep: Climbed, names: Sequence[str]) -> float:
    """Return the share that keeps these limits, on the line through two files, or beyond the second.

    A file has parts that no cut takes away, and so has a time; the first guess is that there are none.
    """
    values = {line.name: line.value for line in deep.lines}
    shares = []
    for line in shallow.lines:
        if line.name in names:
            slope = (line.value - values[line.name]) / (_kept(shallow) - _kept(deep))
            beyond = line.value - line.limit * _AIM
            shares.append(_kept(shallow) - beyond / slope if slope > 0 else _LEAST if beyond > 0 else 1.0)
    return min(shares)


def _kept(entry: Climbed) -> float:
    return entry.rung.kept


def _costly(entry: Climbed) -> list[BudgetLine]:
    return [line for line in missed(entry.lines) if line.name in COSTS]


def _excess(line: BudgetLine) -> float:
    """By which part of the limit the value is beyond it."""
    beyond = line.value - line.limit if line.name.startswith("max") else line.limit - line.value
    if line.verdict == NOT_PROVEN and line.bad_end is not None:
        beyond = abs(line.bad_end - line.limit)
    return max(beyond, 0.0) / (abs(line.limit) or 1e-9)


def _named(lines: Sequence[BudgetLine]) -> str:
    return " and ".join(line.name for line in missed(lines))
