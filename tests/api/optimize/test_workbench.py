"""What the stages of a run share: timings in turns, and what the validation samples have chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.api.optimize.data import RunData
from edgeopt.api.optimize.pace import Clock, TimeUp
from edgeopt.api.optimize.stage import taught
from edgeopt.api.optimize.workbench import Measuring, Workbench, figures
from edgeopt.artifact.artifact import Artifact
from edgeopt.devices import Device, FakeTransport, load_profile
from edgeopt.evaluation.budget import Budget
from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.report import Answers, build_report
from edgeopt.recipes.optimize import OptimizeRecipe
from edgeopt.training.options import EarlyStop, Training

from ...devices.conftest import float_model, halving_model
from ...flatbuffer.conftest import FileBuilder


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


def test_the_sparsity_of_a_stage_is_that_of_its_file():
    """Rounding makes zeros that the model has not, and a sparse file may store none at all."""
    file = FileBuilder()
    kernel = np.array([[0, 0, 0, 5], [0, 7, 0, 9]], np.int8)
    x, w, y = file.tensor([1, 4]), file.tensor([2, 4], data=kernel, scales=[0.5]), file.tensor([1, 2])
    file.operator("FULLY_CONNECTED", [x, w, -1], [y], options="FullyConnectedOptions")
    data = file.build([x], [y])
    answers = Answers(np.array([0, 1]), np.eye(2))
    scored = build_report(load_metric("accuracy"), answers, {}, {"size_bytes": len(data)}, budget=Budget())
    found = figures(Artifact(data, {"ops": {"FULLY_CONNECTED": 1}, "macs": 8}), scored)
    assert (found["sparsity"], found["densify_ops"], found["macs"]) == (5 / 8, 0, 8)


def test_a_conversion_and_a_training_end_at_their_next_sign_of_life_when_the_time_is_over():
    over = replace(workbench("local"), check=Clock(0.0).check)
    with pytest.raises(TimeUp, match="in the middle"):
        over.tell({"stage": "convert"})
    with pytest.raises(TimeUp, match="in the middle"):
        over.context(None, Training()).advance("qat: epoch 1 of 3", 1, 90)
    replace(over, check=Clock(60.0).check).tell({"stage": "convert"})


def test_nothing_is_timed_any_more_when_the_time_is_over():
    over = replace(workbench("local"), check=Clock(0.0).check)
    with pytest.raises(TimeUp, match="in the middle"):
        over.latency_ms(float_model())


@pytest.mark.parametrize("kinds", [("finetune", "channels", "qat"), ("channels", "qat")])
def test_a_finetune_that_comes_first_makes_the_teacher_and_has_none(kinds):
    passes = tuple({"kind": kind, "epochs": 1} for kind in kinds)
    bench = replace(workbench("local"), recipe=OptimizeRecipe(passes, distillation={}), original=float_model())
    first, second = taught(bench, ["original"]), taught(bench, ["original", "made"])
    if kinds[0] == "finetune":
        assert first.recipe.distillation is None and second.teacher == "made"
    else:
        assert first is second is bench and bench.teacher is None


@pytest.mark.parametrize(("metric", "warns"), [("val_loss", True), ("loss", False)])
def test_samples_that_chose_the_epoch_and_score_the_file_are_warned_of(metric, warns):
    told = workbench("local").chosen_on_validation([Training(epochs=3, early_stop=EarlyStop(metric=metric))])
    assert bool(told) is warns
    assert not warns or "chose at which epoch" in told[0]
    assert workbench("local").chosen_on_validation([Training(epochs=3)]) == ()
