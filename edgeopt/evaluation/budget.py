"""A budget: what a file may cost, in accuracy, time and bytes, and whether it was kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from ..errors import BudgetError, UsageError
from ..recipes.values import is_number


@dataclass(frozen=True)
class Budget:
    """Limits; None means that there is none.

    Attributes:
        max_drop: How much the metric may get worse than the baseline's, in the metric's own unit (0.01: one point).
        min_metric: The least value of the metric, for metrics of which more is better.
        max_p95_ms: 95th percentile of the latency of one inference, in milliseconds.
        max_size_bytes: Size of the file.

    Example:
        >>> Budget(max_drop=0.01, max_p95_ms=20)
    """

    max_drop: float | None = None
    min_metric: float | None = None
    max_p95_ms: float | None = None
    max_size_bytes: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not is_number(value):
                raise UsageError(f"The budget's {field.name} is {value}; expected a finite number.")
        for name in ("max_p95_ms", "max_size_bytes"):
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

    def judge(self, values: Mapping[str, float | None]) -> tuple[BudgetLine, ...]:
        """Return one line a limit, in the order of the fields.

        Args:
            values: "drop", "metric", "p95_ms" and "size_bytes", as far as they were measured.
        """
        lines = []
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is None:
                continue
            bound, _, quantity = field.name.partition("_")
            value = values.get(quantity)
            if value is None:
                raise UsageError(f"The budget has {field.name}, but {quantity} was not measured.")
            met = value <= limit if bound == "max" else value >= limit
            lines.append(BudgetLine(field.name, limit, value, met))
        return tuple(lines)


@dataclass(frozen=True)
class BudgetLine:
    """One limit and what was measured; `met` compares the two as they are, without their uncertainty."""

    name: str
    limit: float
    value: float
    met: bool

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        return dict(vars(self))

    def __str__(self) -> str:
        bound, _, quantity = self.name.partition("_")
        sign = "<=" if bound == "max" else ">="
        return f"{quantity} {self.value:.6g} {sign} {self.limit:.6g}: {'met' if self.met else 'MISSED'}"


def raise_for_budget(lines: Iterable[BudgetLine], remedy: str) -> None:
    """Do nothing when every line was met.

    Args:
        lines: What `Budget.judge` found.
        remedy: What to do otherwise, as the end of the message.

    Raises:
        BudgetError: A line was missed; the message names each.
    """
    missed = [f"{line.name} is {line.limit:.6g}, measured {line.value:.6g}" for line in lines if not line.met]
    if missed:
        raise BudgetError(f"The budget was missed: {'; '.join(missed)}; {remedy}.")
