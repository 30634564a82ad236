"""What CONTRIBUTING shows how to add does what it says, registered as it says."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.converters import accelerator as targets
from edgeopt.devices.boards import profile as profiles
from edgeopt.errors import CompilerError, RecipeError
from edgeopt.evaluation import metrics
from edgeopt.evaluation.scoring import evaluate
from edgeopt.flatbuffer import read_model
from edgeopt.passes import registry
from edgeopt.recipes import optimize as recipes
from edgeopt.training import PassContext

from . import budget


@pytest.fixture
def example(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    """The code under a heading, as the module that it would be."""

    def under(heading: str, module: str = "") -> Any:
        text = (checkout / "CONTRIBUTING.md").read_text("utf-8").split(f"### {heading}\n")[1].split("\n### ")[0]
        (code,) = re.findall(r"```\w+\n(.*?)```", text, re.S)
        if not module:
            return code
        made = types.ModuleType(module)
        monkeypatch.setitem(sys.modules, module, made)
        exec(compile(code, module, "exec"), made.__dict__)
        return made

    return under


def test_a_pass(example: Any, monkeypatch: pytest.MonkeyPatch, any_keras: Any) -> None:
    example("A pass", "edgeopt.passes.clip")
    for place in (recipes, registry):
        monkeypatch.setattr(place, "KINDS", (*recipes.PASSES, "clip"))
    monkeypatch.setitem(recipes.PASSES, "clip", "clip:Clip")
    with pytest.raises(RecipeError, match="deviations"):
        registry.plan({"kind": "clip", "deviations": "two"})
    (table,) = recipes.OptimizeRecipe.from_tables({"pass": [{"kind": "clip", "deviations": 1.0}]}).passes
    step = registry.plan(table).step
    model = any_keras.Sequential([any_keras.Input((4,)), any_keras.layers.Dense(8, name="dense")])
    before = model.get_weights()[0]
    result = step.apply(model, PassContext())
    np.testing.assert_allclose(result.model.get_weights()[0], np.clip(before, -before.std(), before.std()), rtol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[0], before)
    assert json.loads(json.dumps(result.report.to_dict()))["clipped"]["dense"] > 0


def test_a_target(example: Any, monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    example("A target, as Edge TPU and Ethos-U are", "edgeopt.converters.nowhere")
    monkeypatch.setitem(targets.ACCELERATORS, "nowhere", ".nowhere:accelerator")
    found = targets.accelerator("nowhere")
    data = (shared_data / "coral" / "split_concat.tflite").read_bytes()
    assert len(found.predictor.predict(read_model(data), data).cpu_ops) > 0
    with pytest.raises(CompilerError, match="there is none"):
        found.compiler.compile(data)


def test_a_metric(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = example("A metric", "worst_metric")
    monkeypatch.setitem(metrics.BUILT_IN, "worst", made.metric)
    labels, outputs = np.zeros((20, 3)), np.arange(60.0).reshape(20, 3)
    found = metrics.load_metric("worst")
    assert not found.higher_is_better
    assert evaluate(found, labels, outputs).value == pytest.approx(np.mean(np.arange(2, 60, 3)))


def test_a_board_profile(example: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text(example("A board profile"))
    monkeypatch.setattr(profiles.resources, "files", lambda _package: tmp_path)
    assert profiles.profile_names() == ["desk"]
    assert profiles.load_profile("desk").expected("machine") == "aarch64"


def test_every_folder_of_tests_has_a_budget_and_all_of_them_leave_the_rest_of_ci_its_time(checkout: Path) -> None:
    allowed = budget.budget()
    folders = {path.parent for path in (checkout / "tests").rglob("test_*.py")}
    names = {"/".join(path.relative_to(checkout).parts[:2]) for path in folders}
    assert {folder for folder, _ in allowed} == names
    total = {kind: sum(value for (_, each), value in allowed.items() if each == kind) for kind in budget.KINDS}
    # 30 minutes, less the newest lane's 2 and a minute for setting up, checking and the demo; boards run beside it.
    assert (total["quick"] + total["heavy"]) / 2 <= 27
    assert total["board"] <= 27


def test_a_folder_over_its_budget_is_marked() -> None:
    def report(nodeid: str, minutes: float, *marks: str) -> Any:
        return types.SimpleNamespace(nodeid=nodeid, duration=60 * minutes, keywords=dict.fromkeys(marks, 1))

    reports = [report("tests/data/a/test_x.py::test", 0.75), report("tests/data/test_y.py::test", 0.5)]
    reports += [report("tests/test_z.py::test", 0.9, "heavy"), report("tests/data/test_y.py::test_quick", 0.01)]
    took = budget.spent(reports)
    assert budget.lines(took, {("tests/data", "quick"): 1.3, ("tests", "heavy"): 0.5}) == [
        "   0.9 of  0.5 min  tests, heavy   OVER: make a test cheaper",
        "   1.3 of  1.3 min  tests/data, quick",
    ]
