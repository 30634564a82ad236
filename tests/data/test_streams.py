"""`edgeopt.data.streams`: generators, `representative_dataset` callables and ``tf.data`` pipelines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeopt.data.dataset import load_dataset
from edgeopt.errors import DataError

X = np.arange(40, dtype=np.float32).reshape(10, 4)
Y = np.arange(10) % 3


def one_by_one():
    for row in X:
        yield [row[np.newaxis]]


def test_representative_dataset_yields_lists_of_batch_1():
    data = load_dataset(one_by_one)
    np.testing.assert_array_equal(data.arrays[0], X)
    assert data.source == "one_by_one"


def test_a_generator_that_runs_already():
    np.testing.assert_array_equal(load_dataset(one_by_one()).arrays[0], X)


def test_bare_arrays_and_batches_of_any_size():
    np.testing.assert_array_equal(load_dataset(iter([X[:3], X[3:4], X[4:]])).arrays[0], X)


def test_an_endless_stream_is_read_up_to_the_limit():
    endless = ([X[:3]] for _ in itertools.count())
    assert load_dataset(endless, limit=7).count == 7


def test_dicts_are_bound_by_name_even_if_their_order_changes():
    elements = [{"a": X[:1], "b": -X[:1]}, {"b": -X[1:2], "a": X[1:2]}]
    data = load_dataset(iter(elements))
    found = data.bind(["a", "b"], [(1, 4), (1, 4)])
    np.testing.assert_array_equal(found["a"], X[:2])
    np.testing.assert_array_equal(found["b"], -X[:2])


def test_signature_key_and_dict_of_representative_dataset():
    data = load_dataset(iter([("serving_default", {"a": X[:1]})] * 2))
    assert (data.names, data.count) == (("a",), 2)


def test_pairs_carry_labels():
    data = load_dataset(iter([(X[:4], Y[:4]), (X[4:], Y[4:])]))
    np.testing.assert_array_equal(data.labels, Y)


@pytest.mark.parametrize(
    ("elements", "sentence"),
    [([], "yields zero samples"), ([[np.float32(1)]], "yields scalars or nothing"), ([[]], "yields scalars or nothing"),
     ([object()], "yields object; expected a list of arrays"),
     ([[X[:1]], [X[:1, :2]]], r"yields samples of shapes \[\(4,\)\] and then \[\(2,\)\]"),
     ([[X[:1]], [X[:1], X[:1]]], "and then"),
     ([{"a": X[:1]}, {"b": X[:1]}], r"yields the names \('a',\) and then \('b',\)")],
)  # fmt: skip
def test_what_is_no_stream_of_samples(elements, sentence):
    with pytest.raises(DataError, match=sentence):
        load_dataset(iter(elements))


def test_a_callable_that_returns_no_stream():
    with pytest.raises(DataError, match="returned int; expected it to yield lists of arrays"):
        load_dataset(lambda: 3)


PIPELINES = {
    "single samples": lambda d: d,
    "pairs": lambda d: d.map(lambda x: (x, 0)),
    "batched": lambda d: d.batch(4),
    "batched and prefetched": lambda d: d.batch(4).prefetch(2),
    "static batches": lambda d: d.batch(5, drop_remainder=True).map(lambda x: x).prefetch(1),
    "parallel batches": lambda d: d.batch(4, num_parallel_calls=2),
    "unbatched again": lambda d: d.batch(4).unbatch(),
    "shuffled batches of pairs": lambda d: d.map(lambda x: (x, 1)).batch(3).shuffle(2, seed=0),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_tf_data(name):
    import tensorflow as tf

    pipeline = PIPELINES[name](tf.data.Dataset.from_tensor_slices(X))
    found = load_dataset(pipeline).bind(["x"], [(1, 4)])["x"]
    np.testing.assert_array_equal(found[np.argsort(found[:, 0])], X)


def test_tf_data_labels_stay_with_their_samples():
    import tensorflow as tf

    pipeline = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(10, seed=1).batch(4)
    data = load_dataset(pipeline)
    np.testing.assert_array_equal(Y[(data.arrays[0][:, 0] / 4).astype(int)], data.labels)


def test_tf_data_of_dicts_and_of_a_python_generator():
    import tensorflow as tf

    data = load_dataset(tf.data.Dataset.from_tensor_slices({"b": X, "a": -X}).batch(4))
    np.testing.assert_array_equal(data.bind(["a", "b"], [(1, 4), (1, 4)])["b"], X)
    spec = tf.TensorSpec((None, 4), tf.float32)
    batches = tf.data.Dataset.from_generator(lambda: iter([X[:3], X[3:]]), output_signature=spec)
    assert load_dataset(batches).count == 10


def test_tf_data_without_an_end_need_a_limit():
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensor_slices(X).batch(4).repeat()
    with pytest.raises(DataError, match=r"never ends; give a part of it, as take\(n\) does"):
        load_dataset(endless)
    assert load_dataset(endless, limit=6).count == 6
