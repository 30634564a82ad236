"""`edgeopt.flatbuffer.tap`: every result of a file as an output, all else in its place."""

from __future__ import annotations

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeopt.errors import ModelError
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.tap import Tap, taps, with_taps


def test_the_results_come_in_their_order_without_those_that_cannot_be_compared(file):
    x, hidden, y = (file.tensor([4], name=name) for name in ("x", "hidden", "y"))
    state = file.tensor([4], name="state", isVariable=True)
    text, empty = file.tensor([4], "string", name="text"), file.tensor([0], name="empty")
    file.operator("SPLIT", [x], [hidden, state, text, empty])
    file.operator("ABS", [hidden], [y])
    assert taps(read_model(file.build([x], [y]))) == [Tap(0, "SPLIT", hidden, "hidden"), Tap(1, "ABS", y, "y")]


def test_a_tapped_file_is_the_file_with_other_outputs_and_without_signatures(small_file):
    before = read_model(small_file)
    for filled in range(4):  # the list is put at a multiple of four
        data, found = with_taps(small_file + bytes(filled))
        assert len(data) % 4 == 0 and data[: len(small_file)] != small_file
        after = read_model(data)
        assert after.main.outputs == tuple(tap.tensor for tap in found) == (3, 4, 7)
        assert (after.signatures, len(before.signatures)) == ((), 1)
        assert after.main.operators == before.main.operators and after.main.inputs == before.main.inputs
        assert [tensor.name for tensor in after.main.tensors] == [tensor.name for tensor in before.main.tensors]
        assert sum(a != b for a, b in zip(data, small_file, strict=False)) <= 8, "two numbers have changed"


def test_a_file_that_states_no_outputs_cannot_be_tapped(small_file):
    model = schema.ModelT.InitFromPackedBuf(small_file)
    model.subgraphs[0].outputs = None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ModelError, match=r"^The file states no outputs; compare the outputs of a file of which this"):
        with_taps(bytes(builder.Output()))
