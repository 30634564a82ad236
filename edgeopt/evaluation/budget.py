"""A budget: what a file may cost, in accuracy, time and bytes, and whether it was kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..errors import BudgetError, UsageError
from ..recipes.values import is_number
from .figures import beside, figure

LIMITS = ("max_drop", "min_metric", "max_p95_ms", "max_size_bytes", "max_memory_bytes")
MET, NOT_PROVEN, NOT_MEASURED, MISSED = "met", "not proven", "not measured", "missed"


@dataclass(frozen=True)
class Budget:
    """Limits; None means that there is none.

    Attributes:
        max_drop: How much the metric may get worse than the baseline's, in the metric's own unit (0.01: one point).
        min_metric: The least value of the metric, for metrics of which more is better.
        max_p95_ms: 95th percentile of the latency of one inference, in milliseconds.
        max_size_bytes: Size of the file.
        max_memory_bytes: What the interpreter needs, weights included: planned from the file
            (`edgeopt.flatbuffer.memory.resident_bytes`), or measured on the device where that is more.
        proven: Whether a limit counts as kept only when it is proven: when the bad end of the interval keeps it, too.

    Example:
        >>> Budget(max_drop=0.01, max_p95_ms=20)
    """

    max_drop: float | None = None
    min_metric: float | None = None
    max_p95_ms: float | None = None
    max_size_bytes: int | None = None
    max_memory_bytes: int | None = None
    proven: bool = False

    def __post_init__(self) -> None:
        for name in LIMITS:
            value = getattr(self, name)
            if value is not None and not is_number(value):
                raise UsageError(f"The budget's {name} is {value}; expected a finite number.")
        if not isinstance(self.proven, bool):
            raise UsageError(f"The budget's proven is {self.proven!r}; expected true or false.")
        for name in ("max_p95_ms", "max_size_bytes", "max_memory_bytes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"The budget's {name} is {value}; expected a number above 0.")

    def require_measurable(self, *, has_baseline: bool, higher_is_better: bool, metric: str) -> None:
        """Raise, before anything slow runs, when a limit could not be judged.

        Raises:
            UsageError: A limit on the drop without a baseline, or a least value of a metric of which less is better.
        """
        if self.max_drop is not None and not has_baseline:
            raise UsageError(
                "The budget has max_drop, but there is nothing to drop from; give a model with --baseline."
            )
        if self.min_metric is not None and not higher_is_better:
            raise UsageError(f"The budget has min_metric, but of {metric} less is better; use max_drop and a baseline.")

    def judge(self, found: Mapping[str, float | Evidence | None]) -> tuple[BudgetLine, ...]:
        """Return one line a limit, in the order of the fields.

        Args:
            found: "drop", "metric", "p95_ms", "size_bytes" and "memory_bytes", as far as they were measured; a plain
                number is exact.
        """
        lines = []
        for name in LIMITS:
            limit = getattr(self, name)
            if limit is None:
                continue
            quantity = name.partition("_")[2]
            value = found.get(quantity)
            if value is None:
                raise UsageError(f"The budget has {name}, but {quantity} was not measured.")
            evidence = value if isinstance(value, Evidence) else Evidence(value)
            lines.append(_judged(name, limit, evidence, self.proven))
        return tuple(lines)


@dataclass(frozen=True)
class Evidence:
    """What was measured of a quantity, and what that proves.

    Attributes:
        value: The estimate.
        bad_end: The worst that the measurement still allows: the bad end of its 95 % interval; None for an exact value.
        samples: How many samples gave it; None where that is not the question.
        needed: Limit -> how many samples would prove that it is kept, the rest being as it was; None for no number.
        flaw: Why it is no measurement at all, such as an emulated board; "" if it is one.
        source: Where the value is from, where that may differ: "planned" or "measured"; else "".
    """

    value: float
    bad_end: float | None = None
    samples: int | None = None
    needed: Callable[[float], int | None] | None = None
    flaw: str = ""
    source: str = ""


@dataclass(frozen=True)
class BudgetLine:
    """One limit, what was measured, and the verdict.

    Attributes:
        met: Whether the estimate keeps the limit; None when it was not measured.
        verdict: "met"; "not proven" (the estimate keeps the limit, the bad end of its interval does not); "not
            measured" (the timing does not count); "missed".
        bad_end: The worst that the measurement still allows; None for an exact value.
        samples: How many gave the estimate.
        samples_needed: How many would prove that the limit is kept, if all else stays; None for no number.
        reason: Why it was not measured.
        proven: Whether the budget asks for proof.
        source: Of memory, whether it was "planned" from the file or "measured" on the device; else "".
    """

    name: str
    limit: float
    value: float
    met: bool | None
    verdict: str = ""
    bad_end: float | None = None
    samples: int | None = None
    samples_needed: int | None = None
    reason: str = ""
    proven: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        if not self.verdict:  # a report of before
            object.__setattr__(self, "verdict", MET if self.met else MISSED)

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        return dict(vars(self))

    def __str__(self) -> str:
        bound, _, quantity = self.name.partition("_")
        sign = "<=" if bound == "max" else ">="
        limit = f"{self.limit:.15g}"
        source = f" ({self.source})" if self.source else ""
        compared = f"{quantity} {beside(self.value, self.limit)}{source} {sign} {limit}"
        if self.verdict == NOT_MEASURED:
            return f"{compared}: not measured, for the timing does not count"
        if self.verdict == NOT_PROVEN and self.bad_end is not None:
            return f"{compared}: not proven: {self._doubt(self.bad_end)}"
        return f"{compared}: {'met' if self.verdict == MET else 'MISSED'}"

    def _doubt(self, bad_end: float) -> str:
        """Return what the measurement still allows, and what would settle it."""
        if self.samples is None:
            return f"it reached {beside(bad_end, self.limit)} in a part of the runs"
        worst = figure(bad_end, (self.value, 2 * bad_end - self.value))
        if worst == f"{self.limit:g}":
            worst = beside(bad_end, self.limit)
        still = f"{self.samples:,} samples still allow {worst}"
        if self.samples_needed is None:
            return f"{still}; no number of samples would settle it"
        return f"{still}; about {self.samples_needed:,} would settle it"


def _judged(name: str, limit: float, found: Evidence, proven: bool) -> BudgetLine:
    def kept(value: float) -> bool:
        return value <= limit if name.startswith("max") else value >= limit

    if found.flaw:
        return BudgetLine(name, limit, found.value, None, NOT_MEASURED, reason=found.flaw, proven=proven)
    met, needed = kept(found.value), None
    verdict = MISSED if not met else MET if found.bad_end is None or kept(found.bad_end) else NOT_PROVEN
    if verdict == NOT_PROVEN and found.needed is not None:
        needed = found.needed(limit)
    doubt = (found.bad_end, found.samples, needed)
    return BudgetLine(name, limit, found.value, met, verdict, *doubt, proven=proven, source=found.source)


def overall_verdict(lines: Iterable[BudgetLine]) -> str:
    """Return "missed" when a line was, else "not proven" when one was not proven or not measured, else "ok"."""
    found = {line.verdict for line in lines}
    return MISSED if MISSED in found else NOT_PROVEN if found - {MET} else "ok"


def unproven_warnings(lines: Iterable[BudgetLine]) -> list[str]:
    """Return a sentence for each line that is not proven; what was not measured is among a report's warnings."""
    return [f"The budget's {line.name} is {line.verdict}: {line}." for line in lines if line.verdict == NOT_PROVEN]


def raise_for_budget(lines: Iterable[BudgetLine], remedy: str, *, proven: bool = False) -> None:
    """Do nothing when every line was met, or at least not missed.

    Args:
        lines: What `Budget.judge` found.
        remedy: What to do otherwise, as the end of the message.
        proven: Also raise for lines that are not proven or not measured, as for those of a budget that asks for it.

    Raises:
        BudgetError: A line was missed, or not proven; the message names each.
    """
    found = list(lines)
    missed = [
        f"{line.name} is {line.limit:.15g}, measured {beside(line.value, line.limit)}"
        for line in found
        if line.verdict == MISSED
    ]
    if missed:
        raise BudgetError(f"The budget was missed: {'; '.join(missed)}; {remedy}.")
    doubtful = [
        ": ".join(filter(None, (line.name, str(line), line.reason)))
        for line in found
        if line.verdict != MET and (proven or line.proven)
    ]
    if doubtful:
        raise BudgetError(f"The budget is not proven to be kept: {'; '.join(doubtful)}.")
