"""Cutting a file into parts: where, what each reads and writes, and that nothing is lost."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from edgeopt.converters.cutting import cut
from edgeopt.errors import ModelError, UsageError
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.macs import macs, operator_macs
from edgeopt.flatbuffer.specs import input_specs, output_specs

from ..flatbuffer.conftest import FileBuilder


def ladder_model() -> bytes:
    """a = -x, b = max(a, 0), c = -b, d = a + c; outputs d and b under other names: a goes past two operators."""
    file = FileBuilder()
    x, a, b, c, d = (file.tensor([1, 4], "float32", name=f"{name}:0") for name in "xabcd")
    file.operator("NEG", [x], [a], options="NegOptions")
    file.operator("RELU", [a], [b])
    file.operator("NEG", [b], [c], options="NegOptions")
    file.operator("ADD", [a, c], [d], options="AddOptions")
    file.signature("serving_default", {"image": x}, {"sum": d, "early": b})
    return file.build([x], [d, b])


def ends(part):
    model = read_model(part.model)
    return [[(spec.name, spec.tensor_name) for spec in side(model)] for side in (input_specs, output_specs)]


def test_a_tensor_that_later_parts_read_is_handed_over_and_the_models_own_names_stay():
    first, second, third = cut(ladder_model(), at=["b:0", "c:0"])
    assert [part.operators for part in (first, second, third)] == [(0, 2), (2, 3), (3, 4)]
    assert ends(first) == [[("image", "x:0")], [("a:0", "a:0"), ("early", "b:0")]]
    assert ends(second) == [[("early", "b:0")], [("c:0", "c:0")]]
    assert ends(third) == [[("a:0", "a:0"), ("c:0", "c:0")], [("sum", "d:0")]]


def test_what_goes_past_a_part_counts_as_handed_over():
    first, second, third = cut(ladder_model(), at=["b:0", "c:0"])
    assert first.handed_over_bytes == 2 * 16  # a, and b, which is an output of the model, too
    assert second.handed_over_bytes == 3 * 16  # a and b pass, c is new
    assert third.handed_over_bytes == 0


def test_parts_of_a_real_model_share_its_work_as_well_as_any_cut_can(shared_data):
    data = (shared_data / "cifar10" / "mlperf_resnet8_int8.tflite").read_bytes()
    model, parts = read_model(data), cut(data, 3)
    assert sum(part.macs for part in parts) == macs(model)
    costs = [
        (operator_macs(model.main, operator) or 0) + sum(model.main.tensors[t].elements for t in operator.outputs)
        for operator in model.main.operators
    ]
    places = range(1, len(costs))
    best = min(
        max(sum(costs[:a]), sum(costs[a:b]), sum(costs[b:])) for a, b in combinations(places, 2)
    )  # over every cut, those included that edgeopt may not make
    assert max(sum(costs[slice(*part.operators)]) for part in parts) <= 1.02 * best


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"parts": 1}, "parts is 1; expected at least 2"),
        ({"at": ["b:1"]}, "No operator writes a tensor 'b:1'"),
        ({"at": ["d:0"]}, "cannot be cut behind 'd:0'"),
    ],
)
def test_a_cut_that_is_none_is_bad_usage(asked, message):
    with pytest.raises(UsageError, match=message):
        cut(ladder_model(), **asked)


def test_more_parts_than_places_are_refused_with_the_number_that_can_be():
    with pytest.raises(ModelError, match="cannot be cut into 5 parts, but into 4 at most"):
        cut(ladder_model(), 5)


def test_a_state_is_never_cut_off_from_its_operator():
    file = FileBuilder()
    x, y, z = (file.tensor([1, 3, 1], "float32", name=name) for name in "xyz")
    one = np.ones((1, 1), np.float32)
    weights, recurrent = file.tensor([1, 1], "float32", data=one), file.tensor([1, 1], "float32", data=one)
    bias = file.tensor([1], "float32", data=np.zeros(1, np.float32))
    state = file.tensor([1, 1], "float32", name="state", isVariable=True)
    file.operator(
        "UNIDIRECTIONAL_SEQUENCE_RNN", [x, weights, recurrent, bias, state], [y], options="SequenceRNNOptions"
    )
    file.operator("RELU", [y], [z])
    first, second = cut(file.build([x], [z]), 2)
    assert [tensor.name for tensor in read_model(first.model).main.tensors if tensor.is_variable] == ["state"]
    assert ends(second) == [[("y", "y")], [("z", "z")]]


def test_variables_that_operators_share_are_refused():
    file = FileBuilder()
    x, y = file.tensor([1, 4], "float32", name="x"), file.tensor([1, 4], "float32", name="y")
    handle = file.tensor([], "resource", name="h")
    file.operator("VAR_HANDLE", [], [handle], options="VarHandleOptions")
    file.operator("RELU", [x], [y])
    with pytest.raises(ModelError, match=r"keeps a state that operators share \(VAR_HANDLE\)"):
        cut(file.build([x], [y]), 2)
