"""Ranges by several methods, and the choice among them: on samples that made none, and never for noise."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.range_choice import choose, compare, plan_ranges, sample_errors
from edgeopt.flatbuffer import read_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 12, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """A network in which a few values of one channel, which hardly matter, set the range of all."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    first, second = layers.Conv2D(16, 1, activation="relu"), layers.Conv2D(16, 3, activation="relu")
    head = [layers.Flatten(), layers.Dense(4, name="y")]
    model = keras.Sequential([keras.Input((12, 12, 3), name="x"), first, second, *head])
    kernel, bias = first.get_weights()
    kernel[..., 0], bias[0] = np.array([100, 0, 0]), -320  # above 0 where a normal value is above 3.2
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[:, :, 0] = 0.001
    second.set_weights([kernel, bias])
    return model


def converted(model, samples=X, **options):
    return edgeopt.convert(model, calibration=samples, isolate=False, **{"calibration_samples": 100, **options})


def steps(artifact):
    """Return the scales of all activations; biases have those of weights and inputs."""
    tensors = read_model(artifact.model).main.tensors
    return [t.quantization.scales.tolist() for t in tensors if t.quantization is not None and t.dtype == "int8"]


def edges(artifact):
    return [(item["scale"], item["zero_point"]) for kind in ("inputs", "outputs") for item in artifact.sidecar[kind]]


def test_inputs_and_outputs_stay_whole_whatever_the_method(model):
    plain = converted(model, ranges="minmax")
    for method in ("percentile", "mse"):
        found = converted(model, ranges=method)
        assert edges(found) == edges(plain)
        assert found.model != plain.model
        assert found.sidecar["ranges"]["used"] == method


def test_best_is_chosen_on_samples_held_back_and_the_sidecar_says_why(model):
    found = converted(model, ranges="best")
    record = found.sidecar["ranges"]
    assert (record["asked"], record["samples"], record["held_back"]) == ("best", 50, True)
    assert set(record["candidates"]) == {"minmax", "percentile", "mse"}
    used = record["candidates"][record["used"]]
    assert record["used"] != "minmax"
    assert record["why"]
    assert used["snr_db"] > record["candidates"]["minmax"]["snr_db"]
    assert steps(found) == steps(converted(model, ranges=record["used"]))
    assert set(record["biases"]) == {"kept", "snr_db", "gain_db", "noise_db"}


def test_biases_are_corrected_only_where_that_is_better_beyond_noise(model):
    found, plain = converted(model, ranges="best"), converted(model, ranges="percentile")
    biases = found.sidecar["ranges"]["biases"]
    assert biases["kept"] == (biases["gain_db"] > 2 * biases["noise_db"])
    assert (found.model != plain.model) == biases["kept"]


def test_the_same_samples_give_the_same_bytes_in_another_process(model):
    again = edgeopt.convert(model, calibration=X, calibration_samples=100, ranges="best")
    assert again.model == converted(model, ranges="best").model


def test_without_more_samples_every_fifth_judges_and_all_make_the_ranges(model):
    found = converted(model, X[:100], ranges="best")
    record = found.sidecar["ranges"]
    assert (record["samples"], record["held_back"]) == (20, False)
    assert steps(found) == steps(converted(model, X[:100], ranges=record["used"]))


def test_a_few_samples_cannot_choose(model):
    found = converted(model, X[:19], ranges="best")
    assert found.sidecar["ranges"]["used"] == "minmax"
    assert any(
        "'best' was asked for, but there are fewer than 20 samples" in text for text in found.sidecar["warnings"]
    )
    assert found.model == converted(model, X[:19], ranges="minmax").model


def test_what_only_tensorflow_measures_keeps_its_ranges_and_says_so():
    import tf_keras

    lstm = tf_keras.Sequential([tf_keras.Input((4, 4), name="x"), tf_keras.layers.LSTM(3, name="y")])
    samples = X.reshape(-1, 4, 4)[:150]
    found = converted(lstm, samples, ranges="percentile")
    assert [text for text in found.sidecar["warnings"] if text.startswith("ranges: 'percentile' was asked for, but")]
    assert found.model == converted(lstm, samples, ranges="minmax").model


# --- the parts -----------------------------------------------------------------------------------------------------


def test_every_fifth_group_is_measured_last_and_judges():
    plan = plan_ranges("best", {"x": np.arange(23)}, None, batch=2)
    assert list(plan.order) == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 4, 9]
    assert plan.first_part == 10
    assert plan.judges == 4
    assert plan.shown["x"].tolist()[:4] == [8, 9, 18, 19]
    assert sorted(plan.shown["x"]) == list(range(23))


def test_errors_are_parts_of_the_signal_added_up_over_outputs():
    expected = {"a": np.array([[3.0, 4.0], [5.0, 0.0]]), "b": np.array([1.0, 1.0]), "silent": np.zeros((2, 3))}
    got = {"a": np.array([[3.0, 4.5], [5.0, 0.0]]), "b": np.array([1.0, np.nan]), "silent": np.ones((2, 3))}
    np.testing.assert_allclose(sample_errors(expected, got), [0.25 / 25, 1.0])


def errors(decibels):
    return 10 ** (-np.asarray(decibels) / 10)


def test_the_percentile_stands_against_noise_and_ties():
    base = RNG.normal(20, 2, 50)
    noisy = base + RNG.normal(0, 3, 50) + 0.1
    used, why = choose({"minmax": errors(noisy), "percentile": errors(base), "mse": errors(base)})
    assert (used, why) == ("percentile", "no other method is better beyond noise")


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_what_is_better_beyond_noise_is_taken(method):
    base = RNG.normal(20, 2, 50)
    found = {"minmax": errors(base), "percentile": errors(base), "mse": errors(base)}
    used, why = choose({**found, method: errors(base + RNG.normal(1, 0.5, 50))})
    assert used == method
    assert "better than percentile" in why


def test_a_sample_that_cutting_off_loses_brings_minimum_and_maximum_back():
    base = RNG.normal(20, 2, 50)
    rare = base + 1.0
    rare[0] = -5  # better on all but one
    assert compare({"minmax": errors(base), "rare": errors(rare)})["rare"].gain_db > 0
    used, why = choose({"minmax": errors(base), "percentile": errors(rare), "mse": errors(rare)})
    assert used == "minmax"
    assert "cuts off is missed" in why
