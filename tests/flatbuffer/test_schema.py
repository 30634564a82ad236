"""`edgeopt.flatbuffer.schema`: names of the schema's numbers."""

from __future__ import annotations

import pytest
from ai_edge_litert import schema_py_generated as generated

from edgeopt.flatbuffer import read_model, schema
from edgeopt.flatbuffer.storage import BITS


def test_numbers_have_the_schema_names():
    assert schema.dtype_name(9) == "int8"
    assert schema.operator_name(3) == "CONV_2D"
    assert schema.enum_name("Padding", 1) == "VALID"
    assert schema.operator_name(-5) == "unknown(-5)"


def test_every_fixed_size_type_of_the_schema_has_a_width():
    types = {name.lower() for name in vars(generated.TensorType) if not name.startswith("_")}
    # Newer schemas add types; a new one shows up here and wants its width in BITS.
    assert types - BITS.keys() == {"string", "resource", "variant"}


@pytest.mark.parametrize(
    ("operator", "options", "fields", "expected"),
    [
        (
            "CAST",
            "CastOptions",
            {"inDataType": 0, "outDataType": 9},
            {"in_data_type": "float32", "out_data_type": "int8"},
        ),
        ("MIRROR_PAD", "MirrorPadOptions", {"mode": 1}, {"mode": "SYMMETRIC"}),
        ("SQUEEZE", "SqueezeOptions", {"squeezeDims": [1, 2]}, {"squeeze_dims": (1, 2)}),
        ("VAR_HANDLE", "VarHandleOptions", {"sharedName": "v"}, {"container": None, "shared_name": "v"}),
        ("LEAKY_RELU", "LeakyReluOptions", {"alpha": 0.5}, {"alpha": 0.5}),
        ("BATCH_MATMUL", "BatchMatMulOptions", {"adjX": True}, {"adj_x": True, "adj_y": False}),
    ],
)
def test_options_are_names_numbers_and_tuples(file, operator, options, fields, expected):
    file.operator(operator, [], [], options=options, **fields)
    found = read_model(file.build()).main.operators[0].options
    assert {name: found[name] for name in expected} == expected


def test_every_builtin_options_class_can_be_read(file):
    kinds = [name for name in vars(generated.BuiltinOptions) if not name.startswith("_") and name != "NONE"]
    for kind in kinds:
        file.operator("ABS", [], [], options=kind)
    operators = read_model(file.build()).main.operators
    assert len(operators) == len(kinds) > 100
