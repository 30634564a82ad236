"""An operator with its tensors at hand, as the checks of the Edge TPU rules look at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...flatbuffer import Operator, Subgraph, Tensor
from ...flatbuffer.wire import MAX_RANK

EIGHT_BITS = ("int8", "uint8")
_MOST_INTEGERS = 2 * MAX_RANK  # paddings: two a dimension


@dataclass(frozen=True)
class OpContext:
    """One operator, its graph, the runtime version that the file is compiled for, and the bytes that are live there."""

    graph: Subgraph
    operator: Operator
    minimum_runtime: int = 14
    live_bytes: int = 0

    def input(self, position: int) -> Tensor | None:
        """Return an input, or None where there is none."""
        given = self.operator.inputs
        return self.graph.tensors[given[position]] if position < len(given) and given[position] >= 0 else None

    def output(self) -> Tensor | None:
        """Return the first output, or None where there is none."""
        return self.graph.tensors[self.operator.outputs[0]] if self.operator.outputs else None

    def activations(self) -> list[Tensor]:
        """Return the tensors that are computed and flow through: no constants, and no state of recurrent layers."""
        indices = (*self.operator.inputs, *self.operator.outputs)
        found = [self.graph.tensors[index] for index in indices if index >= 0]
        return [tensor for tensor in found if not tensor.is_constant and not tensor.is_variable]

    def shape(self, position: int = 0) -> tuple[int, ...]:
        """Return the shape of an input; () where there is none."""
        tensor = self.input(position)
        return () if tensor is None else tensor.shape

    def integers(self, position: int) -> tuple[int, ...] | None:
        """Return the values of a constant integer input; None where computed, absent, or more than axes can be."""
        tensor = self.input(position)
        values = None if tensor is None or tensor.elements > _MOST_INTEGERS else tensor.data()
        if values is None or not np.issubdtype(values.dtype, np.integer):
            return None
        return tuple(int(value) for value in values.reshape(-1))

    def axes(self, position: int, rank: int) -> tuple[int, ...]:
        """Return the constant axes in an input, counted from 0; () where they are not known."""
        given = self.integers(position) or ()
        return tuple(sorted({axis + rank if axis < 0 else axis for axis in given}))

    def option(self, name: str, default: object = None) -> object:
        """Return a builtin option."""
        return self.operator.options.get(name, default)

    def number(self, name: str, default: int = 0) -> int:
        """Return an integer option."""
        value = self.option(name, default)
        return value if isinstance(value, int) else default


def rows(tensor: Tensor) -> int:
    """Return how many vectors along the innermost dimension a tensor holds."""
    return math.prod(tensor.shape[:-1])


def text(shape: tuple[int, ...]) -> str:
    """Return a shape as ``33x33x256``, batch dimension of 1 left out."""
    inner = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return "x".join(map(str, inner)) or "scalar"
