"""MultiHeadAttention is trained quantised: its projections on grids, what is between them with ranges."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from edgeopt.api.convert import convert
from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.properties import check_kept, measure_file, measure_model
from edgeopt.passes.qat import Qat
from edgeopt.passes.qat.choices import Choices
from edgeopt.passes.qat.lowering import lower
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

QUERY, VALUE = (8, 12), (6, 12)
PROJECTIONS = ("query", "key", "value", "attention_output")


def crossed(keras):
    """Keys and values from another sequence, more of a key than of a value."""
    query, value = keras.Input(QUERY, name="query"), keras.Input(VALUE, name="value")
    attended = keras.layers.MultiHeadAttention(2, 8, value_dim=4, dropout=0.1, name="attention")(query, value)
    return keras.Model([query, value], attended)


def causal(keras):
    given = keras.Input(QUERY, name="query")
    x = keras.layers.MultiHeadAttention(3, 4, name="attention")(given, given, use_causal_mask=True)
    return keras.Model(given, keras.layers.Add(name="sum")([given, x]))


def prepared(model):
    """No bias is zero, half of each kernel is, and what is not has four values."""
    generator = np.random.default_rng(1)
    for weight in model.weights:
        array = np.asarray(weight)
        values = np.array([-0.6, -0.2, 0.3, 0.7]) if array.ndim > 2 else generator.uniform(-0.5, 0.5, 50)
        drawn = generator.choice(values, array.shape)
        weight.assign(drawn * (generator.permutation(array.size).reshape(array.shape) % 2 if array.ndim > 2 else 1))
    return model


def samples(model, count=32):
    generator = np.random.default_rng(0)
    inputs = {tensor.name.split(":")[0]: tuple(tensor.shape[1:]) for tensor in model.inputs}
    return {name: generator.normal(size=(count, *shape)).astype("float32") for name, shape in inputs.items()}


@pytest.mark.heavy
@pytest.mark.parametrize(("flavour", "make"), [("keras", crossed), ("tf_keras", causal)])
def test_the_file_is_integer_agrees_and_keeps_zeros_and_clusters(flavour, make, running):
    keras = importlib.import_module(flavour)
    model = prepared(make(keras))
    before = measure_model(model)
    x = samples(model)
    labels = np.random.default_rng(2).normal(size=(32, *QUERY)).astype("float32")
    result = Qat(training=Training(epochs=1)).apply(model, PassContext(train=(x, labels), loss="mse"))
    assert result.report.fully_int8
    assert result.report.preserved == ("clusters", "sparsity")
    assert type(result.model.get_layer("attention")).__module__.split(".")[0] == keras.__name__
    artifact = convert(result.exported, isolate=False)
    assert artifact.sidecar["fully_int8"]
    after = measure_file(artifact.model, like=before)
    assert set(after) == {f"attention/{name}/kernel" for name in PROJECTIONS}
    assert check_kept(before, measure_model(result.model)).checked == check_kept(before, after).checked != ()
    file = running(artifact.model)
    expected = result.exported.predict(x if len(x) > 1 else x["query"], verbose=0)
    got = np.concatenate([file.real({name: array[i : i + 1] for name, array in x.items()})[0] for i in range(8)])
    # Five operators in a row, each of which may round a step up or down.
    assert np.abs(got - expected[:8]).max() / file.steps()[0] <= 3.01


def test_without_training_it_computes_what_the_float_layer_does_and_causal_hides_what_is_behind(keras):
    """Within the rounding of 8 bits; a mask that hid nothing, or a scale left out, would be far outside of it."""
    model = causal(keras)
    x = samples(model)["query"]
    result = Qat(training=Training(epochs=0)).apply(model, PassContext(train=(x, np.zeros((32, 1)))))
    for ours, given in zip(result.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, given)
    expected, got = model.predict(x, verbose=0), result.exported.predict(x, verbose=0)
    assert np.std(got - expected) < 0.02 * np.std(expected)
    later = x.copy()
    later[:, 5:] += 1.0
    np.testing.assert_array_equal(result.exported.predict(later, verbose=0)[:, :5], got[:, :5])


@pytest.mark.parametrize(
    ("arguments", "shape", "reason"),
    [
        ({"attention_mask": True}, QUERY, "a mask that is computed"),
        ({"return_attention_scores": True}, QUERY, "the attention's scores as an output"),
        ({}, (None, 12), "other inputs than sequences of vectors, of a length that the model states"),
        ({}, (4, 5, 12), "other inputs than sequences of vectors"),
    ],
)
def test_what_stays_float_is_named_and_the_rest_is_taken(arguments, shape, reason):
    import tf_keras

    given = tf_keras.Input(shape, name="given")
    if "attention_mask" in arguments:
        arguments = {"attention_mask": tf_keras.layers.Dense(8, name="mask")(given)}
    x = tf_keras.layers.Dense(12, name="dense")(given)
    x = tf_keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x, **arguments)
    model = tf_keras.Model(given, tf_keras.layers.Dense(2, name="end")(x[0] if isinstance(x, tuple) else x))
    lowered = lower(read_native(model), Choices())
    assert [(entry.subject, entry.reason) for entry in lowered.skipped] == [("attention", "no int8 operator")]
    assert lowered.skipped[0].detail.startswith(reason)
    assert {"dense", "end"} <= {layer.name for layer in lowered.layers}
