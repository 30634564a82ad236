"""`fix_model`: a file goes in, a file of the same flavour comes out, and nothing is written that was not compared."""

from __future__ import annotations

import json

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import ConversionError, DataError, FileFormatError, ModelError, OutputError, UsageError
from edgeopt.models.detect import detect


def model_of(keras):
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, name="conv")(layers.Rescaling(1 / 255, name="scale")(image))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization(name="norm")(x)))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="classes")(x), name="digits")


def images(count=5):
    return np.random.default_rng(3).integers(0, 256, (count, 8, 8, 1)).astype("float32")


@pytest.mark.smoke
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_becomes_a_file_of_the_same_flavour(any_keras, tmp_path, suffix):
    model = model_of(any_keras)
    model.save(tmp_path / f"model{suffix}")
    result = edgeopt.fix_model(tmp_path / f"model{suffix}", tmp_path / f"fixed{suffix}")
    assert [(change.layer, change.rule) for change in result.changes] == [("norm", "folded"), ("scale", "folded")]
    assert result.layers == (6, 4) and result.left == ()
    assert detect(tmp_path / f"fixed{suffix}").flavour is detect(tmp_path / f"model{suffix}").flavour
    again = any_keras.models.load_model(tmp_path / f"fixed{suffix}", compile=False)
    # float32 sums in another order: some 1e-7 of outputs of at most 1
    assert np.allclose(again(images()), model(images()), rtol=0, atol=2e-6)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_model_in_memory_gives_a_model_and_is_left_as_it_was(any_keras):
    model = model_of(any_keras)
    before = [weight.numpy() for weight in model.weights]
    result = edgeopt.fix_model(model, batch_size=1, calibration=images(20))
    assert isinstance(result.model, any_keras.Model) and result.output is None
    assert result.samples == 8 + 20 and result.relative_difference <= 1e-5
    assert result.model.inputs[0].shape[0] == 1
    assert all(np.array_equal(old, weight.numpy()) for old, weight in zip(before, model.weights, strict=True))
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found["layers"] == {"before": 6, "after": 4}
    assert found["changes"][0]["detail"] == "BatchNormalization into the weights of 'conv' before it"


def test_ones_own_samples_are_compared_as_well(monkeypatch):
    """A limit of a million is one that random inputs never reach, and the user's do."""
    import keras

    from edgeopt.models.rewrite import rewriting

    image = keras.Input((4,), name="image")
    model = keras.Model(image, keras.layers.ReLU(name="relu")(image))
    copy = rewriting.copy_layer
    monkeypatch.setattr(
        rewriting, "copy_layer", lambda layer, step, settings: copy(layer, step, {"max_value": 1e6, **settings})
    )
    assert edgeopt.fix_model(model).max_difference == 0
    with pytest.raises(ConversionError, match="first at layer 'relu'"):
        edgeopt.fix_model(model, calibration=np.linspace(0, 1e7, 20, dtype="float32").reshape(5, 4))
    with pytest.raises(DataError, match=r"gives shape \(5, 3\) for input 'image'; expected \(samples, 4\)"):
        edgeopt.fix_model(model, calibration=np.random.default_rng(0).random((5, 3)))


def test_nothing_is_written_when_the_outputs_differ(tmp_path, monkeypatch):
    import keras

    from edgeopt.models.rewrite import affine

    monkeypatch.setattr(affine, "fold_behind", lambda layer, weights, own: weights)
    with pytest.raises(ConversionError, match=r"differ from the original's .* first at layer 'conv' .*nothing was"):
        edgeopt.fix_model(trained(model_of(keras)), tmp_path / "fixed.keras")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_when_the_file_is_not_the_model(tmp_path, monkeypatch):
    import keras

    def other(path, **options):
        model = read(path, **options)
        model.set_weights([weight + 0.1 for weight in model.get_weights()])
        return model

    read = keras.models.load_model
    monkeypatch.setattr(keras.models, "load_model", other)
    with pytest.raises(ConversionError, match=r"saved and loaded again, gives outputs that differ by"):
        edgeopt.fix_model(model_of(keras), tmp_path / "fixed.keras")
    assert list(tmp_path.iterdir()) == []


def trained(model):
    norm = model.get_layer("norm")
    norm.set_weights([values + 0.5 for values in norm.get_weights()])
    return model


def test_outputs_are_refused_before_anything_is_loaded(tmp_path):
    for name, message in (
        ("fixed.tflite", r"ends in .tflite; expected a name in .keras or .h5"),
        ("fixed", r"ends in nothing; expected a name"),
        ("none/fixed.keras", "folder .*none does not exist"),
        ("model.keras", "is the model itself; choose another name"),
        ("there.keras", r"exists already; pass --force \(force=True\)"),
    ):
        (tmp_path / "there.keras").write_bytes(b"")
        with pytest.raises(OutputError, match=message):
            edgeopt.fix_model(tmp_path / "model.keras", tmp_path / name)
    with pytest.raises(UsageError, match="batch_size is 0; expected at least 1"):
        edgeopt.fix_model(tmp_path / "model.keras", batch_size=0)


def test_an_output_is_replaced_by_force_and_kept_when_the_model_is_no_good(tmp_path):
    import keras

    target = tmp_path / "fixed.keras"
    target.write_bytes(b"old")
    (tmp_path / "bad.keras").write_bytes(b"junk")
    with pytest.raises(FileFormatError, match="is not a Keras model"):
        edgeopt.fix_model(tmp_path / "bad.keras", target, force=True)
    assert target.read_bytes() == b"old"
    edgeopt.fix_model(model_of(keras), target, force=True)
    assert detect(target).flavour.value == "keras"


def test_what_cannot_be_fixed_is_refused_with_what_can_be_done(tmp_path):
    import keras
    import tensorflow as tf

    tf.saved_model.save(model_of(keras), str(tmp_path / "saved"))
    with pytest.raises(ModelError, match="is a SavedModel, which holds no layers to work on; give the .keras or .h5"):
        edgeopt.fix_model(tmp_path / "saved")
    with pytest.raises(UsageError, match="Received a model of type builtins.int; expected a Keras model"):
        edgeopt.fix_model(3)
    image = keras.Input((4, 3))
    sliced = keras.Model(image, keras.layers.Dense(2)(image[:, :2]))
    with pytest.raises(ModelError, match=r"keras cannot save the new model as .h5 and load it back .* in .keras"):
        edgeopt.fix_model(sliced, tmp_path / "fixed.h5")
    assert not (tmp_path / "fixed.h5").exists()


def test_ones_own_layers_and_lambdas_are_saved_with_the_rest(any_keras, tmp_path):
    class Mine(any_keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    vector = any_keras.Input((4,), name="vector")
    x = any_keras.layers.BatchNormalization(name="norm")(any_keras.layers.Dense(3, name="dense")(vector))
    x = any_keras.layers.Lambda(lambda value: value + 1.0, output_shape=(3,))(Mine(name="mine")(x))
    result = edgeopt.fix_model(any_keras.Model(vector, x), tmp_path / "fixed.keras")
    assert [change.layer for change in result.changes] == ["norm"]
    assert (tmp_path / "fixed.keras").is_file()
