"""`edgeopt.flatbuffer.storage`: how constants lie in a buffer."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import FileFormatError
from edgeopt.flatbuffer.storage import BITS, decode


def raw(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32"]
)
def test_fixed_size_types_are_views(dtype):
    values = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    stored = raw(values.tobytes())
    found = decode(stored, dtype, (2, 3))
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype
    assert np.shares_memory(found, stored)


def test_four_bit_values_come_low_nibble_first():
    # 0x2F holds -1 (0xF) and then 2; the odd value out leaves the last high nibble unused.
    np.testing.assert_array_equal(decode(raw(b"\x2f\x08"), "int4", (3,)), np.array([-1, 2, -8], np.int8))
    np.testing.assert_array_equal(decode(raw(b"\x2f\x08"), "uint4", (3,)), np.array([15, 2, 8], np.uint8))


def test_two_bit_values_come_lowest_first():
    # 0b11_10_01_00: 0, 1, -2, -1.
    np.testing.assert_array_equal(decode(raw(b"\xe4"), "int2", (4,)), np.array([0, 1, -2, -1], np.int8))


def test_bfloat16_is_the_upper_half_of_float32():
    values = np.array([1.0, -2.5, 0.0], np.float32)
    stored = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    found = decode(raw(stored), "bfloat16", (3,))
    np.testing.assert_array_equal(found, values)


def test_strings_are_read_from_their_offset_table():
    stored = np.array([2, 16, 19, 21], "<i4").tobytes() + b"onetw"
    assert list(decode(raw(stored), "string", (2,))) == [b"one", b"tw"]


@pytest.mark.parametrize("offsets", [[2, 16, 19, 99], [2, 16, 15, 19], [-1], [2**30, 0], [1, -4, 8]])
def test_a_broken_string_table_is_refused(offsets):
    with pytest.raises(FileFormatError, match=r"broken table of offsets.*get it again"):
        decode(raw(np.array(offsets, "<i4").tobytes() + b"onetw"), "string", (2,))


def test_a_buffer_that_is_too_short_is_refused():
    with pytest.raises(FileFormatError, match=r"int32 and shape \(3,\) has 8 bytes, expected 12"):
        decode(raw(bytes(8)), "int32", (3,))


def test_what_is_decoded_cannot_be_written():
    for dtype in ("int8", "int4", "bfloat16"):
        found = decode(raw(bytes(8)), dtype, (4,))
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 1


def test_types_without_a_fixed_size_are_left_alone():
    assert "resource" not in BITS
    assert decode(raw(bytes(8)), "resource", ()) is None


def test_an_open_dimension_holds_one_and_an_empty_one_none():
    assert decode(raw(b"\1\2\3"), "int8", (-1, 3)).shape == (1, 3)
    assert decode(raw(b""), "int8", (0, 3)).shape == (0, 3)


def test_a_table_of_one_empty_string_is_all_offsets():
    assert decode(raw(np.array([1, 12, 12], "<i4").tobytes()), "string", (1,)).tolist() == [b""]
    with pytest.raises(FileFormatError, match="broken table of offsets"):
        decode(raw(np.array([-1], "<i4").tobytes()), "string", (1,))
