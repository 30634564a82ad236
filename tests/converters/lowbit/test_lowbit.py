"""4-bit weights: what the file holds, what it gives, who runs it, and what training and recovery bring."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.api.bench import bench
from edgeopt.converters.lowbit.packing import narrowed
from edgeopt.converters.lowbit.weights import pack
from edgeopt.errors import ConversionError, EdgeoptError, RecipeError
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.storage import decode
from edgeopt.passes.qat import Qat
from edgeopt.recipes.convert import ConvertRecipe
from edgeopt.recipes.optimize import OptimizeRecipe
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

RNG = np.random.default_rng(0)
# Pixels that go together, as those of pictures do, so that there is something to be rounded for.
PATTERNS = RNG.normal(size=(6, 12, 12, 3))


def pictures(count):
    noise = 0.05 * RNG.normal(size=(count, 12, 12, 3))
    return (np.tensordot(RNG.normal(size=(count, 6)), PATTERNS, 1) + noise).astype(np.float32)


SAMPLES, FRESH = pictures(100), pictures(40)
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def network():
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input((12, 12, 3), name="x")
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="spatial")(x)
    x = layers.Conv2D(15, 1, activation="relu", name="point")(x)
    return tf_keras.Model(inputs, layers.Dense(5, name="scores")(layers.Flatten()(x)))


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def made(model):
    """Converts once with each set of options."""
    known = {}

    def make(quantize, **options):
        key = quantize, tuple(options.items())
        if key not in known:
            given = {"calibration": SAMPLES} if ConvertRecipe(quantize).needs_calibration else {}
            known[key] = edgeopt.convert(model, quantize=quantize, isolate=False, **given, **options)
        return known[key]

    return make


def weights_of(file):
    graph = read_model(file).main
    return [(op.name, graph.tensors[op.inputs[1]]) for op in graph.operators if op.name in WEIGHTED]


def test_what_a_repair_replaced_is_not_in_the_file():
    quiet = network()
    kernel, bias = quiet.get_layer("conv").get_weights()
    kernel[..., :8] *= 0.01
    quiet.get_layer("conv").set_weights([kernel, bias])
    artifact = edgeopt.convert(quiet, calibration=SAMPLES, quantize="int8w4", isolate=False)
    assert [repair["kind"] for repair in artifact.sidecar["repairs"]] == ["channels"]
    assert artifact.fully_int8


def versions(file):
    return {op.name: op.version for op in read_model(file).main.operators}


def decibels(model, file, running):
    interpreter = running(file)
    found = np.concatenate([interpreter.real({"x": FRESH[i : i + 1]})[0] for i in range(len(FRESH))])
    return snr_db(model.predict(FRESH, verbose=0), found)


def test_halves_of_bytes_are_read_back_as_they_were_written():
    values = np.arange(-8, 7)
    assert len(pack(values)) == 8
    assert np.array_equal(decode(pack(values), "int4", (15,)), values)


@pytest.mark.smoke
def test_convolutions_and_dense_layers_have_4_bits_and_the_rest_8(made):
    artifact = made("int8w4", ranges="minmax")
    assert [(name, tensor.dtype) for name, tensor in weights_of(artifact.model)] == [
        ("CONV_2D", "int4"),
        ("DEPTHWISE_CONV_2D", "int8"),
        ("CONV_2D", "int4"),
        ("FULLY_CONNECTED", "int4"),
    ]
    assert artifact.fully_int8
    assert artifact.sidecar["converter"]["flags"]["weights_by"].startswith("litert-quantizer 0.11")


def test_weights_lie_within_half_a_step_of_the_model(model, made):
    stored = dict(weights_of(made("int8w4", ranges="minmax").model))["FULLY_CONNECTED"]
    real = model.get_layer("scores").kernel.numpy().T
    steps = stored.quantization.scales[:, None]
    np.testing.assert_allclose(steps[:, 0], np.abs(real).max(axis=1) / 7, rtol=1e-5)
    assert np.abs(stored.data() * steps - real).max() <= 0.5001 * steps.max()


def test_the_ranges_are_those_of_our_own_calibration(made):
    ours, theirs = (read_model(made(kind, ranges="minmax").model).main for kind in ("int8", "int8w4"))
    for end in ("inputs", "outputs"):
        scales = [[graph.tensors[i].quantization.scales[0] for i in getattr(graph, end)] for graph in (ours, theirs)]
        np.testing.assert_allclose(*scales, rtol=1e-6)


def test_rounding_for_what_comes_out_brings_the_outputs_nearer(model, made, running):
    plain = decibels(model, made("int8w4", ranges="minmax").model, running)
    recovered = made("int8w4", ranges="minmax", recover=True)
    assert 5 < plain < 25  # 4 bits are coarse, and the file is no garbage
    assert decibels(model, recovered.model, running) > plain + 2
    assert all(np.abs(tensor.data()).max() <= 7 for _, tensor in weights_of(recovered.model) if tensor.dtype == "int4")


def test_dynamic_files_have_float_ends_and_4_bit_weights(model, made, running):
    artifact = made("dynamic4")
    assert {tensor.dtype for name, tensor in weights_of(artifact.model) if name != "DEPTHWISE_CONV_2D"} == {"int4"}
    assert [item["dtype"] for item in (*artifact.sidecar["inputs"], *artifact.sidecar["outputs"])] == ["float32"] * 2
    assert 5 < decibels(model, artifact.model, running) < 25


def test_bytes_are_counted_by_halves(made):
    found = edgeopt.inspect(made("int8w4", ranges="minmax"))
    (few,) = found.low_bits
    sizes = [16 * 27, 15 * 16, 5 * 540]
    assert (few.dtype, few.tensors, few.weights) == ("int4", 3, sum(sizes))
    assert few.stored_bytes == sum(sizes) // 2
    assert few.slow == {"CONV_2D": 2}
    assert found.to_dict()["low_bits"] == made("int8w4", ranges="minmax").sidecar["low_bits"]


def test_it_is_said_that_the_file_is_not_faster(made):
    (warning,) = [text for text in made("int8w4", ranges="minmax").warnings if text.startswith("4-bit")]
    assert "XNNPACK has no kernel for 2 CONV_2D" in warning
    assert "smaller, not faster" in warning


@pytest.mark.parametrize("mode", ["int8w4", "dynamic4"])
def test_a_runtime_that_would_misread_them_refuses_the_file(made, mode):
    pytest.importorskip("tflite_runtime", reason="tflite-runtime is not installed")
    with pytest.raises(EdgeoptError, match="tflite_runtime 2.14.0 does not know an operator of this model"):
        bench(made(mode, **({"ranges": "minmax"} if mode == "int8w4" else {})), runtime="tflite_runtime")


def test_trained_weights_reach_the_file_as_they_were_trained(running):
    model, labels = network(), RNG.normal(size=(len(SAMPLES), 5)).astype(np.float32)
    context = PassContext(train=(SAMPLES, labels), loss="mse")
    training = Training(epochs=1, batch_size=20, learning_rate=1e-3)
    result = Qat(training=training, weight_bits=4).apply(model, context)
    artifact = edgeopt.convert(result.exported, quantize="int8w4", isolate=False)
    assert [tensor.dtype for _, tensor in weights_of(artifact.model)] == ["int4", "int8", "int4", "int4"]
    interpreter = running(artifact.model)
    found = np.concatenate([interpreter.real({"x": FRESH[i : i + 1]})[0] for i in range(len(FRESH))])
    expected = result.exported.predict(FRESH, verbose=0)
    # Biases are rounded to the product of two steps, and each layer before may be off by a step of its own.
    assert np.abs(found - expected).max() <= 4 * interpreter.steps()[0]
    eight = edgeopt.convert(result.exported, quantize="int8", isolate=False)
    with pytest.raises(ConversionError, match="trained with 8-bit weights, .* weight_bits = 4"):
        narrowed(edgeopt.convert(Qat(training=Training(epochs=0)).apply(model, context).exported, isolate=False).model)
    assert artifact.size_bytes < eight.size_bytes


def test_without_the_library_nothing_slow_begins(model, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConversionError, match=r"litert-quantizer, which is not installed: pip install 'edgeopt\[low-bit"
    ):
        edgeopt.convert(model, calibration=SAMPLES, quantize="int8w4", isolate=False)


def test_what_contradicts_4_bits_is_refused():
    with pytest.raises(RecipeError, match="input_type 'uint8' does not go with quantize='int8w4'"):
        ConvertRecipe("int8w4", input_type="uint8")
    with pytest.raises(RecipeError, match="sparse_weights have 8 bits, and quantize='dynamic4' asks for 4"):
        ConvertRecipe("dynamic4", sparse_weights=True)
    with pytest.raises(RecipeError, match="weight_bits=2; expected 8 or 4"):
        Qat(weight_bits=2)
    with pytest.raises(RecipeError, match="weights of 8 bits .qat. and converts to 'int8w4'; use quantize = 'int8'"):
        OptimizeRecipe(({"kind": "qat"},), ConvertRecipe("int8w4"))
    assert OptimizeRecipe(({"kind": "qat", "weight_bits": 4},), ConvertRecipe("int8w4")).convert.low_bit


def test_a_model_without_such_layers_is_refused():
    import keras

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.DepthwiseConv2D(3)(image))
    with pytest.raises(ConversionError, match="no 4-bit weights, which convolutions and fully connected layers"):
        edgeopt.convert(model, calibration=SAMPLES[:, :8, :8], quantize="int8w4", isolate=False)
