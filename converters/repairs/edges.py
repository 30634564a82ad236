"""The few operators at a model's edge that may stay float, where one integer scale cannot hold what goes in or comes out.

Raw features of very different ranges in one input, normalised inside the model: the normalisation stays float behind a
float input, and what follows is int8. Boxes and scores joined in one output: the join stays float, in front of a float
output. Names, order, shapes and real values stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...flatbuffer.model import Model, Operator

_AFFINE = frozenset({"ADD", "SUB", "MUL", "DIV"})
_MOVING = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE"})
_JOINING = frozenset({"CONCATENATION", "PACK"})


@dataclass(frozen=True)
class Edge:
    """Operators at one end that stay float.

    Attributes:
        end: ``input`` or ``output``.
        tensors: Names of what they give, in execution order.
    """

    end: str
    tensors: tuple[str, ...]


def edges_of(model: Model) -> list[Edge]:
    """Return the operators at a float file's inputs, and at its outputs, that may stay float; what is not there is left out."""
    found = [Edge("input", tuple(_names(model, _behind_inputs(model)))), Edge("output", tuple(_names(model, _joins(model))))]
    return [edge for edge in found if edge.tensors]


def _behind_inputs(model: Model) -> Iterator[Operator]:
    """Additions of and multiplications with constants between an input and the first other operator."""
    reached = set(model.main.inputs)
    for operator in model.main.operators:
        computed = [index for index in operator.inputs if index >= 0 and not model.main.tensors[index].is_constant]
        affine = operator.name in _AFFINE and len(operator.inputs) == 2
        if len(computed) == 1 and computed[0] in reached and (affine or operator.name in _MOVING):
            reached.update(operator.outputs)
            if model.main.tensors[operator.outputs[0]].dtype == "float32":
                yield operator


def _joins(model: Model) -> Iterator[Operator]:
    """What joins parts into an output, and what only reshapes the joined output."""
    wanted = set(model.main.outputs)
    found = []
    for operator in reversed(model.main.operators):
        if wanted.isdisjoint(operator.outputs):
            continue
        if operator.name in _JOINING:
            found.append(operator)
        elif operator.name in _MOVING and operator.inputs[0] not in model.main.inputs:
            found.append(operator)
            wanted.add(operator.inputs[0])
    joins = [operator for operator in reversed(found)]
    return iter(joins if any(operator.name in _JOINING for operator in joins) else ())


def _names(model: Model, operators: Iterator[Operator]) -> list[str]:
    return [model.main.tensors[operator.outputs[0]].name for operator in operators]
