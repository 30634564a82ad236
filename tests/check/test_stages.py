"""The check for passes and conversion says beforehand what they then do."""

from __future__ import annotations

import pytest

from edgeopt.check.model import check_model
from edgeopt.check.stages import STAGES
from edgeopt.errors import CheckError, UsageError


def sequence_model():
    import keras

    layers = keras.layers
    signal = keras.Input((8, 4), name="signal")
    x = layers.Conv1D(8, 3, name="conv")(signal)
    x = layers.LSTM(6, name="memory")(x)
    return keras.Model(signal, layers.Dense(4, name="classes")(x), name="sequences")


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
    x = keras.layers.Conv2D(8, 3, padding="same", name="conv")(one)
    x = keras.layers.Dense(2, name="last")(keras.layers.Activation("log_sigmoid", name="negated")(x))
    report = check_model(keras.Model(one, x, name="grouped"), target="convert")
    assert {item.name: item.rule for item in report.items} == {"conv": None, "negated": "float", "last": None}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("ids", "masked", "remedy"),
    [
        ("float32", False, r"dtype='int32'"),
        ("int32", True, r"pool without a mask"),
    ],
)
def test_a_float_operator_has_the_remedy_of_its_cause(ids, masked, remedy):
    import keras

    parts = [keras.layers.Embedding(9, 4, mask_zero=masked), keras.layers.GlobalAveragePooling1D()]
    report = check_model(keras.Sequential([keras.Input((6,), dtype=ids), *parts]), target="convert")
    assert remedy in " ".join(item.remedy for item in report.items if item.verdict == "refused")


@pytest.mark.heavy
def test_strings_are_refused_with_the_remedy_of_the_conversion_alone():
    import keras

    words = keras.Input((6,), dtype="string")
    ids = keras.layers.Hashing(8, name="hashing")(words)
    model = keras.Model(words, keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Embedding(9, 4)(ids))))
    (item,) = [item for item in check_model(model, target="convert").items if item.verdict == "refused"]
    assert "'hashing' (Hashing) need the operator StringToHashBucketFast" in item.reason
    assert item.remedy.startswith("let the file begin behind: --from-layer embedding") and item.reason.endswith(
        item.remedy
    )


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
