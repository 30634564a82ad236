"""Norms of plain operators keep their rows in 8 bits, whichever way they were written."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.repairs.change import computes_the_same
from edgeopt.converters.repairs.norms import robust_norms
from edgeopt.flatbuffer import read_model

RNG = np.random.default_rng(0)
GAIN, OFFSET = RNG.uniform(0.5, 2, 32).astype(np.float32), RNG.normal(size=32).astype(np.float32)
# The variance differs from row to row, as that of a transformer's tokens does.
UNEVEN = (RNG.normal(size=(100, 12, 32)) * np.exp(0.5 * RNG.normal(size=(100, 12, 1))) + 0.3).astype(np.float32)
EVEN = RNG.normal(size=(100, 12, 32)).astype(np.float32)


def spread_out(x):
    import tensorflow as tf

    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-3) * GAIN + OFFSET


def spread_out_plainly(x):
    import tensorflow as tf

    difference = x - tf.reduce_mean(x, -1, keepdims=True)
    return difference * tf.math.rsqrt(tf.reduce_mean(tf.square(difference), -1, keepdims=True) + 1e-3)


def of_moments(x):
    import tensorflow as tf

    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, OFFSET, GAIN, 1e-3)


def of_squares(x):
    import tensorflow as tf

    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(x * x, -1, keepdims=True) - mean * mean
    return (x - mean) / tf.sqrt(variance + 1e-5)


def rms(x):
    import tensorflow as tf

    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-6) * GAIN


def rms_plainly(x):
    import tensorflow as tf

    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-3)


def without_epsilon(x):
    import tensorflow as tf

    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True))


def over_the_second_axis(x):
    import tensorflow as tf

    mean, variance = tf.nn.moments(x, [1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-3)


WAYS = {
    "spread out": spread_out,
    "of moments": of_moments,
    "of squares": of_squares,
    "rms": rms,
    "over the second axis": over_the_second_axis,
}


def exported(way, folder, x):
    """A SavedModel of code of one's own: one input, one output."""
    import tensorflow as tf

    class Norm(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, *x.shape[1:]], tf.float32, name="x")])
        def __call__(self, x):
            return {"y": way(x)}

    tf.saved_model.save(Norm(), str(folder))
    return str(folder)


@pytest.mark.parametrize("name", WAYS)
def test_the_float_file_computes_the_same_by_l2_normalization(name, tmp_path):
    x = UNEVEN if name != "over the second axis" else np.swapaxes(UNEVEN, 1, 2).copy()
    content = edgeopt.convert(exported(WAYS[name], tmp_path, x), quantize="float32", isolate=False).model
    samples = {"x": x}
    change = robust_norms(content, samples)
    names = [operator.name for operator in read_model(change.content).main.operators]
    assert "L2_NORMALIZATION" in names and not {"RSQRT", "SQUARED_DIFFERENCE"} & set(names)
    assert computes_the_same(content, change.content, samples)
    # A planted fault is seen: other rows than those that the file is given.
    [wanted] = file_outputs(content, {"x": x[1:]}).values()
    [found] = file_outputs(change.content, {"x": x[:-1]}).values()
    assert np.abs(wanted - found).max() > 0.1


def test_int8_keeps_what_it_lost(tmp_path):
    model = exported(spread_out, tmp_path, UNEVEN)
    files = [
        edgeopt.convert(model, calibration=UNEVEN, ranges="minmax", repair=repair, isolate=False)
        for repair in (False, True)
    ]
    assert files[0].fidelity.snr_db < 20 and files[1].fidelity.snr_db > 24
    [repair] = files[1].sidecar["repairs"]
    assert repair["kind"] == "norm"


def test_what_is_left_of_a_large_mean_is_taken_off_where_it_is_seen(tmp_path):
    """Of 64 channels, ten deviations from zero: 24 dB without it, where the input's own 8 bits leave 28."""
    x = (RNG.normal(size=(100, 12, 64)) * np.exp(0.5 * RNG.normal(size=(100, 12, 1))) + 10).astype(np.float32)
    model = exported(spread_out_plainly, tmp_path, x)
    artifact = edgeopt.convert(model, calibration=x, ranges="minmax", isolate=False)
    assert artifact.fidelity.snr_db > 25
    tensors, operators = (getattr(read_model(artifact.model).main, name) for name in ("tensors", "operators"))
    made = [tensors[operator.outputs[0]] for operator in operators if operator.name == "MEAN"][-1]
    assert 1e-5 < made.quantization.scales[0] < 1e-3  # in the float file this mean is zero


