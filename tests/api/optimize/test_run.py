"""`edgeopt.optimize`: stages, resuming to the bit, and what is refused before anything slow runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

import edgeopt
from edgeopt.api.optimize.data import check_recipe_data
from edgeopt.api.optimize.loss import loss_for
from edgeopt.api.optimize.workbench import Measuring, Workbench
from edgeopt.data.dataset import load_dataset
from edgeopt.devices import BenchPlan
from edgeopt.errors import DataError, ModelError, RecipeError, UsageError
from edgeopt.passes.prune import Prune
from edgeopt.recipes.convert import ConvertRecipe
from edgeopt.recipes.optimize import OptimizeRecipe
from edgeopt.training import PassContext, Training

SPARSE = ConvertRecipe(sparse_weights=True)
SHORT = BenchPlan(min_seconds=0.0, max_seconds=0.05, min_runs=5, processes=1)


def data(count=64):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, count)
    return generator.normal(size=(count, 6, 6, 1)).astype(np.float32) + labels[:, None, None, None], labels


def network(keras, activation="softmax"):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1), name="image"),
            layers.Conv2D(16, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dropout(0.2, name="drop"),
            layers.Dense(2, activation=activation, name="classes"),
        ],
        name="small",
    )


RECIPE = {
    "pass": [
        {"kind": "channels", "fraction": 0.4, "epochs": 1},
        {"kind": "finetune", "epochs": 3, "learning_rate_schedule": "cosine"},
    ],
    "distillation": {"alpha": 0.5},
}


@pytest.mark.heavy
@pytest.mark.smoke
def test_an_interrupted_run_resumes_in_the_middle_of_a_pass_to_the_weights_of_an_unbroken_one(any_keras, tmp_path):
    keras, (x, y) = any_keras, data()
    options = {"train": (x, y), "validation": (x, y), "bench": SHORT}
    whole = edgeopt.optimize(network(keras), RECIPE, **options)
    assert [stage.name for stage in whole.stages] == ["00-original", "01-channels", "02-finetune"]
    assert whole.stages[1].figures["macs"] < 0.7 * whole.stages[0].figures["macs"]
    assert whole.stages[1].report["finetune"]["history"]
    assert whole.compression[0].macs.changed
    assert type(whole.model).__module__.split(".")[0] == keras.__name__

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:  # of three, in the second pass: the first has one
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edgeopt.optimize(network(keras), RECIPE, output=tmp_path / "out", callbacks=[Interrupt()], **options)
    assert not (tmp_path / "out" / "result.json").exists()
    said = []
    resumed = edgeopt.optimize(
        network(keras), RECIPE, output=tmp_path / "out", resume=True, on_step=said.append, **options
    )
    assert "01-channels: taken from the earlier run" in said
    assert "finetune: going on after epoch 2 of 3" in said
    for ours, theirs in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    assert resumed.artifact.model == whole.artifact.model


@pytest.mark.heavy
def test_a_cut_to_a_latency_is_not_measured_again_when_the_training_behind_it_is_resumed(tmp_path, monkeypatch):
    """The second measurement is 15 % slower, and would cut further than the checkpoint's model."""
    import keras

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    (x, y), layers = data(), keras.layers
    keras.utils.set_random_seed(1)
    convolutions = [layers.Conv2D(32, 3, activation="relu", name=name) for name in ("one", "two")]
    last = [layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax", name="classes")]
    model = keras.Sequential([keras.Input((6, 6, 1), name="image"), *convolutions, *last])
    options = {"train": (x, y), "validation": (x, y), "bench": SHORT, "output": tmp_path / "out"}
    recipe = {"pass": [{"kind": "channels", "latency_ms": 0.09, "epochs": 2}]}
    monkeypatch.setattr(Workbench, "latency_ms", lambda self, file: len(file) / 1e5)
    with pytest.raises(KeyboardInterrupt):
        edgeopt.optimize(model, recipe, callbacks=[Interrupt()], **options)
    monkeypatch.setattr(Workbench, "latency_ms", lambda self, file: 1.15 * len(file) / 1e5)
    said = []
    resumed = edgeopt.optimize(model, recipe, resume=True, on_step=said.append, **options)
    assert "finetune: going on after epoch 1 of 2" in said
    assert resumed.stages[1].report["latency"]["after_ms"] <= 0.09
    written = OptimizeRecipe.load(tmp_path / "out" / "recipe.toml")
    assert written.passes[0]["importance"] == "l1", "with the defaults that it was run with"
    assert (written.passes[0]["epochs"], written.passes[0]["optimizer"]) == (2, "adam")


def wide():
    import keras

    layers = keras.layers
    return keras.Sequential(
        [keras.Input((6, 6, 1), name="image"), layers.Flatten(), layers.Dense(256, activation="relu", name="wide"),
         layers.Dense(2, activation="softmax", name="classes")]
    )  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("sparsity", "runs", "reasons"),
    [(0.9, True, []), (0.9, False, ["does-not-run"]), (0.4, True, ["file-not-smaller"]), (0.2, True, ["few-zeros"])],
)
def test_sparse_kernels_are_kept_only_where_the_file_is_smaller_for_them_and_runs(monkeypatch, sparsity, runs, reasons):
    """Whether the runtime here has kernels for them (XNNPACK has none) is not left to it: both are tried."""

    def timed(self, file):
        if not runs:
            raise ModelError("no such kernel")
        return 1.0

    monkeypatch.setattr(Workbench, "latency_ms", timed)
    pruned = Prune(sparsity=sparsity, training=Training(epochs=0)).apply(wide(), PassContext()).model
    recipe = OptimizeRecipe(convert=SPARSE)
    measuring = Measuring("local", None, "auto", SHORT, None)
    samples = check_recipe_data(data(), data(), None, SPARSE)
    bench = Workbench(recipe, pruned, samples, None, (), measuring, lambda line: None)
    file, left = bench.smallest(pruned, "01-prune")
    assert [(entry["stage"], entry["subject"], entry["reason"]) for entry in left] == [
        ("01-prune", "sparse_weights", reason) for reason in reasons
    ]
    assert (file.sidecar["ops"].get("DENSIFY", 0) > 0) == (reasons == [])
    assert (file.size_bytes < bench.export(pruned).size_bytes) == (reasons == [])


