"""What the stages of a run share: timings in turns, and what the validation samples have chosen."""

from __future__ import annotations

import pytest

from edgeopt.api.optimize.data import RunData
from edgeopt.api.optimize.workbench import Measuring, Workbench
from edgeopt.artifact.artifact import Artifact
from edgeopt.devices import Device, FakeTransport, load_profile
from edgeopt.recipes.optimize import OptimizeRecipe
from edgeopt.training.options import EarlyStop, Training

from ...devices.conftest import float_model, halving_model


def workbench(device):
    data = RunData(None, None, None, {})
    return Workbench(OptimizeRecipe(), None, data, None, (), Measuring(device, None, "auto", None, None), print)


def test_two_files_are_timed_in_turns_by_one_job():
    transport = FakeTransport.measuring(samples_ms=[1.0] * 40)
    with Device(transport, load_profile("local")) as device:
        found = workbench(device).in_turns(Artifact(halving_model()), Artifact(float_model()))
    assert found["ratio"] == 1.0 and found["pairs"] == 40 and found["unmeasured"] == []
    (request,) = transport.requests
    assert request["against"] != request["model"] and request["evaluate"] is False


def test_a_file_is_not_compared_with_itself():
    with Device(FakeTransport.measuring(), load_profile("local")) as device:
        assert workbench(device).in_turns(Artifact(float_model()), Artifact(float_model())) is None


@pytest.mark.parametrize(("metric", "warns"), [("val_loss", True), ("loss", False)])
def test_samples_that_chose_the_epoch_and_score_the_file_are_warned_of(metric, warns):
    told = workbench("local").chosen_on_validation([Training(epochs=3, early_stop=EarlyStop(metric=metric))])
    assert bool(told) is warns
    assert not warns or "chose at which epoch" in told[0]
    assert workbench("local").chosen_on_validation([Training(epochs=3)]) == ()
