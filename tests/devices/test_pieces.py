"""`edgeopt.devices.pieces`: samples reach the device quantised, and a piece at a time, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.devices import Device, RunOptions
from edgeopt.devices import pieces as module
from edgeopt.devices.agent.arrays import open_all
from edgeopt.devices.agent.protocol import PROTOCOL_VERSION, AgentError
from edgeopt.devices.agent.session import Tensor
from edgeopt.devices.pieces import pieces, write
from edgeopt.errors import DataError
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.specs import input_specs

from ..flatbuffer.conftest import FileBuilder
from .conftest import float_model, reply_of

SCALE, ZERO_POINT = 0.05, {"int8": -3, "uint8": 100, "int16": 0}
# Halves of a step, which round away from zero, the ends of the range and beyond them, the smallest numbers there are.
EDGES = np.array([0.025, 0.075, -0.025, -0.125, 6.5, -6.2, 1e9, -1e9, 1e-45, -0.0, 127.4999, -127.5])


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


def spec_of(content):
    return input_specs(read_model(content))[0]


def unchanging_model(dtype):
    """y = x, to the bit, as it is stored."""
    file = FileBuilder()
    quantised = {"scales": [SCALE], "zero_points": [ZERO_POINT[dtype]]}
    x, y = (file.tensor([1, 4], dtype, name=name, **quantised) for name in "xy")
    shape = file.tensor([2], "int32", name="shape", data=np.array([1, 4], np.int32))
    file.operator("RESHAPE", [x, shape], [y], options="ReshapeOptions", newShape=[1, 4])
    return file.build([x], [y])


@pytest.mark.parametrize(
    ("dtype", "given"), [("int8", "float32"), ("uint8", "float64"), ("int16", "float32"), ("int8", "int32")]
)
def test_what_is_sent_is_to_the_bit_what_the_agent_makes_of_the_real_values(
    talk, device, untimed, tmp_path, monkeypatch, dtype, given
):
    monkeypatch.setattr(module, "_CHUNK_BYTES", 7 * 16)
    values = np.concatenate([EDGES, np.random.default_rng(0).uniform(-9, 9, 48)]).reshape(-1, 4).astype(given)
    content = unchanging_model(dtype)
    (tmp_path / "m.tflite").write_bytes(content)
    np.save(tmp_path / "real.npy", values)
    request = {"protocol": PROTOCOL_VERSION, "nonce": "n1", "op": "measure", "workdir": str(tmp_path / "old")}
    request |= {"model": str(tmp_path / "m.tflite"), "evaluate": True, "keep": True}
    reply = reply_of(talk({**request, "inputs": {"x": str(tmp_path / "real.npy")}}))["result"]["evaluation"]

    sent = write(tmp_path / "sent.npy", values, spec_of(content))
    assert (sent["low"], sent["high"]) == (reply["inputs"][0]["low"], reply["inputs"][0]["high"])
    stored = np.load(tmp_path / "sent.npy")
    assert stored.dtype == dtype
    assert stored.tobytes() == np.load(reply["outputs"][0]["path"]).tobytes()
    found = device.measure(content, {"x": values}, untimed).evaluation
    assert found.outputs[0].stored.tobytes() == stored.tobytes()


def test_what_would_not_get_smaller_is_sent_as_it_is(tmp_path):
    pixels, real = np.arange(8, dtype=np.uint8).reshape(2, 4), np.ones((2, 4), np.float32)
    for samples, content in ((pixels, unchanging_model("uint8")), (real, float_model())):
        assert write(tmp_path / "x.npy", samples, spec_of(content)) is None
        found = np.load(tmp_path / "x.npy")
        assert found.dtype == samples.dtype and found.tobytes() == samples.tobytes()


def test_a_value_that_is_not_finite_is_named_before_anything_is_sent(tmp_path):
    values = np.ones((5, 4), np.float32)
    values[3, 1] = np.nan
    with pytest.raises(DataError, match="^Sample 3 of input 'x' holds NaN or infinity; leave it out"):
        write(tmp_path / "x.npy", values, spec_of(unchanging_model("int8")))


@pytest.mark.parametrize("wrong", [{}, {"scale": 0.06}, {"zero_point": -4}, {"dtype": "uint8"}])
def test_the_agent_refuses_what_was_quantised_for_another_input(tmp_path, wrong):
    spec = spec_of(unchanging_model("int8"))
    tensor = Tensor("x", "x", 0, np.int8, (1, 4), (1, 4), spec.scale, spec.zero_point)
    path = tmp_path / "x.npy"
    stored = {"#0": {**write(path, np.ones((3, 4), np.float32), spec), **wrong}}
    if not wrong:
        assert open_all([tensor], [str(path)], stored).stored == [True]
        return
    with pytest.raises(AgentError, match="data for input 'x' are int8, quantised for"):
        open_all([tensor], [str(path)], stored)


def test_a_file_is_written_a_part_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BYTES", 3 * 16)
    lazy = Lazy(10)
    write(tmp_path / "x.npy", lazy, spec_of(float_model()))
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
