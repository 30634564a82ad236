"""Do the parts of a pipeline fit? Hand-written parts with the package of a real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeopt.converters.edgetpu.segments import problems, read_segment
from edgeopt.flatbuffer import load_model, read_model


@pytest.fixture
def part(shared_data, graph):
    """Return a function that builds one part: part(name, inputs, outputs), each end as (name, shape, scale)."""
    options = load_model(shared_data / "coral" / "split_concat_edgetpu.tflite").main.operators[0].custom_options
    make = type(graph)

    def build(name: str, inputs: list[tuple[Any, ...]], outputs: list[tuple[Any, ...]], compiled: bool = True):
        made = make()
        read = [made.input(shape, name=tensor, scales=[scale]) for tensor, shape, scale in inputs]
        written = [made.tensor(shape, name=tensor, scales=[scale]) for tensor, shape, scale in outputs]
        if compiled:
            made.file.operator("edgetpu-custom-op", read, written, customOptions=np.frombuffer(options, np.uint8))
        else:
            made.file.operator("RELU", read, written)
        return read_segment(read_model(made.build(*written)), name)

    return build


X, H, Y = ("x", (1, 4), 0.5), ("h", (1, 8), 0.25), ("y", (1, 2), 0.125)


def names(count: int) -> list[str]:
    return [f"m_segment_{index}_of_{count}_edgetpu.tflite" for index in range(count)]


def test_parts_that_fit(part):
    first, second = (part(name, [a], [b]) for name, (a, b) in zip(names(2), ((X, H), (H, Y)), strict=True))
    assert problems([first, second]) == ()
    assert first.to_dict()["cached_bytes"] == 192


def test_a_missing_tensor_is_named_from_both_sides(part):
    first, second = part("a", [X], [H]), part("b", [("g", (1, 8), 0.25)], [Y])
    assert problems([first, second]) == ("b reads 'g', which a does not write", "a writes 'h', which b does not read")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (("h", (1, 9), 0.25), "'h': shape (1, 8) in a, (1, 9) in b"),
        (("h", (1, 8), 0.5), "'h': scale 0.25 in a, 0.5 in b"),
    ],
)
def test_a_difference_is_named(part, end, message):
    assert problems([part("a", [X], [H]), part("b", [end], [Y])]) == (message,)


def test_the_wrong_order_is_seen_by_the_names(part):
    second, first = part(names(2)[1], [H], [Y]), part(names(2)[0], [X], [H])
    found = problems([second, first])
    assert "m_segment_1_of_2_edgetpu.tflite is part 1 by its name, but stands at place 0" in found


def test_a_missing_part_is_seen_by_the_names(part):
    first, second = part(names(3)[0], [X], [H]), part(names(3)[1], [H], [Y])
    assert "m_segment_0_of_3_edgetpu.tflite is one of 3 parts by its name, but 2 are given" in problems([first, second])


def test_a_part_that_is_not_compiled_is_named(part):
    assert problems([part("a", [X], [H]), part("b", [H], [Y], compiled=False)]) == (
        "b is not compiled for the Edge TPU",
    )
