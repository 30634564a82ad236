"""After a short training, BatchNormalization's statistics are those of the trained weights, not of the old ones."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.finetune import FineTune
from edgeopt.training.context import PassContext
from edgeopt.training.loop import train
from edgeopt.training.options import Training

SHORT = Training(epochs=2, batch_size=16, learning_rate=0.1, optimizer="sgd")


def network(keras, **norm):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, name="hidden"),
            layers.BatchNormalization(name="norm", **norm),
            layers.ReLU(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def context():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 64)
    x = (generator.normal(size=(64, 6)) + 3.0 * labels[:, None] + 5.0).astype(np.float32)
    return PassContext(train=(x, labels), loss="sparse_categorical_crossentropy")


def true_mean(model, given):
    """What the layer before the normalisation gives on the training data, by arithmetic."""
    kernel, bias = model.get_layer("hidden").get_weights()
    return given.train[0].mean(axis=0) @ kernel + bias


def moving_mean(model):
    return np.asarray(model.get_layer("norm").moving_mean)


def test_a_few_steps_leave_the_statistics_of_the_trained_weights(keras):
    model, given = network(keras), context()
    done = train(model, given, SHORT, name="t")
    assert (done.steps, done.renewed_norms) == (8, 1)
    # Four equal batches: their mean is the mean. Sums of 64 float32 of some ten are good to 1e-5 of that.
    np.testing.assert_allclose(moving_mean(model), true_mean(model, given), atol=1e-4)
    assert model.get_layer("norm").momentum == pytest.approx(0.99)


def test_without_it_they_would_be_far_off(keras, monkeypatch):
    """The planted bad case: Keras alone keeps 0.99 ** 8 = 92 % of the old statistics, which are those of nothing."""
    import edgeopt.training.loop as loop

    monkeypatch.setattr(loop, "renew_statistics", lambda *_: 0)
    model, given = network(keras), context()
    train(model, given, SHORT, name="t")
    wanted = true_mean(model, given)
    assert np.abs(moving_mean(model) - wanted).max() > 0.8 * np.abs(wanted).max()


def test_statistics_that_could_follow_are_left_as_they_are(keras):
    """0.5 ** 8 = 0.4 % of the old ones is left."""
    model, given = network(keras, momentum=0.5), context()
    done = train(model, given, SHORT, name="t")
    assert done.renewed_norms == 0
    assert np.abs(moving_mean(model) - true_mean(model, given)).max() > 1e-3


def test_frozen_statistics_stay(keras):
    model = network(keras)
    model.get_layer("norm").trainable = False
    before = model.get_layer("norm").get_weights()
    assert train(model, context(), SHORT, name="t").renewed_norms == 0
    for ours, theirs in zip(model.get_layer("norm").get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_statistics_that_an_early_stop_has_chosen_stay(keras):
    from dataclasses import replace

    model, given = network(keras), context()
    watched = replace(given, validation=given.train)
    assert train(model, watched, replace(SHORT, early_stop="val_loss"), name="t").renewed_norms == 0


def test_the_report_says_so(keras):
    report = FineTune(training=SHORT).apply(network(keras), context()).report
    assert report.to_dict()["renewed_norms"] == 1


@pytest.mark.heavy
def test_the_normalisations_inside_quantised_layers_are_measured_too(keras):
    from edgeopt.passes.qat import Qat

    given = context()
    result = Qat(training=SHORT).apply(network(keras), given)
    assert result.report.to_dict()["renewed_norms"] == 1
    # The QAT model computes with rounded weights and inputs: a step of 1/127 of the largest of each, over 6 of them.
    wanted = true_mean(result.model, given)
    assert np.abs(moving_mean(result.model) - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_last_batch_of_one_sample_does_not_count_as_a_whole_one(keras):
    """One sample has no variance: with the same weight as the sixteen it would halve what they have."""
    from dataclasses import replace

    model, given = network(keras), context()
    given = replace(given, train=tuple(array[:17] for array in given.train))
    assert train(model, given, SHORT, name="t").renewed_norms == 1
    kernel, _ = model.get_layer("hidden").get_weights()
    variance = np.asarray(model.get_layer("norm").moving_variance)
    # Of sixteen of the seventeen samples; one sample more or less changes a variance by about 2/17 and seldom by 2/5.
    assert np.all(variance > 0.6 * np.var(given.train[0] @ kernel, axis=0))
