"""`edgeopt.converters.tflite`: the settings, the samples bound by name, and what is made of the converter's refusals."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.converters.tflite import TFLiteBackend, explain
from edgeopt.errors import ConversionError
from edgeopt.models.export.export import LeanModel, export_lean
from edgeopt.models.load import describe
from edgeopt.models.spec import InputSpec, fix_shapes
from edgeopt.recipes.convert import QUANTIZE_MODES, ConvertRecipe

SMALL = np.random.default_rng(0).uniform(-1, 1, size=(12, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def lean(tmp_path_factory):
    """Two inputs of one shape, named against the alphabet, and a Dense layer."""
    import keras

    zebra, apple = keras.Input((4,), name="zebra"), keras.Input((4,), name="apple")
    # A layer for each: CONCATENATION would force one scale upon both inputs.
    parts = [keras.layers.Dense(6)(zebra), keras.layers.Dense(6)(apple)]
    model = keras.Model([zebra, apple], keras.layers.Dense(6, name="y")(keras.layers.Add()(parts)))
    loaded = describe(model)
    return export_lean(loaded, fix_shapes(loaded.spec, {}, 1), tmp_path_factory.mktemp("lean"))


def converted(lean, samples=None, **options):
    return TFLiteBackend().convert(lean, ConvertRecipe(**options), samples)


@pytest.mark.smoke
def test_samples_are_bound_by_name(lean, running):
    """zebra has 100 times the range of apple; bound the wrong way round, the scales would be, too."""
    file = converted(lean, {"zebra": 100 * SMALL, "apple": SMALL}).model
    scales = {name: item["quantization"][0] for name, item in running(file).inputs.items()}
    # The samples' range is within (-1, 1) and fills most of it; 256 steps of int8.
    assert 1.6 / 255 < scales["apple"] < 2 / 255
    assert 160 / 255 < scales["zebra"] < 200 / 255
    swapped = converted(lean, {"zebra": SMALL, "apple": 100 * SMALL}).model
    assert {name: item["quantization"][0] for name, item in running(swapped).inputs.items()} == {
        "zebra": pytest.approx(scales["apple"]),
        "apple": pytest.approx(scales["zebra"]),
    }


@pytest.mark.parametrize("mode", QUANTIZE_MODES)
def test_the_settings_are_recorded_under_their_public_names(lean, mode):
    samples = {"zebra": SMALL, "apple": SMALL} if ConvertRecipe(mode).needs_calibration else None
    result = converted(lean, samples, quantize=mode)
    flags = dict(result.flags)
    assert flags["optimizations"] == ([] if mode in ("float32", "dynamic4") else ["DEFAULT"])
    expected = {
        "int8w4": ["TFLITE_BUILTINS_INT8"],
        "int8": ["TFLITE_BUILTINS_INT8"],
        "int16x8": ["EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"],
    }
    assert flags["supported_ops"] == expected.get(mode, ["TFLITE_BUILTINS"])
    assert flags.get("supported_types") == (["float16"] if mode == "float16" else None)
    assert (flags["calibrator"] is None) == (samples is None)
    assert set(result.seconds) == {"convert", "calibrate"}


def test_a_missing_switch_for_per_tensor_dense_is_no_silent_default(lean, monkeypatch):
    monkeypatch.setattr("edgeopt.converters.tflite._PER_TENSOR_DENSE", "_no_such_switch")
    with pytest.raises(ConversionError, match="cannot quantise Dense per tensor; install TensorFlow 2.17 or later"):
        converted(lean, {"zebra": SMALL, "apple": SMALL}, per_tensor_dense=True)


def test_batches_are_filled_from_the_start(lean, tmp_path):
    """12 samples in batches of 5 are three full batches: the last one takes three from the start."""
    from edgeopt.converters.tflite import _Clock, _representative_dataset

    inputs = tuple(InputSpec(item.name, (5, 4), "float32") for item in lean.inputs)
    batched = LeanModel(lean.folder, inputs, lean.output_names)
    batches = list(_representative_dataset(batched, {"zebra": SMALL, "apple": -SMALL}, range(3), _Clock(), None)())
    assert [batch["in000"].shape for batch in batches] == [(5, 4)] * 3
    np.testing.assert_array_equal(
        np.concatenate([batch["in000"] for batch in batches]), np.concatenate([SMALL, SMALL[:3]])
    )
    np.testing.assert_array_equal(batches[0]["in001"], -SMALL[:5])


# --- refusals ------------------------------------------------------------------------------------------------------

LEAN = LeanModel(__file__, (InputSpec("ids", (1, 4), "int32"),), ("y",), ("body", "det", "gru_1"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'loc(fused["Det:", "model/det_1/Det@__inference_infer_9"]): error: \'tf.Det\' op is neither a custom op nor a flex op',
            r"^TFLite has no operator for tf\.Det in layer\(s\) 'det'; replace it with layers that TFLite knows",
        ),
        ("Details:\n\ttf.Betainc(tensor<1xf32>) -> (x)\n", r"^TFLite has no operator for tf\.Betainc; replace"),
        (
            'loc(fused["X:", "scope/mine/X@__inference_infer_9"]): error: \'tf.X\' op is neither a custom op nor a flex op',
            r"in layer\(s\) 'mine'",
        ),
        (
            "Quantization to 16x8-bit not yet supported for op: 'NOT_EQUAL'.",
            "cannot quantise the operator NOT_EQUAL; pass --allow",
        ),
        ("Quantization not yet supported for op: DIV", "cannot quantise the operator DIV"),
        ("Empty min/max for tensor serving_default_in000:0", "wants a range for input 'ids', although"),
        ("Something\n  else", "^The converter failed: Something else$"),
    ],
)
def test_refusals_name_operator_and_layer(text, sentence):
    error = explain(RuntimeError(text), LEAN)
    with pytest.raises(ConversionError, match=sentence):
        raise error


@pytest.mark.parametrize(("function", "operator"), [("det", "tf.MatrixDeterminant"), ("betainc", "tf.Betainc")])
def test_a_real_operator_that_tflite_lacks_is_named_with_its_layer(any_keras, tmp_path, function, operator):
    import tensorflow as tf

    class Odd(any_keras.layers.Layer):
        def call(self, x):
            return (
                tf.linalg.det(x) if function == "det" else tf.math.betainc(tf.abs(x) + 1, tf.abs(x) + 1, tf.sigmoid(x))
            )

    x = any_keras.Input((4, 4), name="x")
    loaded = describe(any_keras.Model(x, Odd(name="odd_one")(any_keras.layers.ReLU(name="fine")(x))))
    lean = export_lean(loaded, fix_shapes(loaded.spec, {}, 1), tmp_path / "lean")
    with pytest.raises(ConversionError, match=rf"TFLite has no operator for {operator} in layer\(s\) 'odd_one';"):
        converted(lean, quantize="float32")
