"""A QAT model becomes an int8 file without calibration, and the file is as good as the model."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.api.convert import convert
from edgeopt.errors import NotFullyIntegerError, RecipeError
from edgeopt.models.detect import carries_ranges, wrappers_in
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

CLASSES = 4


def bottleneck(keras):
    """What MobileNetV3 is made of: expansion, depthwise, squeeze and excite with hard sigmoid, hard swish, residual."""
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.Activation("hard_silu", name="stem_swish")(layers.BatchNormalization(momentum=0.8, name="stem_norm")(x))
    y = layers.Conv2D(32, 1, use_bias=False, name="expand")(x)
    y = layers.Activation("hard_silu", name="expand_swish")(
        layers.BatchNormalization(momentum=0.8, name="expand_norm")(y)
    )
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="spatial")(y)
    y = layers.Activation("hard_silu", name="spatial_swish")(
        layers.BatchNormalization(momentum=0.8, name="spatial_norm")(y)
    )
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(y)
    gate = layers.Conv2D(8, 1, activation="relu", name="reduce")(gate)
    gate = layers.Conv2D(32, 1, activation="hard_sigmoid", name="excite")(gate)
    y = layers.Multiply(name="gated")([y, gate])
    y = layers.BatchNormalization(momentum=0.8, name="project_norm")(
        layers.Conv2D(16, 1, use_bias=False, name="project")(y)
    )
    x = layers.Add(name="residual")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="classes")(x), name="bottleneck")


def pictures(count, seed):
    """One of four patterns in noise, in the range of pixels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    patterns = np.random.default_rng(99).uniform(0, 255, (CLASSES, 16, 16, 3))
    x = 0.5 * patterns[labels] + 0.5 * generator.uniform(0, 255, (count, 16, 16, 3))
    return x.astype("float32"), labels


def scores(file, x, name="image"):
    return np.concatenate([file.real({name: x[i : i + 1]})[0] for i in range(len(x))])


@pytest.fixture(scope="module")
def trained():
    import keras

    keras.utils.set_random_seed(5)
    model = bottleneck(keras)
    x, labels = pictures(256, 0)
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(x, labels, epochs=12, batch_size=16, verbose=0)
    training = Training(epochs=1, batch_size=16, learning_rate=1e-4)
    return Qat(training=training).apply(model, PassContext(train=(x, labels))).exported


@pytest.mark.heavy
@pytest.mark.parametrize("types", ["int8", "uint8", "float32"])
def test_no_calibration_is_needed(trained, types, running):
    artifact = convert(trained, input_type=types, output_type=types, isolate=False)
    assert artifact.sidecar["calibration"] is None
    assert artifact.sidecar["fully_int8"] == (types != "float32")
    assert [item["dtype"] for item in (*artifact.sidecar["inputs"], *artifact.sidecar["outputs"])] == [types, types]
    assert [item["name"] for item in (*artifact.sidecar["inputs"], *artifact.sidecar["outputs"])] == [
        "image",
        "classes",
    ]
    inside = {name for name in artifact.sidecar["ops"] if name not in ("QUANTIZE", "DEQUANTIZE")}
    assert inside == {"ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "HARD_SWISH", "MEAN", "MUL", "SOFTMAX"}


@pytest.mark.heavy
def test_the_file_is_as_accurate_as_the_qat_model(trained, running):
    """What TFMOT's files are reported not to be (model-optimization issues 368, 974): few steps, hard swish, pixels."""
    x, labels = pictures(200, 1)
    expected = trained.predict(x, verbose=0)
    got = scores(running(convert(trained, isolate=False).model), x)
    accuracy = {"model": np.mean(expected.argmax(1) == labels), "file": np.mean(got.argmax(1) == labels)}
    assert accuracy["model"] > 0.9
    assert accuracy["file"] >= accuracy["model"] - 0.01
    assert np.mean(got.argmax(1) == expected.argmax(1)) >= 0.99
    # The steps of a softmax are 1/256; integer roundings before it move a probability by one, or a few of them.
    assert np.abs(got - expected).max() <= 4 / 256


@pytest.mark.heavy
def test_a_saved_qat_model_converts_in_a_child_process_to_the_same_bytes(trained, tmp_path):
    trained.save(tmp_path / "qat.keras")
    from_file = edgeopt.convert(tmp_path / "qat.keras")
    assert from_file.sidecar["fully_int8"]
    assert from_file.model == convert(trained, isolate=False).model


@pytest.mark.heavy
def test_calibration_data_make_no_ranges_and_the_file_is_compared_with_the_trained_model_on_them(trained):
    artifact = convert(trained, calibration=pictures(64, 0)[0], isolate=False)
    text = "unused: the calibration data were not needed for a model that was trained quantised"
    assert f"{text}; the file was compared with the model on them" in artifact.sidecar["warnings"]
    assert artifact.fidelity.holds and artifact.fidelity.held_back and artifact.fidelity.snr_db > 20


@pytest.mark.heavy
@pytest.mark.parametrize("quantize", ["float32", "dynamic", "int16x8"])
def test_another_quantisation_is_refused(trained, quantize, tmp_path):
    with pytest.raises(RecipeError, match="trained for int8"):
        convert(trained, quantize=quantize, isolate=False)
    trained.save(tmp_path / "qat.keras")
    with pytest.raises(RecipeError, match="trained for int8"):
        convert(tmp_path / "qat.keras", quantize=quantize)


@pytest.mark.heavy
def test_a_model_of_tfmot_converts_without_calibration(running):
    import tensorflow_model_optimization as tfmot
    import tf_keras

    layers = tf_keras.layers
    plain = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    model = tfmot.quantization.keras.quantize_model(plain)
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((16, 3)), verbose=0)
    artifact = convert(model, isolate=False)
    assert artifact.sidecar["fully_int8"]
    file = running(artifact.model)
    assert np.abs(scores(file, x) - model.predict(x, verbose=0)).max() <= 2.01 * file.steps()[0]


