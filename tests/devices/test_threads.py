"""`--threads auto`: numbers of threads are timed in turns, and more are taken only where they are shown to be faster."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgeopt.devices import BenchPlan, RunOptions
from edgeopt.devices.measurement import Comparison
from edgeopt.devices.threads import best_threads, numbers

from .conftest import halving_model

PLAN = BenchPlan(warmup_runs=1, warmup_seconds=0, min_runs=40, max_runs=40, min_seconds=0, max_seconds=20, processes=5)


class Timed:
    """A device on which an inference with so many threads takes so long, to a hundredth."""

    def __init__(self, times):
        self.times, self.asked = times, []

    def measure(self, model, inputs, options, **_):
        self.asked.append((options.threads, options.against_threads))
        first, second = self.times[options.threads], self.times[options.against_threads]
        ratio = first / second
        found = Comparison(ratio, (ratio - 0.01, ratio + 0.01), first, second, 10, 9)
        return SimpleNamespace(timed=lambda: SimpleNamespace(comparison=found))


@pytest.mark.parametrize(
    ("times", "chosen", "asked"),
    [
        ({1: 10.0, 2: 6.0, 4: 4.0}, 4, [(2, 1), (4, 2)]),
        ({1: 10.0, 2: 6.0, 4: 6.03}, 2, [(2, 1), (4, 2)]),  # no difference shown: the fewer threads stay
        ({1: 10.0, 2: 12.0, 4: 15.0}, 1, [(2, 1), (4, 1)]),
        ({1: 10.0, 2: 10.05, 4: 7.0}, 4, [(2, 1), (4, 1)]),
    ],
)
def test_the_most_threads_that_are_shown_to_be_faster_are_chosen(times, chosen, asked):
    device = Timed(times)
    assert best_threads(device, b"", None, RunOptions(), 4).chosen == chosen
    assert device.asked == asked


def test_powers_of_two_and_all_cores_are_tried():
    assert [numbers(cores) for cores in (1, 2, 3, 4, 6)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6]]


def test_on_this_machine_the_choice_is_what_its_evidence_says(device):
    report = device.bench(halving_model(), threads=None, options=replace(RunOptions(), bench=PLAN)).to_dict()
    found = report["threads_auto"]
    assert [trial["threads"] for trial in found["trials"]] == numbers(found["cores"])[1:]
    assert found["cores"] <= (os.cpu_count() or 1)
    faster = [trial["threads"] for trial in found["trials"] if trial["comparison"]["verdict"] == "faster"]
    assert found["chosen"] == (faster[-1] if faster else 1)
    assert [run["threads"] for run in report["runs"]] == [found["chosen"]]
