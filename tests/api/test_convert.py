"""`edgeopt.convert`: the file is what was asked for, and computes what the model computes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import ConversionError, DataError, NotFullyIntegerError, RecipeError, UsageError
from edgeopt.models.load import describe

COUNT = 40
X = np.random.default_rng(0).uniform(-1, 1, size=(COUNT, 12, 12, 3)).astype(np.float32)


def network(keras):
    """Convolution, batch norm, depthwise, Dense: three layers with weights, linear output."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, use_bias=False, name="conv")(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, name="depthwise")(x))
    return keras.Model(image, layers.Dense(5, name="scores")(layers.Flatten()(x)), name="small")


@pytest.fixture(scope="module")
def model(any_keras):
    return network(any_keras)


@pytest.fixture(scope="module")
def convert(model):
    """Convert the module's model in this process; each set of options once."""
    made = {}

    def run(**options):
        key = json.dumps(options, sort_keys=True)
        if key not in made:
            data = X if options.get("quantize", "int8") in ("int8", "int16x8") else None
            made[key] = edgeopt.convert(model, calibration=data, calibration_samples=COUNT, isolate=False, **options)
        return made[key]

    return run


def outputs(running, artifact, count=8):
    run = running(artifact.model)
    return np.concatenate([run.real({"image": X[i : i + 1]})[0] for i in range(count)])


# --- modes ---------------------------------------------------------------------------------------------------------

# Largest error as a share of the outputs' range. Three layers with weights: int8 rounds weights to 1/127 of a
# channel's range and activations to 1/255, at worst half a step each and adding up, so 3 * (1/254 + 1/510) is 1.8 %,
# and twice that leaves room for the flattened sum; 8-bit weights alone 1.2 %; float16 2**-11 a layer.
TOLERANCE = {"int8": 0.036, "int16x8": 0.012, "float16": 3 * 2**-11, "dynamic": 0.012 + 0.018, "float32": 1e-6}


@pytest.mark.smoke
@pytest.mark.parametrize("mode", TOLERANCE)
def test_every_mode_computes_what_the_model_computes(convert, model, running, mode):
    artifact = convert(quantize=mode)
    expected = np.asarray(model(X[:8], training=False))
    error = np.abs(outputs(running, artifact) - expected).max() / np.ptp(expected)
    assert error < TOLERANCE[mode]
    wrong = np.abs(outputs(running, artifact)[::-1] - expected).max() / np.ptp(expected)
    assert wrong > 5 * TOLERANCE[mode]  # the planted bad case: samples in another order
    assert artifact.fully_int8 is (mode == "int8")
    kinds = {"int8": "int8", "int16x8": "int16"}
    (end,) = {item["dtype"] for item in (*artifact.sidecar["inputs"], *artifact.sidecar["outputs"])}
    assert end == kinds.get(mode, "float32")


def canonical(model, mode):
    """The script that a user of TensorFlow would write."""
    import warnings

    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if mode == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([X[i : i + 1]] for i in range(COUNT))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls its own interpreter deprecated
        return bytes(converter.convert())


@pytest.mark.smoke
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_the_outputs_are_those_of_the_usual_script_to_the_bit(convert, model, running, mode):
    ours, theirs = running(convert(quantize=mode, ranges="minmax").model), running(canonical(model, mode))
    (name,) = theirs.input_names
    for sample in X[:8]:
        (mine,) = ours.stored({"image": sample[np.newaxis]})
        (other,) = theirs.stored({name: sample[np.newaxis]})
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    ("mode", "input_type", "output_type"),
    [
        ("int8", "uint8", "uint8"),
        ("int8", "float32", "int8"),
        ("int8", "int8", "float32"),
        ("int16x8", "int16", "float32"),
        ("int16x8", "float32", "float32"),
    ],
)
def test_input_and_output_types(convert, running, mode, input_type, output_type):
    artifact = convert(quantize=mode, input_type=input_type, output_type=output_type)
    assert artifact.sidecar["inputs"][0]["dtype"] == input_type
    assert artifact.sidecar["outputs"][0]["dtype"] == output_type
    plain, other = outputs(running, convert(quantize=mode), 4), outputs(running, artifact, 4)
    # The same file but for QUANTIZE at its ends: the same grid, reached by a different rounding of exact halves.
    np.testing.assert_allclose(other, plain, rtol=0, atol=2 * max(running(convert(quantize=mode).model).steps()))