@pytest.mark.heavy
def test_a_run_tells_why_a_stage_has_no_sparse_kernels():
    x, y = data()
    recipe = {
        "pass": [{"kind": "prune", "sparsity": 0.9, "epochs": 0}],
        "convert": {"sparse_weights": True},
        "loss": "sparse_categorical_crossentropy",
    }
    result = edgeopt.optimize(wide(), recipe, train=(x, y), validation=(x, y), bench=SHORT)
    original, pruned = result.stages
    assert next((entry["stage"], entry["subject"], entry["reason"]) for entry in result.skipped) == (
        "00-original", "sparse_weights", "few-zeros",
    )  # fmt: skip
    assert (original.figures["densify_ops"], original.figures["expanded_weight_bytes"]) == (0, 0)
    assert pruned.figures["sparsity"] == pytest.approx(0.9, abs=0.02)
    reasons = [entry["reason"] for entry in pruned.skipped if entry["subject"] == "sparse_weights"]
    assert reasons == ([] if pruned.figures["densify_ops"] else ["does-not-run"]), "as the runtime here has it"


def test_bad_input_is_refused_before_anything_is_computed():
    x, y = data(8)
    good = {"train": (x, y), "validation": (x, y)}
    with pytest.raises(RecipeError, match="Unknown option 'epoch' of the pass 'finetune'; did you mean 'epochs'"):
        edgeopt.optimize(None, {"pass": [{"kind": "finetune", "epoch": 1}]}, **good)
    with pytest.raises(DataError, match="needs validation data with labels"):
        edgeopt.optimize(None, {}, train=(x, y), validation=None)
    with pytest.raises(UsageError, match="give output="):
        edgeopt.optimize(None, {}, resume=True, **good)
    with pytest.raises(UsageError, match="expected a Keras model"):
        edgeopt.optimize(3, {}, **good)
    with pytest.raises(UsageError, match="Unknown runtime 'tflite-runtime'; did you mean 'tflite_runtime'"):
        edgeopt.optimize(None, {}, runtime="tflite-runtime", **good)


def test_a_saved_model_has_no_layers_to_work_on(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.f = tf.function(lambda x: x * 2.0, input_signature=[tf.TensorSpec((None, 3))])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.f)
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(ModelError, match="is a SavedModel, .* give the .keras or .h5 file"):
        edgeopt.optimize(tmp_path / "saved", {}, train=(x, x), validation=(x, x))


