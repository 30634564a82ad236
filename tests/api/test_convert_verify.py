"""`edgeopt.api.convert_verify`: which floats of an integer file were asked for."""

from __future__ import annotations

from edgeopt.api.convert_verify import meant_floats, stray_float_ops
from edgeopt.flatbuffer import read_model
from edgeopt.recipes.convert import ConvertRecipe

from ..flatbuffer.conftest import FileBuilder

FLOAT_ENDS = ConvertRecipe(quantize="int8", input_type="float32", output_type="float32")


def strays(file, x, y, recipe=FLOAT_ENDS):
    return [operator.op for operator in stray_float_ops(read_model(file.build([x], [y])), recipe)]


def test_bridges_between_float_ends_and_the_integers_are_no_strays():
    file = FileBuilder()
    x, y = (file.tensor([4], "float32", name=name) for name in "xy")
    inner = file.tensor([4], scales=[0.5])
    file.operator("QUANTIZE", [x], [inner])
    file.operator("DEQUANTIZE", [inner], [y])
    assert strays(file, x, y) == []
    assert strays(file, x, y, ConvertRecipe(quantize="int8")) == ["QUANTIZE", "DEQUANTIZE"], "these were not asked for"


def test_a_bridge_that_touches_an_end_and_another_float_is_one():
    """Half floats that become the output were computed with, or stored, as floats."""
    file = FileBuilder()
    x, inner = file.tensor([4], "float32", name="x"), file.tensor([4], scales=[0.5])
    half, y = file.tensor([4], "float16", name="half", data=bytes(8)), file.tensor([4], "float32", name="y")
    file.operator("QUANTIZE", [x], [inner])
    file.operator("DEQUANTIZE", [half], [y])
    assert strays(file, x, y) == ["DEQUANTIZE"]


def test_what_computes_in_floats_is_one_between_the_ends_too():
    file = FileBuilder()
    x, y = (file.tensor([4], "float32", name=name) for name in "xy")
    file.operator("FLOOR", [x], [y])
    assert strays(file, x, y) == ["FLOOR"]


def test_what_stayed_float_on_request_is_none_with_the_bridges_around_it_and_all_else_is():
    file = FileBuilder()
    x, y = (file.tensor([4], scales=[0.5], name=name) for name in "xy")
    given, made, other = (file.tensor([4], "float32", name=name) for name in ("given", "model/a", "model/b"))
    file.operator("DEQUANTIZE", [x], [given])
    file.operator("FLOOR", [given], [made])
    file.operator("FLOOR", [made], [other])
    file.operator("QUANTIZE", [other], [y])
    model, recipe = read_model(file.build([x], [y])), ConvertRecipe(quantize="int8")

    def left(*kept):
        return [operator.op for operator in stray_float_ops(model, recipe, meant_floats(model, kept=kept))]

    assert left() == ["DEQUANTIZE", "FLOOR", "FLOOR", "QUANTIZE"]
    assert left("model/a") == ["FLOOR", "QUANTIZE"]
    assert left("model/a", "model/b") == []
    assert left("model/") == ["DEQUANTIZE", "FLOOR", "FLOOR", "QUANTIZE"]


def test_a_number_behind_the_name_is_the_quantisers():
    file = FileBuilder()
    x, y = (file.tensor([4], "float32", name=name) for name in ("x", "out:01"))
    file.operator("FLOOR", [x], [y])
    model = read_model(file.build([x], [y]))
    assert [operator.name for operator in meant_floats(model, kept=["out:0"])] == ["FLOOR"]
    assert meant_floats(model, kept=["out"]) == []
