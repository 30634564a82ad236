"""What a compilation moved, on the real pairs."""

from __future__ import annotations

from collections import Counter

import pytest

from edgeopt.converters.edgetpu.diff import diff
from edgeopt.errors import UsageError
from edgeopt.flatbuffer import load_model


@pytest.fixture
def pair(shared_data):
    return lambda name, suffix="": load_model(shared_data / "coral" / f"{name}{suffix}.tflite")


DEEPLAB = "deeplabv3_mnv2_dm05_pascal_quant"


def test_moved_and_stayed_make_up_the_whole(pair):
    plain = pair(DEEPLAB)
    found = diff(plain, pair(DEEPLAB, "_edgetpu"))
    whole = Counter(operator.name for operator in plain.main.operators)
    assert Counter(found.moved) + Counter(found.stayed) == whole
    assert [index for index, _ in found.stayed_operators] == list(range(64, 72))
    assert [index for index, _ in found.moved_operators] == list(range(64))
    assert found.changed_ends == ()


@pytest.mark.parametrize("name", ["split_concat", "keras_lstm_mnist_ptq", "mobilenet_v1_0.25_128_quant"])
def test_a_fully_mapped_model_leaves_nothing(pair, name):
    found = diff(pair(name), pair(name, "_edgetpu"))
    assert (found.stayed, found.stayed_operators, found.changed_ends) == ({}, (), ())


def test_changed_ends_are_told(pair):
    found = diff(pair("mobilenet_v1_0.25_128_quant"), pair("mobilenet_v1_0.75_192_quant", "_edgetpu"))
    assert "input 'input': shape (1, 128, 128, 3) became (1, 192, 192, 3)" in found.changed_ends


@pytest.mark.parametrize(
    ("plain", "compiled", "message"),
    [
        (("split_concat", "_edgetpu"), ("split_concat", "_edgetpu"), "compiled for the Edge TPU already"),
        (("split_concat", ""), ("split_concat", ""), "holds no edgetpu-custom-op, expected a compiled one"),
        (("split_concat", ""), (DEEPLAB, "_edgetpu"), "holds 3 RESIZE_BILINEAR, but the plain one 0"),
    ],
)
def test_files_that_do_not_belong_together(pair, plain, compiled, message):
    with pytest.raises(UsageError, match=message):
        diff(pair(*plain), pair(*compiled))
