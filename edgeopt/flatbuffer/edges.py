"""Operators at a model's edge: what may stay float where one integer scale cannot hold what goes in or comes out.

At an input, additions of and multiplications with constants (a normalisation of raw features) up to where integers
begin, or the fully connected layer into whose weights the converter has folded them; at an output, the joining of its
parts (boxes and scores), or the fully connected layer that gives values of different units side by side. No other
operator counts as an edge.
"""

from __future__ import annotations

from collections.abc import Callable

from .model import Model, Operator

_AFFINE = frozenset({"ADD", "SUB", "MUL", "DIV"})
_MOVING = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE"})
_JOINING = frozenset({"CONCATENATION", "PACK"})
_HEADS = frozenset({"FULLY_CONNECTED"})


def input_edge(model: Model) -> list[Operator]:
    """Return the float operators between the inputs and the first that is no addition or multiplication, in order."""
    return _first(model, _AFFINE)


def input_heads(model: Model) -> list[Operator]:
    """Return the float fully connected layers that take an input, or what is reshaped from one, in order."""
    return _first(model, _HEADS)


def _first(model: Model, kinds: frozenset[str]) -> list[Operator]:
    """Return the operators of some kinds that take a float input (or are behind such), and those that reshape it."""
    reached = {index for index in model.main.inputs if model.main.tensors[index].dtype == "float32"}
    found = []
    for operator in model.main.operators:
        computed = [index for index in operator.inputs if index >= 0 and not model.main.tensors[index].is_constant]
        if len(computed) == 1 and computed[0] in reached and operator.name in kinds | _MOVING:
            if operator.name not in _HEADS:
                reached.update(operator.outputs)
            found.append(operator)
    return found if any(operator.name in kinds for operator in found) else []


def output_edge(model: Model) -> list[Operator]:
    """Return the float operators that join parts into an output, or reshape what is joined, in order."""
    return _last(model, _JOINING)


def output_heads(model: Model) -> list[Operator]:
    """Return the float fully connected layers that give an output, or what is reshaped to one, in order."""
    return _last(model, _HEADS)


def _last(model: Model, kinds: frozenset[str]) -> list[Operator]:
    """Return the operators of some kinds that give a float output, and those that only reshape it, in order."""
    wanted = {index for index in model.main.outputs if model.main.tensors[index].dtype == "float32"}
    found: list[Operator] = []
    for operator in reversed(model.main.operators):
        if wanted.isdisjoint(operator.outputs) or operator.name not in kinds | _MOVING:
            continue
        found.insert(0, operator)
        if operator.name in _MOVING:
            wanted.add(operator.inputs[0])
    return found if any(operator.name in kinds for operator in found) else []


def float_edge(model: Model, end: str) -> list[Operator]:
    """Return the operators at an end (``input``, ``output``) of a file that are float there, in order."""
    first, heads = (input_edge, input_heads) if end == "input" else (output_edge, output_heads)
    edge = first(model)
    return [*edge, *(operator for operator in heads(model) if operator not in edge)]


# What may stay float at each end of any model; the heads of an output only where it loses channels, those of an input
# only where no addition or multiplication is in front of them.
EDGES: dict[str, Callable[[Model], list[Operator]]] = {"input": input_edge, "output": output_edge}