def test_types_may_be_given_as_tensorflow_and_numpy_have_them(convert, model):
    import tensorflow as tf

    artifact = edgeopt.convert(
        model,
        calibration=X,
        calibration_samples=8,
        isolate=False,
        inference_input_type=tf.uint8,
        output_type=np.float32,
    )
    assert artifact.sidecar["recipe"]["input_type"] == "uint8"
    assert artifact.sidecar["recipe"]["output_type"] == "float32"


def test_dense_weights_per_tensor_when_asked_for(convert):
    default, asked = convert().sidecar["granularity"], convert(per_tensor_dense=True).sidecar["granularity"]
    assert default["FULLY_CONNECTED"] == "per-channel"
    assert asked["FULLY_CONNECTED"] == "per-tensor"
    assert asked["CONV_2D"] == asked["DEPTHWISE_CONV_2D"] == "per-channel"


def test_a_batch_of_four(convert, running):
    artifact = convert(batch_size=4)
    assert artifact.sidecar["inputs"][0]["shape"] == [4, 12, 12, 3]
    (found,) = running(artifact.model).stored({"image": X[:4]})
    single = running(convert().model)
    np.testing.assert_array_equal(found, np.concatenate([single.stored({"image": X[i : i + 1]})[0] for i in range(4)]))


@pytest.mark.parametrize("mode", ["int8", "float32"])
def test_a_dynamic_batch_stays_open(convert, running, mode):
    artifact = convert(dynamic_batch=True, quantize=mode)
    assert artifact.sidecar["inputs"][0]["shape"] == [1, 12, 12, 3]
    assert artifact.sidecar["inputs"][0]["signature"] == [-1, 12, 12, 3]
    run = running(artifact.model)
    run.interpreter.resize_tensor_input(run.inputs["image"]["index"], (3, 12, 12, 3))
    run.interpreter.allocate_tensors()
    assert run.real({"image": X[:3]})[0].shape == (3, 5)


# --- the sidecar ---------------------------------------------------------------------------------------------------


def test_the_sidecar_has_the_documented_fields(convert):
    fields = convert(preprocess="divided by 255").to_dict()
    json.dumps(fields, allow_nan=False)
    assert {
        *("schema_version", "tool", "verdict", "size_bytes", "gzip_bytes", "quantize", "fully_int8", "float_ops"),
        *("inputs", "outputs", "ops", "macs", "parameters", "calibration", "seconds", "warnings"),
    } <= fields.keys()
    assert fields["schema_version"] == 1
    assert fields["size_bytes"] == len(convert(preprocess="divided by 255").model)
    assert 0 < fields["gzip_bytes"] < fields["size_bytes"] + 100
    for item in (*fields["inputs"], *fields["outputs"]):
        assert {"name", "dtype", "shape", "scale", "zero_point"} <= item.keys()
        assert item["scale"] > 0
    assert fields["preprocess"] == "divided by 255"
    # 5x5 positions of 8 filters of 3x3x3, 3x3 of 8 of 3x3, and 72 x 5.
    assert fields["macs"] == 5 * 5 * 8 * 27 + 3 * 3 * 8 * 9 + 72 * 5
    seconds = dict(fields["seconds"])
    assert {"start", "data", "load", "export", "convert", "calibrate", "fidelity", "check", "total"} <= seconds.keys()
    assert all(value >= 0 for value in seconds.values())
    assert sum(seconds.values()) - seconds["total"] <= seconds["total"]
    assert fields["recipe"]["quantize"] == "int8"
    assert {"tensorflow", "keras", "python", "edgeopt"} <= fields["tools"].keys()
    assert fields["source_model"]["name"] == "small"
    assert fields["converter"]["flags"]["inference_input_type"] == "int8"


def test_the_sidecar_names_the_samples_that_calibrated(convert):
    from edgeopt.data.dataset import sample_hashes

    calibration = convert().sidecar["calibration"]
    assert (calibration["count"], calibration["seed"]) == (COUNT, 0)
    assert calibration["hashes"] == sample_hashes([X])
    assert convert(quantize="float16").sidecar["calibration"] is None


def test_saving_and_loading(convert, tmp_path):
    convert().save(tmp_path / "m.tflite")
    found = edgeopt.Artifact.load(tmp_path / "m.tflite")
    assert found.model == convert().model
    assert found.sidecar["sha256"] == convert().sha256


def test_the_file_keeps_its_own_sums(convert):
    assert convert().sidecar["ops"] == {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "RESHAPE": 1}
    assert convert().sidecar["float_ops"] == []


# --- what goes in --------------------------------------------------------------------------------------------------