@pytest.mark.parametrize(
    ("activation", "labels", "expected", "logits"),
    [
        ("softmax", "classes", "SparseCategoricalCrossentropy", False),
        (None, "classes", "SparseCategoricalCrossentropy", True),
        ("softmax", "rows", "CategoricalCrossentropy", False),
        (None, "numbers", "MeanSquaredError", None),
    ],
)
def test_labels_and_outputs_suggest_the_loss(any_keras, activation, labels, expected, logits):
    x, y = data(16)
    chosen = {"classes": y, "rows": np.eye(2)[y], "numbers": np.stack([y, y], 1) * 0.7}[labels]
    loss = loss_for(network(any_keras, activation), None, load_dataset((x, chosen)))
    assert type(loss).__name__ == expected
    if logits is not None:
        config = loss.get_config()
        assert config.get("from_logits", config.get("fn_kwargs", {}).get("from_logits")) is logits


def test_a_loss_that_was_given_or_compiled_comes_first(any_keras):
    model = network(any_keras)
    model.compile(loss="mse")
    assert loss_for(model, "mae", None) == "mae"
    assert loss_for(model, None, None) == "mse"
    with pytest.raises(UsageError, match="Unknown loss 'msee'; did you mean 'mse'"):
        loss_for(model, "msee", None)
    with pytest.raises(UsageError, match="do not tell which loss"):
        loss_for(network(any_keras), None, iter([]))


def test_data_of_another_run_have_another_digest():
    x, y = data(16)
    one, same = (check_recipe_data((x, y), (x, y), None, ConvertRecipe()).digest for _ in range(2))
    other = check_recipe_data((x + 1, y), (x, y), None, ConvertRecipe()).digest
    assert one == same
    assert one["train"] != other["train"]
    assert one["validation"] == other["validation"]


def test_whole_numbers_are_classes_only_where_they_can_be(any_keras):
    x, y = data(16)
    layers = any_keras.layers
    model = any_keras.Sequential([any_keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(1)])
    for labels, expected in ((y, "BinaryCrossentropy"), (20 + 3 * y, "MeanSquaredError"), (-y, "MeanSquaredError")):
        assert type(loss_for(model, None, load_dataset((x, labels)))).__name__ == expected


@pytest.mark.heavy
def test_only_the_same_run_is_resumed_and_what_was_trusted_once_is_again(tmp_path):
    import keras

    class Stop(Exception):
        pass

    def stop_at(line):
        if line.startswith("02-finetune: applying"):
            raise Stop

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6, 6, 1), name="image"), layers.Lambda(lambda x: x * 2.0, output_shape=(6, 6, 1)),
         layers.Flatten(), layers.Dense(2, activation="softmax", name="classes")]
    )  # fmt: skip
    x, y = data()
    recipe = {"pass": [{"kind": "finetune"}, {"kind": "finetune"}], "loss": "sparse_categorical_crossentropy"}
    options = {"train": (x, y), "validation": (x, y), "bench": SHORT, "output": tmp_path / "out"}
    with pytest.raises(Stop):
        edgeopt.optimize(model, recipe, on_step=stop_at, **options)
    for other, what in (
        ({"loss": "mse"}, "loss"),
        ({"runtime": "tflite_runtime"}, "runtime"),
        ({"device": "pi"}, "device"),
    ):
        with pytest.raises(UsageError, match=f"was of another {what}; resume it with the same"):
            edgeopt.optimize(model, recipe, resume=True, **options, **other)
    assert len(edgeopt.optimize(model, recipe, resume=True, **options).stages) == 3


@pytest.mark.heavy
def test_a_function_as_the_student_is_written_by_its_name(tmp_path):
    import keras

    def smaller(teacher):
        return network(keras)

    x, y = data()
    recipe = {"pass": [{"kind": "distil", "student": smaller}], "loss": "sparse_categorical_crossentropy"}
    result = edgeopt.optimize(
        network(keras), recipe, train=(x, y), validation=(x, y), bench=SHORT, output=tmp_path / "out"
    )
    assert [stage.name for stage in result.stages] == ["00-original", "01-distil"]
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert written["recipe"]["pass"][0]["student"].endswith(".smaller")
