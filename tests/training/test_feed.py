"""Data of every kind as batches: bound by name, in an order that the seed and the epoch decide."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from edgeopt.errors import DataError, UsageError
from edgeopt.training.feed import is_py_dataset, open_feed, steps_of

X = np.arange(10, dtype=np.float32).reshape(10, 1)
Y = np.arange(10) % 2


def model(keras, inputs=("x",), size=1, batch=None):
    tensors = [keras.Input((size,), name=name, batch_size=batch) for name in inputs]
    joined = tensors[0] if len(tensors) == 1 else keras.layers.Concatenate()(tensors)
    return keras.Model(tensors if len(tensors) > 1 else tensors[0], keras.layers.Dense(2)(joined))


def batches(feed, first=0, last=1):
    return [tuple(np.asarray(part) for part in batch) for batch in feed.make(first, last)]


def rows(feed, first=0, last=1):
    return [x.ravel().astype(int).tolist() for x, *_ in batches(feed, first, last)]


def test_each_epoch_has_its_own_order_and_every_sample_once(keras):
    feed = open_feed((X, Y), model(keras), batch_size=4, seed=3)
    epochs = rows(feed, 0, 2)
    assert [len(batch) for batch in epochs] == [4, 4, 2, 4, 4, 2]
    first, second = list(chain(*epochs[:3])), list(chain(*epochs[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert rows(feed, 1, 2) == epochs[3:]  # the second epoch is the same, whether or not the first came before
    assert rows(open_feed((X, Y), model(keras), batch_size=4, seed=4)) != epochs[:3]


def test_labels_stay_with_their_samples(keras):
    for x, y in batches(open_feed((X, Y), model(keras), batch_size=3, seed=1)):
        assert (x.ravel().astype(int) % 2 == y).all()


def test_more_steps_than_batches_begin_again_in_another_order(keras):
    feed = open_feed((X, Y), model(keras), batch_size=5, steps=4, seed=0)
    found = rows(feed)
    assert feed.steps == len(found) == 4
    assert sorted(found[0] + found[1]) == sorted(found[2] + found[3]) == list(range(10))
    assert found[:2] != found[2:]


def test_two_inputs_are_bound_by_name_and_not_by_order(keras):
    feed = open_feed(
        ({"apple": X + 100, "zebra": X}, Y), model(keras, ("zebra", "apple")), batch_size=10, shuffle=False
    )
    x, _ = next(iter(feed.make(0, 1)))
    assert x["zebra"].numpy().max() == 9
    assert x["apple"].numpy().min() == 100


def test_a_file_and_a_callable_give_what_arrays_give(keras, tmp_path, monkeypatch):
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    (tmp_path / "user_data_module.py").write_text(
        "import numpy as np\ndef load():\n"
        "    return np.arange(10, dtype=np.float32).reshape(10, 1), np.arange(10) % 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    expected = rows(open_feed((X, Y), model(keras), batch_size=4, seed=3))
    for source in (str(tmp_path / "data.npz"), "user_data_module:load"):
        assert rows(open_feed(source, model(keras), batch_size=4, seed=3)) == expected
        assert steps_of(source, 4, None) == 3


def test_a_tf_data_set_keeps_its_order_and_is_batched_where_it_is_not(keras):
    import tensorflow as tf

    single = tf.data.Dataset.from_tensor_slices((X, Y))
    for source, steps in ((single, 3), (single.batch(5), 2)):
        feed = open_feed(source, model(keras), batch_size=4)
        assert list(chain(*rows(feed))) == list(range(10))
        assert feed.steps == steps_of(source, 4, None) == steps


def py_dataset(keras, count=3):
    base = keras.utils.PyDataset if hasattr(keras.utils, "PyDataset") else keras.utils.Sequence

    class Batches(base):
        ended = 0

        def __len__(self):
            return count

        def __getitem__(self, index):
            return X[index * 2 : index * 2 + 2], Y[index * 2 : index * 2 + 2]

        def on_epoch_end(self):
            self.ended += 1

    return Batches()


def test_a_py_dataset_gives_its_batches_in_the_order_of_the_seed(keras):
    source = py_dataset(keras)
    assert is_py_dataset(source)
    feed = open_feed(source, model(keras), batch_size=99, seed=5)
    found = rows(feed, 0, 2)
    assert sorted(found[:3]) == sorted(found[3:]) == [[0, 1], [2, 3], [4, 5]]
    assert source.ended == 2
    assert steps_of(source, 99, None) == 3
    with pytest.raises(DataError, match="has no batches"):
        open_feed(py_dataset(keras, 0), model(keras), batch_size=1)


def test_sample_weights_come_third(keras):
    feed = open_feed((X, Y, X.ravel()), model(keras), batch_size=4, seed=0)
    assert all((x.ravel() == weight).all() for x, _, weight in batches(feed))


def test_what_does_not_fit_is_refused_with_what_was_expected(keras):
    import tensorflow as tf

    wide = model(keras, size=3)
    with pytest.raises(DataError, match=r"gives shape \(10, 1\) for input 'x'; expected \(samples, 3\)"):
        open_feed((X, Y), wide, batch_size=4)
    with pytest.raises(DataError, match=r"give shape \(None, 1\) for input 'x'; expected \(samples, 3\)"):
        open_feed(tf.data.Dataset.from_tensor_slices((X, Y)).batch(2), wide, batch_size=4)
    with pytest.raises(DataError, match="have no labels; give x and y"):
        open_feed(X, model(keras), batch_size=4)
    with pytest.raises(DataError, match="tf.data.Dataset has no labels"):
        open_feed(tf.data.Dataset.from_tensor_slices(X).batch(2), model(keras), batch_size=4)
    with pytest.raises(DataError, match=r"has 9 label\(s\) for 10 samples"):
        open_feed((X, Y[:9]), model(keras), batch_size=4)
    with pytest.raises(UsageError, match="fixed batch size of 2, and training was asked for with 4"):
        open_feed((X, Y), model(keras, batch=2), batch_size=4)


def test_data_without_an_end_need_a_length(keras):
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5).repeat()
    with pytest.raises(DataError, match=r"training tf.data.Dataset never ends; give steps_per_epoch"):
        open_feed(endless, model(keras), batch_size=5)
    with pytest.raises(DataError, match=r"validation tf.data.Dataset never ends; give a part of it, as take\(n\) does"):
        open_feed(endless, model(keras), batch_size=5, what="validation")
    assert open_feed(endless, model(keras), batch_size=5, steps=3).steps == 3
