"""`edgeopt.devices.pieces`: samples that are not in memory reach the device a piece at a time, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.devices import Device, RunOptions
from edgeopt.devices import pieces as module
from edgeopt.devices.pieces import pieces, write


class Lazy:
    """Rows that are made where they are looked at; remembers how many at once."""

    ndim, dtype = 2, np.dtype(np.float32)

    def __init__(self, count, width=4):
        self.values = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
        self.shape, self.most = self.values.shape, 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        found = self.values[rows]
        self.most = max(self.most, len(found))
        return found

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("all of it in memory")


@pytest.fixture(scope="module")
def model():
    import tensorflow as tf

    inputs = tf.keras.Input((4,), name="x")
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(3, name="y")(inputs))
    return tf.lite.TFLiteConverter.from_keras_model(network).convert()


def test_a_file_is_written_a_part_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BYTES", 3 * 16)
    lazy = Lazy(10)
    write(tmp_path / "x.npy", lazy)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), lazy.values)
    assert lazy.most == 3


def test_pieces_hold_all_rows_once_and_arrays_stay_whole(monkeypatch):
    monkeypatch.setattr(module, "PIECE_BYTES", 4 * 16)
    lazy = Lazy(10)
    assert [len(part[0]) for part in pieces({0: lazy})] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([part[0][:] for part in pieces({0: lazy})]), lazy.values)
    assert [part[0] is lazy.values for part in pieces({0: lazy.values})] == [True]


def test_what_comes_back_is_what_all_samples_at_once_would_have_given(model, monkeypatch):
    lazy = Lazy(23)
    options = RunOptions(bench=None)
    with Device.local() as device:
        whole = device.measure(model, {"x": lazy.values * 1000}, options).evaluation
        monkeypatch.setattr(module, "PIECE_BYTES", 10 * 16)
        lazy.values *= 1000
        found = device.measure(model, {"x": lazy}, options).evaluation
    assert (found.samples, whole.samples, found.warnings) == (23, 23, whole.warnings)
    assert lazy.most == 10
    # The batches differ, and with them the order of the sums in XNNPACK's kernels: a few roundings of values near 3000.
    np.testing.assert_allclose(found.outputs[0].real(), whole.outputs[0].real(), atol=2.0**-10, rtol=0)