@pytest.mark.parametrize("way", [spread_out_plainly, rms_plainly])
def test_long_rows_are_multiplied_by_what_one_more_element_says_of_their_length(way, tmp_path):
    """As unit vectors, 256 channels have 8 steps and 24.5 dB."""
    x = (RNG.normal(size=(100, 12, 256)) * np.exp(0.5 * RNG.normal(size=(100, 12, 1)))).astype(np.float32)
    model = exported(way, tmp_path, x)
    artifact = edgeopt.convert(model, calibration=x, ranges="minmax", isolate=False)
    assert artifact.fully_int8 and artifact.fidelity.snr_db > 25.3
    content = edgeopt.convert(model, quantize="float32", isolate=False).model
    change = robust_norms(content, {"x": x})
    # Of rows that the samples did not have: silent, hardly so, and much louder.
    others = {"x": x[:3] * np.array([0, 1e-3, 30], np.float32).reshape(3, 1, 1)}
    assert computes_the_same(content, change.content, others)


def by_lengths(way, folder, x):
    """The file of a norm, how it is rewritten for samples, and whether by the lengths of rows."""
    content = edgeopt.convert(exported(way, folder, x), quantize="float32", isolate=False).model
    change = robust_norms(content, {"x": x})
    names = [operator.name for operator in read_model(change.content).main.operators]
    return content, change, {"L2_NORMALIZATION", "RSQRT"} <= set(names)


def test_a_constant_goes_first_where_all_values_are_far_from_zero(tmp_path):
    x = (RNG.normal(size=(50, 12, 256)) * np.exp(0.5 * RNG.normal(size=(50, 12, 1))) + 10).astype(np.float32)
    content, change, lengths = by_lengths(spread_out_plainly, tmp_path, x)
    assert lengths and computes_the_same(content, change.content, {"x": x})
    names = [operator.name for operator in read_model(change.content).main.operators]
    assert names[0] == "SUB" and names[1] == "MEAN"


def test_silent_rows_among_the_samples_keep_long_norms_from_a_root_that_fits_them_alone(tmp_path):
    """Padding: the root of a row of zeros is a thousand times that of the others, and they share a scale."""
    x = (RNG.normal(size=(64, 50, 256)) * np.exp(0.5 * RNG.normal(size=(64, 50, 1)))).astype(np.float32)
    x[:, 1] = 0
    content, change, lengths = by_lengths(rms_plainly, tmp_path, x)
    assert not lengths and computes_the_same(content, change.content, {"x": x})


def test_a_norm_without_an_epsilon_is_left_where_it_gives_no_numbers(tmp_path):
    x = (RNG.normal(size=(20, 12, 256)) * np.exp(0.5 * RNG.normal(size=(20, 12, 1)))).astype(np.float32)
    content, change, lengths = by_lengths(without_epsilon, tmp_path, x)
    assert lengths and computes_the_same(content, change.content, {"x": x})
    x[0, 0] = 0
    assert robust_norms(content, {"x": x}) is None


def test_even_rows_keep_their_way_and_only_the_mean_goes_first(tmp_path):
    left = edgeopt.convert(exported(spread_out, tmp_path / "a", EVEN), quantize="float32", isolate=False).model
    assert robust_norms(left, {"x": EVEN}) is None
    late = edgeopt.convert(exported(of_moments, tmp_path / "b", EVEN), quantize="float32", isolate=False).model
    change = robust_norms(late, {"x": EVEN})
    names = [operator.name for operator in read_model(change.content).main.operators]
    assert "RSQRT" in names and names.index("SUB") < names.index("MUL")
    assert computes_the_same(late, change.content, {"x": EVEN})


def test_a_layer_normalization_of_an_older_export_becomes_int8(any_keras, tmp_path):
    """That of Keras 3 has a NEG, which has no int8 form; that of tf_keras normalises a transposed picture."""
    x = any_keras.Input((12, 32), name="x")
    any_keras.Model(x, any_keras.layers.LayerNormalization()(x)).export(str(tmp_path / "exported"))
    artifact = edgeopt.convert(str(tmp_path / "exported"), calibration=UNEVEN, isolate=False)
    assert artifact.fully_int8 and artifact.fidelity.snr_db > 22
