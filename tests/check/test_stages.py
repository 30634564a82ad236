"""The check for passes and conversion says beforehand what they then do."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.api.check import check_model
from edgeopt.check.stages import STAGES
from edgeopt.errors import CheckError, UsageError
from edgeopt.passes.base import PassContext
from edgeopt.passes.cluster import Cluster
from edgeopt.passes.prune import Prune
from edgeopt.passes.qat import Qat
from edgeopt.passes.training import Training

STILL = Training(epochs=0)


def image_model():
    """What TFMOT refuses in an image network: scalings, a norm without convolution, merges, operations, activations."""
    import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Rescaling(1 / 255.0, name="scale")(image)
    x = layers.BatchNormalization(name="norm_first")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="hard_sigmoid", name="conv")(x)
    y = layers.PReLU(shared_axes=[1, 2], name="prelu")(layers.DepthwiseConv2D(3, padding="same", name="spatial")(x))
    x = layers.Subtract(name="difference")(
        [layers.Multiply(name="product")([x, y]), layers.Average(name="mean")([x, y])]
    )
    x = layers.LayerNormalization(name="layer_norm")(x * 2.0)
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(8, 1, name="inside")], name="nested")
    x = layers.Flatten(name="flat")(inner(x[..., :4]))
    return keras.Model(image, layers.Dense(4, name="classes")(x), name="images")


def sequence_model():
    import keras

    layers = keras.layers
    signal = keras.Input((8, 4), name="signal")
    x = layers.Conv1D(8, 3, name="conv")(signal)
    x = layers.LSTM(6, name="memory")(x)
    return keras.Model(signal, layers.Dense(4, name="classes")(x), name="sequences")


MODELS = {"images": image_model, "sequences": sequence_model}


def data(model):
    generator = np.random.default_rng(0)
    return generator.random((4, *model.input_shape[1:]), np.float32), generator.random((4, 4), np.float32)


@pytest.mark.heavy
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stage", ["prune", "cluster", "qat"])
def test_the_check_says_what_the_pass_then_does(name, stage):
    model = MODELS[name]()
    report = check_model(model, target=stage)
    steps = {
        "prune": Prune(sparsity=0.5, training=STILL),
        "cluster": Cluster(clusters=16, training=STILL),
        "qat": Qat(training=STILL),
    }
    done = steps[stage].apply(model, PassContext(train=data(model), loss="mse")).report
    assert not report.refused
    assert {(item.name, item.rule) for item in report.items if item.verdict == "skipped"} == {
        (entry.subject, entry.reason) for entry in done.skipped
    }


@pytest.mark.heavy
def test_the_matrix_of_quantisation_aware_training():
    """What TFMOT alone refuses is taken; what stays float is named."""
    verdicts = {item.name: item.verdict for item in check_model(image_model(), target="qat").items}
    taken = ("scale", "norm_first", "conv", "spatial", "prelu", "product", "mean", "difference", "inside", "classes")
    assert {name: verdicts[name] for name in taken} == dict.fromkeys(taken, "ok")
    assert verdicts["layer_norm"] == "skipped"
    sequence = {item.name: (item.verdict, item.rule) for item in check_model(sequence_model(), target="qat").items}
    assert sequence == {"conv": ("ok", None), "memory": ("skipped", "recurrent"), "classes": ("ok", None)}


def test_channels_that_have_to_stay_are_told():
    found = {item.name: item for item in check_model(sequence_model(), target="channels").items}
    assert found["classes"].rule == "model-output" and found["conv"].verdict == "skipped"


def custom_model():
    import keras

    class Odd(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    one = keras.Input((4,), name="one")
    x = Odd(name="odd")(keras.layers.Dense(8, name="dense")(one))
    return keras.Model(one, keras.layers.Dense(2, name="last")(Odd(name="odder")(x)), name="custom")


@pytest.mark.parametrize("stage", ["prune", "cluster", "qat"])
def test_every_layer_without_a_counterpart_is_refused_by_name(stage):
    report = check_model(custom_model(), target=stage)
    refused = {item.name: item for item in report.items if item.verdict == "refused"}
    assert set(refused) == {"odd", "odder"} and refused["odd"].rule == "bridge"
    assert "edgeopt.bridge.register" in refused["odd"].remedy
    with pytest.raises(CheckError, match=rf"{stage} refuses custom: Layer 'odd' is of the class Odd"):
        report.raise_if_refused()


def test_a_model_with_nothing_for_the_pass_is_refused():
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="relu")], name="bare")
    for stage in ("prune", "cluster", "channels"):
        report = check_model(model, target=stage)
        assert report.refused and report.items[0].name == "bare", stage


@pytest.mark.heavy
def test_conversion_names_the_layers_that_stay_float():
    import keras

    one = keras.Input((8, 8, 8), name="one")
    x = keras.layers.GroupNormalization(4, name="groups")(keras.layers.Conv2D(8, 3, padding="same", name="conv")(one))
    report = check_model(keras.Model(one, x, name="grouped"), target="convert")
    assert {item.name: item.rule for item in report.items} == {"conv": None, "groups": "float"}


def test_a_tflite_file_and_options_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(8))
    with pytest.raises(UsageError, match=r"is a .tflite file; check for 'prune' takes a Keras model"):
        check_model(path, target="prune")
    with pytest.raises(UsageError, match=r"option rules does not go with the target 'prune'; it takes none"):
        check_model(path, target="prune", rules="x.toml")
    with pytest.raises(UsageError, match=r"Unknown target 'prun' for check; did you mean 'prune'"):
        check_model(path, target="prun")


def test_the_registry_knows_the_stages():
    from edgeopt.check.registry import CHECKERS

    assert set(STAGES) == {name for name, place in CHECKERS.items() if "stages" in place}


def test_the_command_line_lists_what_is_not_taken(tmp_path, capsys):
    from edgeopt.cli import main

    path = tmp_path / "model.keras"
    sequence_model().save(path)
    assert main(["check", str(path), "--for", "channels"]) == 4  # the LSTM holds all channels there are
    out, error = capsys.readouterr()
    assert "skipped: classes (Dense) [model-output]" in " ".join(out.split())
    assert "No channels of this model can be removed" in error