def sources():
    import tensorflow as tf

    def representative_dataset():
        for row in X:
            yield [row[np.newaxis]]

    return {
        "dict": lambda: {"image": X},
        "pair": lambda: (X, np.arange(COUNT) % 3),
        "representative_dataset": lambda: representative_dataset,
        "generator": lambda: representative_dataset(),
        "tf.data": lambda: tf.data.Dataset.from_tensor_slices((X, np.zeros(COUNT))).batch(7),
    }


@pytest.mark.parametrize("kind", ["dict", "pair", "representative_dataset", "generator", "tf.data"])
def test_the_kind_of_data_does_not_matter(convert, model, kind):
    artifact = edgeopt.convert(model, calibration=sources()[kind](), calibration_samples=COUNT, isolate=False)
    assert artifact.sha256 == convert().sha256
    assert artifact.sidecar["calibration"]["hashes"] == convert().sidecar["calibration"]["hashes"]


def test_unneeded_data_are_not_passed_over_in_silence(model):
    artifact = edgeopt.convert(model, calibration=X, quantize="float16", isolate=False)
    text = "unused: the calibration data were not needed for quantize='float16'"
    assert artifact.warnings == (f"{text}; the file was compared with the model on them",)
    assert artifact.fidelity.holds and artifact.fidelity.snr_db > 40
    untouched = edgeopt.convert(model, calibration=X, quantize="float16", fidelity=False, isolate=False)
    assert (untouched.warnings, untouched.fidelity) == ((text,), None)


def test_a_recipe_and_single_changes(model):
    from edgeopt.recipes.convert import ConvertRecipe

    recipe = ConvertRecipe(quantize="float16", preprocess="as it is")
    artifact = edgeopt.convert(model, recipe=recipe, batch_size=2, isolate=False)
    assert (artifact.sidecar["quantize"], artifact.sidecar["preprocess"]) == ("float16", "as it is")
    assert artifact.sidecar["inputs"][0]["shape"][0] == 2


def test_a_range_far_from_what_the_model_was_made_for_is_a_warning(any_keras):
    layers = any_keras.layers
    model = any_keras.Sequential(
        [any_keras.Input((12, 12, 3), name="image"), layers.Rescaling(1 / 255, name="scale"), layers.Conv2D(2, 3)]
    )
    artifact = edgeopt.convert(model, calibration=X, calibration_samples=COUNT, isolate=False)
    assert [text.split(":")[0] for text in artifact.warnings] == ["range"]
    assert "layer 'scale' was made for about [0, 255]; check the scaling" in artifact.warnings[0]
    fitting = edgeopt.convert(model, calibration=127 * (X + 1), calibration_samples=COUNT, isolate=False)
    assert fitting.warnings == ()


def test_fewer_samples_than_asked_for_is_a_warning(model):
    artifact = edgeopt.convert(model, calibration=X, isolate=False)
    assert [text.split(":")[0] for text in artifact.warnings] == ["few-samples"]


