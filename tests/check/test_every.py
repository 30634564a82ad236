"""The check for all stages is the checks for each, layer by layer, with what `fix_model` would do."""

from __future__ import annotations

import pytest

from edgeopt.check.model import check_model
from edgeopt.check.stages import STAGES
from edgeopt.errors import DataError, UsageError


def network(keras):
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.SeparableConv2D(8, 3, name="separable")(image * 2.0)
    x = layers.BatchNormalization(name="norm")(layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = layers.LayerNormalization(name="layer_norm")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(layers.Flatten(name="flat")(x)), name="network")


@pytest.mark.heavy
def test_every_stage_says_what_it_says_alone(any_keras):
    model = network(any_keras)
    report = check_model(model)
    together = {(item.stage, item.name): (item.verdict, item.rule, item.reason) for item in report.items}
    alone = {
        (item.stage, item.name): (item.verdict, item.rule, item.reason)
        for stage in STAGES
        for item in check_model(model, target=stage).items
    }
    assert together == alone
    assert {verdict for verdict, _, _ in alone.values()} > {"ok", "skipped"}
    whole, *items = report.items
    assert (whole.kind, whole.stage, whole.rule) == ("model", "channels", "model"), (
        "nothing to remove in so small a one"
    )
    assert [item.stage for item in items] == len(items) // 5 * list(STAGES), "the stages of a layer stand together"


@pytest.mark.heavy
def test_the_summary_counts_by_stage_and_lists_the_rewrites():
    import keras

    report = check_model(network(keras))
    assert report.target is None and not report.refused
    assert report.summary["layers"] == 7
    counts = {stage: sum(counts.values()) for stage, counts in report.summary["stages"].items()}
    assert counts == {**dict.fromkeys(STAGES, 7), "channels": 8}, "channels speaks of the whole model as well"
    assert [fix["rule"] for fix in report.summary["fixes"]] == ["operation to layer", "folded", "folded"]
    report.raise_if_refused()
    assert report.to_dict()["verdict"] == "ok"


def test_a_subclassed_model_is_refused_by_the_passes_and_taken_by_the_conversion():
    import keras
    import numpy as np

    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2, name="dense")

        def call(self, inputs):
            return self.dense(inputs) * keras.ops.convert_to_tensor(np.float32(len(inputs.shape)))

    model = Mine()
    model(np.ones((1, 4), "float32"))
    model.call = lambda inputs: keras.ops.sum(model.dense(inputs)) + inputs[:, :2] if inputs.shape[0] else None
    report = check_model(model)
    refused = {item.stage: item for item in report.items if item.verdict == "refused"}
    assert set(refused) >= {"prune", "channels", "cluster", "qat"}
    assert "`edgeopt convert`, `validate` and `bench` take it as it is" in refused["qat"].reason
    assert report.summary["fixes"] == []


def test_a_saved_model_is_refused_by_the_passes(tmp_path):
    import keras
    import tensorflow as tf

    vector = keras.Input((4,), name="vector")
    tf.saved_model.save(keras.Model(vector, keras.layers.Dense(2)(vector)), str(tmp_path))
    report = check_model(tmp_path, target="qat")
    assert [item.kind for item in report.items] == ["model"]
    assert report.items[0].reason.startswith("A SavedModel holds no layers to work on; give the .keras or .h5 file")


def test_bad_calibration_data_are_no_fault_of_the_model():
    import keras

    with pytest.raises(DataError, match=r"Data none.npz does not exist"):
        check_model(network(keras), target="convert", calibration="none.npz")


def test_options_of_accelerators_and_tflite_files_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(8))
    with pytest.raises(UsageError, match=r"is a .tflite file, which is checked for an accelerator; give --for edgetpu"):
        check_model(path)
    with pytest.raises(UsageError, match="The option minimum_runtime goes with a target; name one with --for"):
        check_model(path, minimum_runtime=13)
