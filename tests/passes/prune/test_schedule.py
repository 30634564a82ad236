"""Fractions and steps become a schedule whose last update is at its end."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import RecipeError
from edgeopt.passes.prune.schedule import Steps, check_step, plan_steps, tfmot_schedule


def test_fractions_are_of_the_run_and_whole_numbers_are_steps():
    assert plan_steps(1000, 0.2, 0.8, 100) == Steps(200, 800, 100)
    assert plan_steps(1000, 200, 800, 100) == Steps(200, 800, 100)


@pytest.mark.parametrize("total", [1, 2, 3, 7, 50, 999, 1000])
@pytest.mark.parametrize("frequency", [None, 1, 7, 100])
def test_the_end_is_always_hit_and_step_zero_never_counts(total, frequency):
    steps = plan_steps(total, 0.0, 0.75, frequency)
    assert 1 <= steps.begin <= steps.end <= total
    assert (steps.end - steps.begin) % steps.frequency == 0


def test_there_are_about_twenty_updates_by_default():
    steps = plan_steps(1000, 0.0, 1.0, None)
    assert (steps.end - steps.begin) // steps.frequency == 20
    assert plan_steps(100_000, 0.0, 1.0, None).frequency == 100


def test_a_schedule_outside_of_the_run_is_refused():
    with pytest.raises(RecipeError, match=r"begin=0 and end=200 for a run of 100 steps; expected both within the run"):
        plan_steps(100, 0, 200, None)
    with pytest.raises(RecipeError, match=r"expected the pruning to begin before it ends"):
        plan_steps(100, 0.9, 0.5, None)


@pytest.mark.parametrize("value", [-1, -0.5, 1.5, float("nan"), True])
def test_neither_step_nor_fraction(value):
    with pytest.raises(RecipeError, match=r"expected a step \(a whole number\) or a fraction"):
        check_step("begin", value)


def test_the_polynomial_is_that_of_zhu_and_gupta():
    schedule = tfmot_schedule(Steps(10, 50, 10), "polynomial", 0.2, 0.8, 3.0)
    for step in (10, 20, 40, 50, 60):
        progress = np.clip((step - 10) / 40, 0.0, 1.0)
        _, sparsity = schedule(step)
        # float32 in TFMOT: its rounding is what the difference may be
        assert float(sparsity) == pytest.approx(0.8 - 0.6 * (1 - progress) ** 3, abs=1e-6)
    assert bool(schedule(50)[0]) and not bool(schedule(51)[0])


def test_a_single_step_has_no_polynomial():
    should, sparsity = tfmot_schedule(Steps(1, 1, 1), "polynomial", 0.0, 0.5, 3.0)(1)
    assert bool(should) and float(sparsity) == 0.5


def test_constant_goes_on_to_the_end_of_the_run():
    schedule = tfmot_schedule(Steps(5, 9, 2), "constant", 0.0, 0.5, 3.0)
    assert [bool(schedule(step)[0]) for step in (4, 5, 6, 7, 11)] == [False, True, False, True, True]
