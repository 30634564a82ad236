"""`edgeopt.models.predict`: the float baseline, from a file in a child process or from an object here."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import DataError, FileFormatError, InvokeError, UsageError
from edgeopt.models.predict import predict_isolated

X = np.random.default_rng(0).normal(size=(130, 4)).astype(np.float32)  # more than two batches, the last one short


def pair(keras):
    zebra, apple = keras.Input((4,), name="zebra"), keras.Input((4,), name="apple")
    outputs = [keras.layers.Subtract(name="plus")([zebra, apple]), keras.layers.Dense(2, name="d")(zebra)]
    return keras.Model([zebra, apple], outputs)


def test_an_object_gives_its_outputs_in_order_and_tells_how_far_it_is(any_keras):
    model, told = pair(any_keras), []
    plus, dense = predict_isolated(model, {"apple": 2 * X, "zebra": X}, on_event=told.append)
    assert [(event["done"], event["total"]) for event in told] == [(0, 130), (64, 130), (128, 130)]
    np.testing.assert_array_equal(plus, -X)
    # Batches of 64 against one of 130: the same products, summed in another order.
    np.testing.assert_allclose(dense, model([X, 2 * X])[1], rtol=1e-5, atol=1e-6)


@pytest.mark.heavy
def test_a_file_gives_the_same_from_a_child_process(any_keras, tmp_path):
    model = pair(any_keras)
    model.save(tmp_path / "m.keras")
    feeds = {"zebra": X, "apple": 2 * X}
    for found, expected in zip(
        predict_isolated(tmp_path / "m.keras", feeds), predict_isolated(model, feeds), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.heavy
def test_the_real_saved_model_scores_as_published(shared_data):
    with np.load(shared_data / "kws" / "test.npz") as archive:
        x, y = archive["x"], archive["y"]
    (scores,) = predict_isolated(shared_data / "kws" / "ref_saved_model", {"input_1": x})
    assert (scores.argmax(axis=1) == y).mean() == pytest.approx(0.913, abs=0.0005)


def test_a_fixed_batch_is_filled_and_cut(any_keras):
    model = any_keras.Sequential([any_keras.Input(batch_shape=(8, 4), name="x"), any_keras.layers.Rescaling(2.0)])
    (found,) = predict_isolated(model, {"x": X[:13]})
    np.testing.assert_array_equal(found, 2 * X[:13])


def test_one_input_takes_data_of_any_name(any_keras):
    model = any_keras.Sequential([any_keras.Input((4,), name="x"), any_keras.layers.Rescaling(2.0)])
    (found,) = predict_isolated(model, {"image": X})
    np.testing.assert_array_equal(found, 2 * X)


def test_other_names_are_refused(any_keras):
    with pytest.raises(
        DataError, match="The baseline has the inputs zebra, apple, but the data were bound to a, zebra"
    ):
        predict_isolated(pair(any_keras), {"a": X, "zebra": X})


def test_a_model_that_fails_on_the_data(any_keras):
    model = any_keras.Sequential([any_keras.Input((4,), name="x"), any_keras.layers.Dense(2)])
    with pytest.raises(InvokeError, match="The baseline model fails on the data: "):
        predict_isolated(model, {"x": X[:, :3]})


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "m.keras").write_text("hello")
    with pytest.raises(FileFormatError, match="is not a Keras model"):
        predict_isolated(tmp_path / "m.keras", {"x": X})
    with pytest.raises(UsageError, match="does not exist"):
        predict_isolated(tmp_path / "absent.keras", {"x": X})
