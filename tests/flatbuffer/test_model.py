"""`edgeopt.flatbuffer.model`: what a tensor says of itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeopt.flatbuffer import Quantization, Tensor


def tensor(shape=(2, 3), dtype="int8", **fields):
    given = {"shape_signature": None, "buffer": 0, "is_variable": False, "quantization": None, "sparse": False}
    return Tensor(0, "t", dtype, shape, **{**given, **fields})


@pytest.mark.parametrize(
    ("shape", "dtype", "elements", "nbytes"),
    [
        ((2, 3), "int8", 6, 6),
        ((2, 3), "float32", 6, 24),
        ((), "int64", 1, 8),
        ((0, 5), "float32", 0, 0),
        ((-1, 5), "int16", 5, 10),
        ((3,), "int4", 3, 2),
        ((5,), "string", 5, 0),
    ],
)
def test_sizes(shape, dtype, elements, nbytes):
    found = tensor(shape, dtype)
    assert (found.elements, found.nbytes) == (elements, nbytes)


def test_the_signature_stands_for_the_shape_where_there_is_one():
    assert tensor((1, 3)).signature == (1, 3)
    assert tensor((1, 3), shape_signature=(-1, 3)).signature == (-1, 3)


def test_kinds_of_types():
    assert [tensor(dtype=kind).is_float for kind in ("float16", "bfloat16", "float32", "int8", "uint8", "string")] == [
        *[True] * 3,
        *[False] * 3,
    ]
    assert tensor(dtype="resource").is_handle
    assert not tensor().is_handle


def test_models_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'name'"):
        tensor().name = "other"


def test_one_scale_is_per_tensor_and_more_are_per_channel():
    scales = np.ones(3, np.float32)
    assert Quantization(scales, np.zeros(3, np.int64), 0).per_channel
    assert not Quantization(scales[:1], np.zeros(1, np.int64), 0).per_channel
