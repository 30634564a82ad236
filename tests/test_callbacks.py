"""`edgeopt.callbacks`: the exported file's score during the user's own `fit`, in both flavours."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import UsageError


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


@pytest.mark.parametrize(
    ("options", "message"),
    [({"every": 0}, "every=0"), ({"every": True}, "every=True"), ({"seconds": -1}, "seconds=-1")],
)
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(UsageError, match=message):
        edgeopt.callbacks.TFLiteEvaluation(data=None, **options)
