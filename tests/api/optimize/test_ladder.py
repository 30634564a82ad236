"""`edgeopt.optimize` without a recipe: rung by rung to a budget, judged on samples that chose nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import edgeopt
from edgeopt.api.optimize.data import RunData
from edgeopt.api.optimize.forecast import forecast
from edgeopt.api.optimize.ladder import next_smaller, pareto_front, parted, recommended
from edgeopt.api.optimize.result import LadderResult, Stage
from edgeopt.api.optimize.run import read_budget
from edgeopt.api.optimize.rungs import INT8, Climbed, Rung
from edgeopt.artifact.artifact import Artifact
from edgeopt.data.dataset import load_dataset
from edgeopt.errors import BudgetError, DataError, UsageError
from edgeopt.evaluation.budget import Budget
from edgeopt.recipes.optimize import OptimizeRecipe

from ...devices.conftest import float_model
from .test_run import SHORT, data


def network(keras):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1), name="image"),
            layers.Conv2D(32, 3, activation="relu", name="conv"),
            layers.Conv2D(64, 3, activation="relu", name="wide"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(2, activation="softmax", name="classes"),
        ]
    )


def stage(name, value, p50, size):
    latency = None if p50 is None else {"p50": p50, "p50_ci95": None}
    measured = {"metric": {"name": "accuracy", "value": value, "ci95": [0, 1]}, "latency_ms": latency}
    return Stage(name, name, None, Artifact(float_model()), {**measured, "size_bytes": size})


def test_the_front_is_what_nothing_else_beats():
    stages = [stage("a", 0.9, 2.0, 100), stage("b", 0.8, 1.0, 100), stage("c", 0.8, 1.5, 100), stage("d", 0.7, 3.0, 50)]
    assert pareto_front(stages, higher_is_better=True) == ("a", "b", "d")
    assert pareto_front(stages, higher_is_better=False) == ("b", "d")


def judged(name, **found):
    return Climbed(Rung(name), Budget(max_drop=0.01, max_size_bytes=100).judge(found))


def test_the_first_rung_that_keeps_the_budget_is_recommended_or_else_the_nearest():
    far, near = judged("far", drop=0.05, size_bytes=90), judged("near", drop=0.012, size_bytes=90)
    kept = judged("kept", drop=0.0, size_bytes=100)
    assert recommended([far, kept, near]) == (
        1, "the budget is kept at rung 2, kept: drop 0 <= 0.01: met; size_bytes 100 <= 100: met"
    )  # fmt: skip
    number, reason = recommended([far, near])
    assert (number, reason) == (1, "no rung keeps the budget; near is the nearest: drop 0.012 <= 0.01: MISSED")


def test_the_reason_says_what_is_wrong_with_the_next_smaller_file():
    stages = [stage("a", 0.9, 2.0, 90), stage("b", 0.9, 2.0, 95), stage("c", 0.9, 2.0, 99)]
    rungs = [judged(name, drop=drop, size_bytes=90) for name, drop in (("a", 0.03), ("b", 0.02), ("c", 0.0))]
    assert next_smaller(stages, rungs, 2) == "; not so the next smaller file, b: drop 0.02 <= 0.01: MISSED"
    assert next_smaller(stages, rungs, 0) == "" == next_smaller(stages[2:], rungs[2:], 0)


def test_a_file_that_misses_only_where_nothing_chose_is_to_be_proven():
    chosen, judging = (Budget(max_drop=0.01).judge({"drop": drop}) for drop in (0.005, 0.02))
    kept = replace(stage("a", 0.9, 2.0, 90), report={"budget": [line.to_dict() for line in chosen]})
    with pytest.raises(BudgetError, match="did not miss it: --proven"):
        LadderResult((kept,), OptimizeRecipe(), budget=judging).raise_for_budget()


def test_half_of_the_validation_data_judges_and_none_of_it_chooses():
    x = np.arange(40, dtype=np.float32)[:, None]
    given = load_dataset((x, np.arange(40)))
    choosing, judging, note = parted(RunData(None, given, None, {}))
    rows = [set(part.arrays[0].ravel()) for part in (choosing, judging)]
    assert note == "" and rows[0] | rows[1] == set(range(40)) and not rows[0] & rows[1]
    assert parted(RunData(None, given, None, {}, "others"))[:2] == (given, "others")
    few = given.take(np.arange(10))
    assert parted(RunData(None, few, None, {})) == (
        few, few, "The validation samples chose the file and judge it, since they cannot be parted; give others with --test."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, UsageError, "needs a recipe, or a budget to climb to"),
        ({"recipe": "fast", "budget": Budget(max_drop=0.1)}, UsageError, "budget goes with a run without a recipe"),
        ({"budget": Budget(max_drop=0.1)}, DataError, "nothing to calibrate with"),
        ({"budget": Budget(min_metric=0.1), "metric": "mse"}, UsageError, "of mse less is better"),
        ({"budget": Budget(max_drop=0.1), "target": "ethos-u55-128"}, UsageError, "a run to a budget goes for edgetpu"),
        ({"recipe": "fast", "target": "edgetpu"}, UsageError, "target goes with a run without a recipe"),
    ],
)
def test_what_cannot_be_climbed_is_refused_before_anything_is_loaded(options, error, match):
    with pytest.raises(error, match=match):
        edgeopt.optimize("nowhere.keras", validation=data(), **options)


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_size_is_reached_by_a_cut_and_the_run_resumes_to_the_same_file(any_keras, tmp_path):
    x, y = data(96)
    options = {"train": (x, y), "validation": (x, y), "bench": SHORT, "output": tmp_path}
    model = network(any_keras)
    size = edgeopt.convert(model, calibration=x).size_bytes
    said = []
    budget = Budget(max_drop=0.5, max_size_bytes=size - 9000)
    found = edgeopt.optimize(model, budget=budget, on_step=said.append, **options)
    assert found.stages[0].kind == INT8.name and found.chosen > 0
    assert found.artifact.size_bytes <= size - 9000 and found.verdict in ("ok", "not proven")
    assert {entry.name for entry in found.passed} == {"recover", "qat", "prune, cluster"}
    assert any("judging on samples that chose nothing" in line for line in said)
    assert found.final["samples"] == 48
    assert any(line.endswith("8 epochs of 3 steps") and "training takes about" in line for line in said)
    assert found.stages[1].report["expected_training_s"] > 0
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["ladder"]["recommended"] == found.stages[found.chosen].name
    assert (tmp_path / "model.tflite").read_bytes() == found.artifact.model
    again = edgeopt.optimize(model, budget=budget, resume=True, on_step=said.append, **options)
    assert again.artifact.model == found.artifact.model
    assert said.count("00-int8: taken from the earlier run") == 1


@pytest.mark.heavy
def test_without_training_data_the_nearest_file_is_written_and_what_training_needs_is_said(tmp_path):
    import keras

    x, y = data()
    found = edgeopt.optimize(
        network(keras), budget=Budget(max_size_bytes=100), validation=(x, y), calibration=x, bench=SHORT,
        output=tmp_path, target="edgetpu",
    )  # fmt: skip
    assert [entry.name for entry in found.stages] == ["00-int8"]
    assert found.artifact.sidecar["recipe"]["per_tensor_dense"] and found.artifact.sidecar["fully_int8"]
    assert found.mapping["mapped_ops"].items() >= {"CONV_2D": 2, "FULLY_CONNECTED": 1}.items()
    assert found.mapping["cpu_ops"] == {}
    with pytest.raises(
        BudgetError, match=r"max_size_bytes is 100, .* channels-5: it trains, and there are no training"
    ):
        found.raise_for_budget()
    assert (tmp_path / "model.tflite").is_file()


@pytest.mark.heavy
def test_a_recovery_that_was_killed_goes_on_behind_the_steps_that_it_had_finished(tmp_path):
    import keras

    x, y = data(96)
    model, seen = network(keras), []

    def interrupt(progress):
        if progress.stage == "recover-rounding":
            raise KeyboardInterrupt

    options = {"validation": (x, y), "calibration": x, "bench": SHORT, "output": tmp_path}
    options["budget"] = Budget(max_drop=-1.0)  # so that the second rung is tried
    with pytest.raises(KeyboardInterrupt):
        edgeopt.optimize(model, on_progress=interrupt, **options)
    kept = list((tmp_path / "work" / "01-recover").glob("recover-*.npz"))
    assert len(kept) == 2
    edgeopt.optimize(model, on_progress=lambda at: seen.append(at.stage), resume=True, **options)
    # The rung behind it recovers its own file, with the first two steps again.
    first = [stage for stage in dict.fromkeys(seen) if stage.startswith("recover-")]
    assert first[:2] == ["recover-rounding", "recover-ranges"]
    assert not list((tmp_path / "work").rglob("recover-*.npz"))


@pytest.mark.heavy
def test_a_training_ends_when_the_time_is_over():
    import keras

    (x, y), said = data(96), []
    found = edgeopt.optimize(
        network(keras), budget=Budget(max_size_bytes=100), train=(x, y), validation=(x, y), bench=SHORT,
        time_limit_s=0.001, on_step=said.append,
    )  # fmt: skip
    assert [entry.name for entry in found.stages] == ["00-int8"]
    assert found.passed[-1].reason == "the time was over"
    assert said.count(found.warnings[-1]) == 1 and "The time limit is too short, by up to" in found.warnings[-1]


@pytest.mark.heavy
def test_a_forecast_names_the_rungs_times_a_step_and_is_a_recipe():
    import keras

    x, y = data(96)
    read = read_budget(Budget(max_drop=0.01, max_size_bytes=100), None, "accuracy", None)
    model = network(keras)
    before = [weight.numpy() for weight in model.weights]
    found = forecast(model, read, train=(x, y), validation=(x, y))
    assert [rung.name for rung in found.rungs] == ["int8", "recover", "float-ops", "qat", "channels", "student"]
    int8, _, _, qat, channels, student = found.rungs
    assert int8.seconds is None and 0 < qat.seconds < channels.seconds < student.seconds and found.step_s > 0
    assert "3 epochs of 3 steps" in qat.needs and channels.when == "max_size_bytes is missed"
    assert found.recipe.kinds == ("finetune", "channels", "qat") and found.recipe.budget.max_size_bytes == 100
    assert found.recipe.passes[1]["epochs"] == 12  # the student's, which is the dearest
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    without = forecast(model, read, validation=(x, y), calibration=x)
    assert without.step_s is None and "it is passed over" in without.rungs[3].needs
