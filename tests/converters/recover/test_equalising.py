"""Channels between two layers are scaled; the float file gives what it gave, and the int8 file is nearer to it."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs, groups
from edgeopt.converters.recover.equalising import equalised, find_pairs, scaling
from edgeopt.converters.recover.layers import find_layers
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.flatbuffer import read_model

X = np.random.default_rng(0).normal(size=(80, 9, 9, 3)).astype(np.float32)
SOME = list(groups({"x": X[:20]}, 1))


@pytest.fixture(scope="module", params=["relu", "relu6", "linear"])
def files(request):
    """Float and int8 file of three layers; between the first two, spans of channels differ up to 64 times."""
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    uneven = 2.0 ** -np.arange(8)[::-1] if request.param != "linear" else 2.0 ** np.arange(-7, 1)
    inputs = tf_keras.Input((9, 9, 3), name="x")
    x = layers.Conv2D(8, 3, activation=request.param, bias_initializer="random_normal", name="wide")(inputs)
    x = layers.ZeroPadding2D()(layers.MaxPooling2D(2)(x))
    x = layers.Conv2D(6, 3, activation="relu", name="narrow")(x)
    model = tf_keras.Model(inputs, layers.Dense(4, name="y")(layers.Flatten()(x)))
    kernel, bias = model.get_layer("wide").get_weights()
    model.get_layer("wide").set_weights([kernel * uneven, bias * uneven])
    kernel, bias = model.get_layer("narrow").get_weights()
    model.get_layer("narrow").set_weights([kernel / uneven[:, None], bias])
    given = {"calibration": X, "calibration_samples": 50, "ranges": "minmax", "repair": False, "isolate": False}
    return edgeopt.convert(model, quantize="float32", isolate=False).model, edgeopt.convert(model, **given).model


def test_the_int8_file_is_nearer_and_the_float_file_gives_the_same(files):
    float_file, file = files
    made, scaled, count = equalised(file, float_file, SOME, but_first=False)
    (before,), (same,) = (file_outputs(content, {"x": X}).values() for content in (float_file, scaled))
    assert count == 1
    np.testing.assert_allclose(same, before, rtol=0, atol=1e-5 * np.abs(before).max())  # sums of float32
    ratios = [snr_db(before, *file_outputs(content, {"x": X}).values()) for content in (file, made)]
    assert ratios[1] > ratios[0] + 6
    assert len(find_layers(read_model(made), read_model(scaled))) == 3  # the layers of both go together still


def test_no_channel_leaves_the_range_or_reaches_6(files):
    float_file, file = files
    writer = find_pairs(find_layers(read_model(file), read_model(float_file)))[0].writer
    high, low = np.array([0.0, 1e-9, 0.5, 2, 5.9, 6, 6, 6]), np.zeros(8)
    factors = scaling(writer, low, high)
    found = writer.output.quantization
    top = float(found.scales[0]) * (127 - int(found.zero_points[0]))
    assert factors.min() == 1 and factors[0] == 1
    assert np.all((high * factors <= top) | (factors == 1))
    if writer.operator.options["fused_activation_function"] == "RELU6":
        assert np.all((high * factors < 6) | (factors == 1))


def test_what_is_read_twice_or_has_one_scale_stays(files):
    """`flatten` makes rows of all pixels: the last layer has weights for each of these, and is no reader."""
    float_file, file = files
    found = find_pairs(find_layers(read_model(file), read_model(float_file)))
    assert [(pair.writer.operator.name, pair.reader.operator.name) for pair in found] == [("CONV_2D", "CONV_2D")]
