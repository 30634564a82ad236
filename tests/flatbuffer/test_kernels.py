"""`edgeopt.flatbuffer.kernels`: the stored weights of a file, with zero as zero."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.kernels import file_kernels


def dense(file, values, dtype, **quantization):
    """Return the one kernel of a file that multiplies by `values`, (outputs, inputs)."""
    x, y = file.tensor([1, values.shape[1]], dtype, scales=[1]), file.tensor([1, len(values)], dtype, scales=[1])
    kernel = file.tensor(values.shape, dtype, name="dense/MatMul", data=values, **quantization)
    file.operator("FULLY_CONNECTED", [x, kernel, -1], [y], options="FullyConnectedOptions")
    (found,) = file_kernels(read_model(file.build([x], [y])))
    return found


def test_the_values_are_those_that_are_stored(file):
    values = np.array([[1, 0, -3], [127, -128, 0]], np.int8)
    found = dense(file, values, "int8", scales=[0.5])
    np.testing.assert_array_equal(found.parts, [values])
    assert (found.size, found.per_channel, found.unstored_zeros, found.channel_axes) == (6, False, 0, (0,))
    assert found.names[0] == "dense/MatMul" and "dense" in found.segments


def test_what_stands_for_zero_is_zero(file):
    """Unsigned files store zero as their zero point, and may do without a stored 0 at all."""
    values = np.array([[128, 0, 255], [100, 128, 128]], np.uint8)
    found = dense(file, values, "uint8", scales=[0.5], zero_points=[128])
    np.testing.assert_array_equal(found.parts, [[[0, -128, 127], [-28, 0, 0]]])


@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_has_a_zero_point_of_its_own(file, axis):
    values = np.array([[3, 5], [3, 5]], np.int8)
    found = dense(file, values, "int8", scales=[0.5, 0.5], zero_points=[3, 5], axis=axis)
    np.testing.assert_array_equal(found.parts, [[[0, 2], [-2, 0]] if axis == 0 else [[0, 0], [0, 0]]])
    assert found.per_channel