def test_a_mixed_precision_model_is_fully_int8(any_keras):
    layers = any_keras.layers
    image = any_keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(4, 3, dtype="mixed_float16")(image)
    model = any_keras.Model(image, layers.Dense(2, dtype="mixed_float16")(layers.GlobalAveragePooling2D()(x)))
    artifact = edgeopt.convert(model, calibration=X, calibration_samples=COUNT, isolate=False)
    assert artifact.fully_int8
    assert any(text.startswith("precision: ") for text in artifact.warnings)


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({}, DataError, "quantize='int8' needs calibration data, which was not given; pass --calibration DATA"),
        ({"quantize": "int16x8"}, DataError, "or --quantize dynamic, which needs none"),
        ({"calibration": X[:, :6]}, DataError, r"gives shape \(40, 6, 12, 3\) for input 'image'; expected \(samples, 12"),
        ({"calibration": X[..., 0]}, DataError, r"gives shape \(40, 12, 12\)"),
        ({"calibration": np.where(np.arange(COUNT)[:, None, None, None] == 7, np.nan, X)}, DataError, "NaN in sample 7"),
        ({"calibration": np.zeros_like(X)}, DataError, r"is constant \(0.0\) over all calibration samples"),
        ({"calibration": X[:0]}, DataError, "holds zero samples"),
        ({"calibration": (X, np.zeros(3))}, DataError, r"has 3 label\(s\) for 40 samples"),
        ({"calibration": X, "input_shapes": {"imgae": (1, 12, 12, 3)}}, UsageError, "did you mean 'image'"),
        ({"calibration": X, "quantise": "int8"}, RecipeError, "Unknown convert option 'quantise'; did you mean"),
        ({"input_type": "int8", "inference_input_type": "int8"}, RecipeError, "were both given; give one"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_said_in_one_sentence(model, options, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        edgeopt.convert(model, isolate=False, **options)
    assert "\n" not in str(caught.value)


def test_what_is_no_model():
    with pytest.raises(UsageError, match=r"Received a model of type builtins\.list; expected a Keras model"):
        edgeopt.convert([], calibration=X, isolate=False)


def float_layer(keras):
    import tensorflow as tf

    class Order(keras.layers.Layer):
        def call(self, x):
            return tf.sort(x, axis=-1)

    x = keras.Input((8,), name="x")
    hidden = keras.layers.Dense(6, name="first")(x)
    return keras.Model(x, keras.layers.Dense(2, name="last")(Order(name="in_order")(hidden)))


def test_what_stays_float_is_named_with_its_layer_and_reason(any_keras):
    data = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    model = float_layer(any_keras)
    sentence = r"not fully integer: NEG of layer 'in_order' \(operator .* stayed float, because .* --allow-float-ops"
    with pytest.raises(NotFullyIntegerError, match=sentence):
        edgeopt.convert(model, calibration=data, isolate=False)
    artifact = edgeopt.convert(model, calibration=data, allow_float_ops=True, isolate=False)
    assert not artifact.fully_int8
    assert {item["op"] for item in artifact.sidecar["float_ops"]} >= {"NEG"}
    assert any(text.startswith("float-ops: NEG of layer 'in_order'") for text in artifact.warnings)


def test_an_input_that_does_nothing_cannot_be_int8(any_keras):
    x, idle = any_keras.Input((4,), name="x"), any_keras.Input((4,), name="idle")
    model = any_keras.Model([x, idle], any_keras.layers.Dense(2, name="y")(x))
    data = {"x": X[:, 0, :4, 0], "idle": X[:, 1, :4, 0]}
    with pytest.raises(NotFullyIntegerError, match="'idle' stayed float, because no operator computes with it"):
        edgeopt.convert(model, calibration=data, isolate=False)
    artifact = edgeopt.convert(model, calibration=data, allow_float_ops=True, isolate=False)
    assert [item["name"] for item in artifact.sidecar["inputs"]] == ["x", "idle"]


def test_dense_weights_that_stay_per_channel_are_an_error(model, monkeypatch):
    from edgeopt.converters import tflite

    monkeypatch.setattr(tflite, "_PER_TENSOR_DENSE", "_experimental_new_quantizer_of_nothing")
    import tensorflow as tf

    monkeypatch.setattr(tf.lite.TFLiteConverter, "_experimental_new_quantizer_of_nothing", False, raising=False)
    from tensorflow.lite.python import lite

    monkeypatch.setattr(
        lite.TFLiteSavedModelConverterV2, "_experimental_new_quantizer_of_nothing", False, raising=False
    )
    with pytest.raises(ConversionError, match="Dense weights came out per-channel although per-tensor was asked for"):
        edgeopt.convert(model, calibration=X, per_tensor_dense=True, isolate=False)


# --- the child -----------------------------------------------------------------------------------------------------


def test_the_same_bytes_from_another_process_and_again(convert, model, tmp_path):
    isolated = edgeopt.convert(model, calibration=X, calibration_samples=COUNT)
    assert isolated.sha256 == convert().sha256
    again = edgeopt.convert(model, calibration=X, calibration_samples=COUNT, isolate=False)
    assert again.sha256 == convert().sha256


def test_stages_are_told_as_they_begin(model):
    stages = []
    edgeopt.convert(model, quantize="float16", isolate=False, on_event=lambda event: stages.append(event.get("stage")))
    assert [stage for stage in stages if stage] == ["data", "load", "export", "convert"]


def test_nothing_is_left_in_the_temporary_folder(model, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    edgeopt.convert(model, calibration=X, calibration_samples=8, isolate=False)
    with pytest.raises(DataError, match="NaN"):
        edgeopt.convert(model, calibration=X * np.nan, isolate=False)
    assert list(tmp_path.iterdir()) == []


def test_the_models_layers_are_as_before(any_keras):
    """Unrolling and precision are changes for the time of the export."""
    layers = any_keras.layers
    model = any_keras.Sequential([any_keras.Input((6, 3), name="x"), layers.GRU(4, name="memory"), layers.Dense(2)])
    before = {**vars(model.get_layer("memory"))}
    edgeopt.convert(model, calibration=X[:, :6, 0], calibration_samples=8, isolate=False)
    assert vars(model.get_layer("memory")).keys() == before.keys()
    assert not model.get_layer("memory").unroll
    assert describe(model).layers[-1][1] == "Dense"