def rememberer(keras, *memories):
    """A model of recurrent layers, and its QAT model with ranges from data."""
    keras.utils.set_random_seed(3)
    last = keras.layers.Dense(CLASSES, activation="softmax", name="classes")
    model = keras.Sequential([keras.Input((6, 3), name="steps"), *memories, last])
    x = np.random.default_rng(0).normal(size=(8, 6, 3)).astype("float32")
    return x, Qat(training=Training(epochs=0)).apply(model, PassContext(train=(x, np.zeros(8))))


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_recurrent_layer_stays_float_as_the_report_says_and_the_file_agrees(any_keras, kind, running):
    x, result = rememberer(any_keras, getattr(any_keras.layers, kind)(4, name="memory"))
    assert [(entry.subject, entry.reason) for entry in result.report.skipped] == [("memory", "recurrent")]
    assert not result.report.fully_int8
    artifact = convert(result.exported, allow_float_ops=True, isolate=False)
    assert not artifact.sidecar["fully_int8"]
    assert artifact.sidecar["ops"]["WHILE"] == 1
    # What is integer is the Dense layer and the softmax: a rounding each, of at most one step.
    expected = result.exported.predict(x, verbose=0)
    assert np.abs(scores(running(artifact.model), x, "steps") - expected).max() <= 2.01 / 256
    assert np.abs(np.roll(expected, 1, axis=0) - expected).max() > 4 / 256  # other samples would be seen


@pytest.mark.heavy
def test_recurrent_layers_that_return_sequences_are_unrolled(running):
    import keras

    layers = keras.layers
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")
    x, result = rememberer(keras, both, layers.GRU(4, name="memory"))
    artifact = convert(result.exported, allow_float_ops=True, isolate=False)
    assert artifact.sidecar["ops"]["WHILE"] == 1  # the GRU's
    assert any(text.startswith("unrolled: ") for text in artifact.sidecar["warnings"])
    expected = result.exported.predict(x, verbose=0)
    assert np.abs(scores(running(artifact.model), x, "steps") - expected).max() <= 3.01 / 256


@pytest.mark.heavy
def test_float_recurrent_layers_are_refused_unless_they_are_allowed():
    import tf_keras

    _, result = rememberer(tf_keras, tf_keras.layers.LSTM(4, name="memory"))
    with pytest.raises(NotFullyIntegerError, match="WHILE of layer 'memory_float'"):
        convert(result.exported, isolate=False)


def test_models_that_carry_ranges_are_told_apart():
    assert carries_ranges([("image", "InputLayer"), ("image_quantized", "QuantizedTensor")])
    assert carries_ranges([("quant_dense", "QuantizeWrapperV2")])
    assert not carries_ranges([("dense", "Dense")])
    assert wrappers_in('{"class_name": "edgeopt>QuantizedTensor"}') == "edgeopt"
    assert wrappers_in('{"class_name": "QuantizedTensor", "registered_name": "edgeopt>QuantizedTensor"}') == "edgeopt"
    assert wrappers_in('{"class_name": "QuantizeLayer"}') == "tfmot"
    assert wrappers_in('{"class_name": "Dense", "config": {"name": "QuantizedTensor"}}') == ""
