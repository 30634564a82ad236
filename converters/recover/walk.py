"""Run a .tflite file over many samples piece by piece, so that what comes next can still be changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...data.dataset import Array
from ...flatbuffer import read_model
from ...flatbuffer.specs import input_specs
from ..outputs import Samples, interpreter_of, stored_values
from ..piece import piece
from ..rewrite import unpacked

Values = list[Array]


class Walk:
    """A file on its way through the samples: all of them have passed the operators before `position`.

    Only values that operators still to come read are kept, in the file's own integers.

    Attributes:
        tree: The unpacked file; operators that were not passed yet may be changed in it.
        position: The first operator that was not passed.
    """

    def __init__(self, content: bytes, groups: Sequence[Samples]) -> None:
        """Begin at the inputs.

        Args:
            content: The file: one subgraph, without variables and control flow.
            groups: Samples by input name, in real values, as many in each group as the file takes at a time.
        """
        self.tree = unpacked(content)
        self.position = 0
        graph = self.tree.subgraphs[0]
        self._groups = len(groups)
        self._last_use: dict[int, int] = {}
        for index, operator in enumerate(graph.operators):
            self._last_use |= {int(tensor): index for tensor in operator.inputs}
        self._values: dict[int, Values] = {}
        for spec in input_specs(read_model(content)):
            self._values[spec.index] = [stored_values(group[spec.name], spec) for group in groups]

    def forward(self, position: int) -> None:
        """Take all samples past the operators before `position`."""
        graph = self.tree.subgraphs[0]
        operators = graph.operators[self.position : position]
        self.position = max(position, self.position)
        if not operators:
            return
        made = {int(tensor) for operator in operators for tensor in operator.outputs}
        read = {int(tensor) for operator in operators for tensor in operator.inputs if tensor >= 0}
        given = sorted(read & self._values.keys())
        wanted = sorted(tensor for tensor in made if self._last_use.get(tensor, -1) >= position)
        if wanted:
            self._run(operators, given, wanted)
        self._values = {
            tensor: kept for tensor, kept in self._values.items() if self._last_use.get(tensor, -1) >= position
        }

    def values(self, tensor: int) -> Values:
        """Return what the samples give at a tensor that the next operator reads, group by group."""
        return self._values[tensor]

    def _run(self, operators: Sequence[Any], given: Sequence[int], wanted: Sequence[int]) -> None:
        interpreter = interpreter_of(piece(self.tree, operators, given, wanted))
        ins, outs = interpreter.get_input_details(), interpreter.get_output_details()
        found: dict[int, Values] = {tensor: [] for tensor in wanted}
        for group in range(self._groups):
            for detail, tensor in zip(ins, given, strict=True):
                interpreter.set_tensor(detail["index"], self._values[tensor][group])
            interpreter.invoke()
            for detail, tensor in zip(outs, wanted, strict=True):
                found[tensor].append(interpreter.get_tensor(detail["index"]))
        self._values |= found
