"""Which operators are at a model's edge."""

from __future__ import annotations

from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.edges import float_edge, input_edge, input_heads, output_edge, output_heads

from .conftest import FileBuilder


def chain(*names: str, inputs: str = "float32", reader: str = "FULLY_CONNECTED"):
    """An input, the named operators with a constant each, and `reader`; returns the file's model."""
    file = FileBuilder()
    last = first = file.tensor([1, 4], name="x", dtype=inputs)
    for index, name in enumerate((*names, reader)):
        constant = file.tensor([4], name=f"c{index}", data=b"\0" * 16)
        made = file.tensor([1, 4], name=f"t{index}", dtype=inputs)
        file.operator(name, [last, constant], [made])
        last = made
    return read_model(file.build([first], [last]))


def test_a_normalisation_is_an_input_edge():
    assert [operator.name for operator in input_edge(chain("SUB", "MUL"))] == ["SUB", "MUL"]


def test_nothing_but_affine_operators_of_float_is_an_edge():
    assert input_edge(chain()) == []
    assert input_edge(chain("TANH")) == []
    assert input_edge(chain("SUB", "MUL", inputs="int8")) == []
    assert [operator.name for operator in input_edge(chain("SUB", "TANH", "MUL"))] == ["SUB"]


def test_the_layer_that_takes_an_input_is_a_head_and_what_follows_it_is_not():
    assert [operator.index for operator in input_heads(chain("FULLY_CONNECTED"))] == [0]
    assert [operator.name for operator in float_edge(chain("RESHAPE"), "input")] == ["RESHAPE", "FULLY_CONNECTED"]
    assert input_heads(chain("TANH")) == input_heads(chain(inputs="int8")) == []


def joined(*after: str, join: str = "CONCATENATION", dtype: str = "float32"):
    file = FileBuilder()
    parts = [file.tensor([1, 2], name=f"p{index}", dtype=dtype) for index in range(2)]
    last = file.tensor([1, 4], name="joined", dtype=dtype)
    file.operator(join, parts, [last])
    for index, name in enumerate(after):
        made = file.tensor([4], name=f"t{index}", dtype=dtype)
        file.operator(name, [last], [made])
        last = made
    return read_model(file.build(parts, [last]))


def test_what_joins_an_output_is_its_edge_and_what_reshapes_it():
    assert [operator.name for operator in output_edge(joined())] == ["CONCATENATION"]
    assert [operator.name for operator in output_edge(joined("RESHAPE"))] == ["CONCATENATION", "RESHAPE"]


def test_other_ends_are_none():
    assert output_edge(joined("TANH")) == []
    assert output_edge(joined(join="ADD")) == []
    assert output_edge(joined(dtype="int8")) == []


def test_the_layer_that_gives_an_output_is_a_head_and_no_edge_of_itself():
    model = chain("TANH")
    assert output_edge(model) == []
    assert [operator.name for operator in output_heads(model)] == ["FULLY_CONNECTED"]
    assert [operator.name for operator in float_edge(model, "output")] == ["FULLY_CONNECTED"]
    assert output_heads(chain("TANH", reader="LOGISTIC")) == []
    assert output_heads(chain("TANH", inputs="int8")) == []
