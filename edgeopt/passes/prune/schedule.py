"""When masks are made anew: steps from fractions of the run, in TFMOT's terms.

TFMOT looks at its masks every `frequency` steps counted from `begin_step`, so that a schedule whose length is no
multiple of that never reaches its end, and one that starts at step 0 of a short run does nothing at all: training steps
count from 1, and the default frequency is 100. Here the first step is moved so that the last one is hit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import RecipeError

_UPDATES = 20
_MOST_FREQUENCY = 100


@dataclass(frozen=True)
class Steps:
    """Training steps, counted from 1.

    Attributes:
        begin: The first at which masks are made.
        end: The last one.
        frequency: Steps between two of them; divides ``end - begin``.
    """

    begin: int
    end: int
    frequency: int


def plan_steps(total: int, begin: float, end: float, frequency: int | None) -> Steps:
    """Return the steps of a run at which masks are made.

    Args:
        total: Training steps of the run.
        begin: A step when it is an int, a fraction of the run when it is a float.
        end: The last step, as `begin`: a step when it is an int, a fraction of the run when it is a float.
        frequency: Steps between two updates; None makes it some twenty updates, at most 100 steps apart.

    Raises:
        RecipeError: The schedule begins or ends after the run, or ends before it begins.

    Example:
        >>> plan_steps(1000, 0.0, 0.75, None)
        Steps(begin=10, end=750, frequency=37)
    """
    total = max(total, 1)
    first, last = max(_step(begin, total), 1), max(_step(end, total), 1)
    if first > total or last > total:
        raise RecipeError(
            f"Received begin={begin} and end={end} for a run of {total} steps; expected both within the run, as steps "
            "or as fractions (floats) of it."
        )
    if last < first:
        raise RecipeError(f"Received begin={begin} and end={end}; expected the pruning to begin before it ends.")
    every = min(frequency or max(1, min(_MOST_FREQUENCY, (last - first) // _UPDATES)), max(last - first, 1))
    return Steps(last - (last - first) // every * every, last, every)


def tfmot_schedule(steps: Steps, kind: str, initial: float, target: float, power: float) -> Any:
    """Return TFMOT's schedule object.

    ``polynomial`` is ``s_t = target + (initial - target) (1 - (t - begin) / (end - begin))^power`` (Zhu and Gupta,
    2017), ``constant`` the target from `begin` to the end of the run.
    """
    import tensorflow_model_optimization as tfmot

    schedules = tfmot.sparsity.keras
    if kind == "constant":
        return schedules.ConstantSparsity(target, steps.begin, -1, steps.frequency)
    if steps.begin == steps.end:  # the formula divides by the length
        return schedules.ConstantSparsity(target, steps.begin, steps.begin, steps.frequency)
    return schedules.PolynomialDecay(initial, target, steps.begin, steps.end, power, steps.frequency)


def check_step(what: str, value: float) -> None:
    """Raise unless `value` is a step (int) or a fraction (float).

    Raises:
        RecipeError: It is neither.
    """
    valid = value >= 0 if isinstance(value, int) and not isinstance(value, bool) else 0.0 <= value <= 1.0
    if isinstance(value, bool) or not valid:
        raise RecipeError(
            f"Received {what}={value!r}; expected a step (a whole number) or a fraction of the run (a float in [0, 1])."
        )


def _step(value: float, total: int) -> int:
    return value if isinstance(value, int) else round(value * total)
