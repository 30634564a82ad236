"""`edgeopt.callbacks`: the exported file's score during the user's own `fit`, in both flavours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import DataError, UsageError


@pytest.mark.heavy
def test_the_files_score_is_in_the_history_of_both_flavours_and_in_tensorboard(any_keras, tmp_path):
    import tensorflow as tf

    keras = any_keras
    keras.utils.set_random_seed(1)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 64)
    images = (generator.normal(size=(64, 6)) + 2 * labels[:, None]).astype(np.float32)
    layers = keras.layers
    model = keras.Sequential([keras.Input((6,), name="x"), layers.Dense(2, activation="softmax", name="classes")])
    model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
    watch = edgeopt.callbacks.TFLiteEvaluation(every=2, data=(images, labels), log_dir=tmp_path)
    history = model.fit(images, labels, epochs=3, verbose=0, callbacks=[watch]).history
    assert [entry["epoch"] for entry in watch.history] == [1, 2]  # every second one, and the last
    report = edgeopt.validate(
        edgeopt.convert(model, calibration=images), data=(images, labels), bench=edgeopt.callbacks._shortest()
    )
    assert watch.history[-1]["tflite_accuracy"] == report.scores.candidate.value
    assert history["tflite_accuracy"] == [entry["tflite_accuracy"] for entry in watch.history]
    (events,) = tmp_path.iterdir()
    scalars = {}
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            scalars[event.step] = (value.tag, float(tf.make_ndarray(value.tensor)))
    assert scalars == {
        entry["epoch"]: ("tflite_accuracy", pytest.approx(entry["tflite_accuracy"])) for entry in watch.history
    }


def small(keras, heads=1):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    x = keras.Input((6,), name="x")
    hidden = layers.Dense(8, activation="relu", name="hidden")(x)
    kind = layers.Dense(2, activation="softmax", name="kind")(hidden)
    model = keras.Model(x, kind if heads == 1 else [kind, layers.Dense(1, name="size")(hidden)])
    model.compile("adam", ["sparse_categorical_crossentropy", "mse"][:heads])
    return model


def samples():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 64)
    return (generator.normal(size=(64, 6)) + 2 * labels[:, None]).astype(np.float32), labels


@pytest.mark.parametrize(
    ("heads", "data", "options", "error", "message"),
    [
        (1, lambda x, y: x, {}, DataError, "data of TFLiteEvaluation hold no labels, which the metric accuracy needs"),
        (1, lambda x, y: (x[:, :5], y), {}, DataError, r"gives shape \(64, 5\) for input 'x'"),
        (1, lambda x, y: (x, y), {"calibration": np.zeros((8, 5))}, DataError, r"shape \(8, 5\) for input 'x'"),
        (2, lambda x, y: (x, [y, y]), {}, UsageError, "has the outputs kind, size, .* name it"),
        (2, lambda x, y: (x, [y, y]), {"output_name": "kid"}, UsageError, "has no output 'kid'; did you mean 'kind'"),
        (2, lambda x, y: (x, {"size": y}), {"output_name": "kind"}, DataError, "has no labels for the output 'kind'"),
    ],
)
def test_what_would_end_the_training_at_its_first_evaluation_is_said_when_it_begins(
    any_keras, heads, data, options, error, message
):
    x, y = samples()
    model, steps = small(any_keras, heads), []
    watch = edgeopt.callbacks.TFLiteEvaluation(every=5, data=data(x, y), **options)
    count = any_keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.raises(error, match=message):
        model.fit(x, [y, y][:heads], epochs=9, verbose=0, callbacks=[watch, count])
    assert not steps


@pytest.mark.heavy
def test_one_of_several_outputs_is_scored_with_its_labels_of_a_generator_that_gives_them_once():
    import keras

    x, y = samples()
    model = small(keras, heads=2)
    once = (
        (x[start : start + 16], {"size": y[start : start + 16], "kind": y[start : start + 16]}) for start in (0, 16)
    )
    watch = edgeopt.callbacks.TFLiteEvaluation(data=once, output_name="kind", calibration=iter([[x]]))
    model.fit(x, [y, y], epochs=2, verbose=0, callbacks=[watch])
    assert [report.scores.samples for report in watch.reports] == [32, 32]
    file = edgeopt.convert(model, calibration=x)
    report = edgeopt.validate(file, data=(x[:32], y[:32]), output_name="kind", bench=edgeopt.callbacks._shortest())
    assert watch.history[-1]["tflite_accuracy"] == report.scores.candidate.value


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["prune", "cluster"])
def test_a_model_under_tfmots_wrappers_is_evaluated_as_what_it_becomes(kind):
    import keras

    from edgeopt.passes.cluster.cluster import Cluster
    from edgeopt.passes.prune.prune import Prune
    from edgeopt.training.context import PassContext
    from edgeopt.training.options import Training

    x, y = samples()
    training = Training(epochs=2, learning_rate=1e-2)
    step = Prune(sparsity=0.5, training=training) if kind == "prune" else Cluster(clusters=4, training=training)
    watch = edgeopt.callbacks.TFLiteEvaluation(data=(x, y))
    context = PassContext(train=(x, y), loss="sparse_categorical_crossentropy")
    watched = step.apply(small(keras), replace(context, callbacks=(watch,))).model
    file = edgeopt.convert(watched, calibration=(x, y))
    report = edgeopt.validate(file, data=(x, y), bench=edgeopt.callbacks._shortest())
    assert watch.history[-1]["tflite_accuracy"] == report.scores.candidate.value
    # Looking on changes nothing of the training.
    for ours, theirs in zip(watched.get_weights(), step.apply(small(keras), context).model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every=0"),
        ({"every": True}, "every=True"),
        ({"seconds": -1}, "seconds=-1"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
    ],
)
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(UsageError, match=message):
        edgeopt.callbacks.TFLiteEvaluation(data=None, **options)
