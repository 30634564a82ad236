"""What every registered pass owes its driver, one pass after the other: a new pass gets a line in `EXAMPLES`."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from edgeopt.errors import RecipeError, UsageError
from edgeopt.models.load import flavour_of
from edgeopt.passes.base import Pass, PassReport
from edgeopt.passes.registry import pass_class, plan, resolved
from edgeopt.recipes.optimize import KINDS
from edgeopt.training import Distillation, PassContext

TRAINING = {"epochs": 1, "batch_size": 16}
# Those that are not applied here: `binarize` has Larq's layers and a process of its own (test_binarize.py).
ELSEWHERE = ("binarize",)
# Kind -> options that are good, and one option more that is bad, with what is said of it.
EXAMPLES = {
    "binarize": ({"least_inputs": 8, **TRAINING}, {"epochs": 0}, "expected at least 1"),
    "channels": ({"fraction": 0.3, "multiple": 4, "minimum": 4, "importance": "taylor"}, {"of": "mac"}, "'macs'"),
    "cluster": ({"clusters": 4, **TRAINING}, {"initialization": "kmean"}, r"'kmeans\+\+'"),
    "distil": (TRAINING, {"alpha": 1.5}, r"the share of the teacher, in \[0, 1\]"),
    "finetune": (TRAINING, {"epochs": 0}, "expected at least 1"),
    "prune": ({"sparsity": 0.5, **TRAINING}, {"sparsity": 1.0}, r"the fraction of zeros, in \[0, 1\)"),
    "qat": (TRAINING, {"preserve": "sparse"}, "'sparsity'"),
}
WITH_SKIP = [
    kind for kind in EXAMPLES if kind not in ELSEWHERE and "skip" in {item.name for item in fields(pass_class(kind))}
]
X = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
Y = np.arange(32) % 2


def network(keras):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    wide = [layers.Dense(16, activation="relu", name=name) for name in ("first", "second")]
    return keras.Sequential([keras.Input((6,), name="x"), *wide, layers.Dense(2, activation="softmax", name="last")])


def context_of(step, model):
    teacher = Distillation(teacher=model) if step.wants_teacher else None
    return PassContext(train=(X, Y), loss="sparse_categorical_crossentropy", distillation=teacher)


def state(model):
    return json.dumps(model.get_config(), default=str), [weight.tobytes() for weight in model.get_weights()]


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def each_keras(request):
    return importlib.import_module(request.param)


@pytest.fixture(scope="module", params=[kind for kind in EXAMPLES if kind not in ELSEWHERE])
def applied(request, each_keras):
    """A pass, the model that it was given, what that was before, and the result."""
    step, model = plan({"kind": request.param, **EXAMPLES[request.param][0]}).step, network(each_keras)
    before = state(model)
    return step, model, before, step.apply(model, context_of(step, model))


def test_every_registered_pass_has_an_example():
    assert set(EXAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_good_options_make_a_pass_and_are_written_as_they_were_read(kind):
    table = {"kind": kind, **EXAMPLES[kind][0]}
    planned = plan(table)
    planned.step.check()
    assert isinstance(planned.step, Pass)
    assert planned.step.name == kind
    assert {**resolved(planned), **table} == resolved(planned)
    assert plan(resolved(planned)) == planned


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_old_spelling_of_a_schedule_is_read(kind):
    own = "sparsity_schedule" if kind == "prune" else "learning_rate_schedule"
    table = {"kind": kind, **EXAMPLES[kind][0], "epochs": 1}
    assert plan({**table, "schedule": "constant"}) == plan({**table, own: "constant"})
    with pytest.raises(RecipeError, match=f"Received {own}='constnt'; did you mean 'constant'"):
        plan({**table, "schedule": "constnt"})


@pytest.mark.parametrize("kind", EXAMPLES)
def test_bad_options_are_refused_by_name(kind):
    good, bad, message = EXAMPLES[kind]
    with pytest.raises(
        RecipeError, match=f"epochs=0.*{message}" if "epochs" in bad else f"{next(iter(bad))}=.*{message}"
    ):
        plan({"kind": kind, **good, **bad})
    with pytest.raises(RecipeError, match="Unknown option 'bach_size' .*did you mean 'batch_size'"):
        plan({"kind": kind, **good, "bach_size": 1})


def test_passes_are_made_and_refused_before_tensorflow_is_loaded():
    script = f"""
import sys
from edgeopt.errors import RecipeError
from edgeopt.passes.registry import plan
for kind, (good, bad, _) in {EXAMPLES!r}.items():
    plan({{"kind": kind, **good}}).step.check()
    try:
        plan({{"kind": kind, **good, **bad}})
    except RecipeError:
        continue
    sys.exit(kind + " takes what is bad")
sys.exit(", ".join(name for name in ("tensorflow", "keras", "tf_keras") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr.strip()) == (1, ""), done.stderr  # sys.exit of a text prints it and returns 1


def test_what_a_pass_needs_is_asked_for(applied):
    step, model, _, _ = applied
    assert step.needs
    for need in step.needs:
        with pytest.raises(
            UsageError, match=f"Pass {step.name!r} needs .* with these options, and got none; give it as {need}="
        ):
            step.apply(model, replace(context_of(step, model), **{need: None}))


def test_the_model_that_was_given_is_as_it_was(applied):
    _, model, before, _ = applied
    assert state(model) == before


def test_another_model_of_the_same_flavour_comes_out_and_what_is_to_be_exported_runs(applied):
    _, model, before, result = applied
    assert result.model is not model
    assert flavour_of(result.model) is flavour_of(model)
    assert state(result.model)[1] != before[1]
    assert result.model.input_shape == model.input_shape
    for made in (result.model, result.exported):
        outputs = np.asarray(made(X))
        assert outputs.shape == (32, 2)
        assert np.isfinite(outputs).all()


def test_the_report_is_json_and_says_what_it_buys(applied):
    step, _, _, result = applied
    assert isinstance(result.report, PassReport)
    values = json.loads(json.dumps(result.report.to_dict(), allow_nan=False))
    assert values["skipped"] == [entry.to_dict() for entry in result.report.skipped]
    assert result.report.note.endswith(".")
    if step.training is not None:
        assert values["training"] == step.training.to_dict()
        assert [set(epoch) for epoch in values["history"]] == [set(result.report.history[0])]
        assert "loss" in values["history"][0]


@pytest.mark.parametrize("kind", WITH_SKIP)
def test_layers_that_are_skipped_stay_and_are_told(kind, each_keras):
    table = {"kind": kind, **EXAMPLES[kind][0]}
    model = network(each_keras)
    step = plan({**table, "skip": ["first"]}).step
    result = step.apply(model, context_of(step, model))
    assert ("first", "in-skip-list") in {(entry.subject, entry.reason) for entry in result.report.skipped}
    kernel = result.model.get_layer("first").kernel.numpy()
    assert kernel.shape == (6, 16)
    assert len(np.unique(kernel)) > 90, "neither zeros nor a few values"
    with pytest.raises(UsageError, match="skip .*'frist'.*did you mean 'first'"):
        plan({**table, "skip": ["frist"]}).step.apply(model, context_of(step, model))
    with pytest.raises(RecipeError, match="skip='first'; expected a list of layer names"):
        plan({**table, "skip": "first"})
