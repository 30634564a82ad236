"""Change a float .tflite file: operators come and go, tensors are only added, so that their indices stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from ...data.dataset import Array
from ...flatbuffer import read_model
from ...flatbuffer.model import Operator, Subgraph
from ..rewrite import packed, unpacked

AFFINE = frozenset({"ADD", "SUB", "MUL", "DIV"})


class Editor:
    """A float file of one subgraph while it is changed.

    Attributes:
        graph: The graph as it was.
        makers: Tensor index -> the operator that computes it.
        users: Tensor index -> the operators that take it.
        dropped: Positions of the operators that are taken out.
    """

    def __init__(self, content: bytes) -> None:
        """Read the file."""
        self.graph: Subgraph = read_model(content).main
        self.makers = {index: operator for operator in self.graph.operators for index in operator.outputs}
        self.users: dict[int, list[Operator]] = {}
        for operator in self.graph.operators:
            for index in dict.fromkeys(operator.inputs):
                self.users.setdefault(index, []).append(operator)
        self._tree = unpacked(content)
        self._made = self._tree.subgraphs[0]
        self._originals: list[Any] = list(self._made.operators)
        self._added: dict[int, list[Any]] = {}
        self.dropped: set[int] = set()

    def only_user(self, index: int) -> Operator | None:
        """Return the one operator that takes a tensor; None where there are others, or the model gives it."""
        users = self.users.get(index, [])
        return users[0] if len(users) == 1 and index not in self.graph.outputs else None

    def value(self, index: int) -> Array | None:
        """Return the value of a float constant; None for any other tensor."""
        values = None if index < 0 else self.graph.tensors[index].data()
        return values if values is not None and values.dtype == np.float32 else None

    def constant(self, values: Array | np.generic, name: str) -> int:
        """Add a constant and return its index."""
        from ai_edge_litert import schema_py_generated as schema

        self._tree.buffers.append(schema.BufferT())
        self._tree.buffers[-1].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        return self._tensor(values.shape, name, len(self._tree.buffers) - 1, str(values.dtype))

    def add(
        self,
        place: Operator,
        name: str,
        inputs: Sequence[int],
        result: tuple[Sequence[int], str] | int,
        **options: object,
    ) -> int:
        """Add an operator in front of where `place` stood; return the index of what it gives.

        Args:
            place: An operator of the file as it was.
            name: Of the operator, such as ``MUL``.
            inputs: Indices of tensors.
            result: Shape and name of a new float tensor, or the index of one whose maker is dropped.
            options: By the schema's names.
        """
        from ai_edge_litert import schema_py_generated as schema

        made = schema.OperatorT()
        made.opcodeIndex = self._code(getattr(schema.BuiltinOperator, name))
        made.inputs = np.array(inputs, np.int32)
        made.builtinOptionsType = getattr(schema.BuiltinOptions, _OPTIONS[name])
        made.builtinOptions = getattr(schema, f"{_OPTIONS[name]}T")()
        for key, value in options.items():
            setattr(made.builtinOptions, key, value)
        return self._put(place, made, result)

    def copy(
        self,
        place: Operator,
        inputs: Sequence[int],
        result: tuple[Sequence[int], str] | int,
        like: Operator | None = None,
    ) -> int:
        """Add an operator with the options of another (of `place` by default); as `add`."""
        made = copy(self._originals[(like or place).index])
        made.inputs = np.array(inputs, np.int32)
        return self._put(place, made, result)

    def reshape(self, place: Operator, index: int, result: tuple[Sequence[int], str]) -> int:
        """Add a RESHAPE; as `add`."""
        shape = self.constant(np.array(result[0], np.int32), result[1])
        return self.add(place, "RESHAPE", [index, shape], result, newShape=np.array(result[0], np.int32))

    def transpose(self, place: Operator, index: int, order: Sequence[int], result: tuple[Sequence[int], str]) -> int:
        """Add a TRANSPOSE, or none where `order` is that of the axes; as `add`."""
        if tuple(order) == tuple(range(len(order))):
            return index
        return self.add(place, "TRANSPOSE", [index, self.constant(np.array(order, np.int32), result[1])], result)

    def bound(self, index: int, reach: float) -> None:
        """Let the range of an added tensor be from ``-reach`` to `reach`, whatever the samples show."""
        from ai_edge_litert import schema_py_generated as schema

        held = self._made.tensors[index].quantization = schema.QuantizationParametersT()
        held.min, held.max = np.array([-reach], np.float32), np.array([reach], np.float32)

    def drop(self, operator: Operator) -> None:
        """Take an operator out; what it gave is given by another, or wanted by none."""
        self.dropped.add(operator.index)

    def content(self) -> bytes:
        """Return the changed file, without the operators whose results nobody wants any more."""
        operators = []
        for index, original in enumerate(self._originals):
            operators += self._added.get(index, [])
            operators += [] if index in self.dropped else [original]
        self._made.operators = self._wanted(operators)
        self._drop_codes()
        return packed(self._tree)

    def _wanted(self, operators: list[Any]) -> list[Any]:
        """Leave out what nobody takes now, though somebody did before."""
        before = Counter(index for operator in self._originals for index in operator.inputs)
        while True:
            taken = {int(index) for operator in operators for index in operator.inputs} | {*self.graph.outputs}
            kept = [
                operator
                for operator in operators
                if any(int(index) in taken or not before[int(index)] for index in operator.outputs)
            ]
            if len(kept) == len(operators):
                return kept
            operators = kept

    def _drop_codes(self) -> None:
        """Leave out the operator codes that no operator has: TensorFlow's calibrator would want a kernel for each."""
        used = sorted({operator.opcodeIndex for operator in self._made.operators})
        self._tree.operatorCodes = [self._tree.operatorCodes[place] for place in used]
        for operator in {id(operator): operator for operator in self._made.operators}.values():
            operator.opcodeIndex = used.index(operator.opcodeIndex)

    def _put(self, place: Operator, made: Any, result: tuple[Sequence[int], str] | int) -> int:
        index = result if isinstance(result, int) else self._tensor(*result, 0, "float32")
        made.outputs = np.array([index], np.int32)
        self._added.setdefault(place.index, []).append(made)
        return index

    def _tensor(self, shape: Sequence[int], name: str, buffer: int, dtype: str) -> int:
        from ai_edge_litert import schema_py_generated as schema

        made = schema.TensorT()
        made.shape = np.array(shape, np.int32)
        made.type = getattr(schema.TensorType, dtype.upper())
        made.hasRank, made.buffer, made.name = True, buffer, f"{name}/{len(self._made.tensors)}"
        self._made.tensors.append(made)
        return len(self._made.tensors) - 1

    def _code(self, builtin: int) -> int:
        from ai_edge_litert import schema_py_generated as schema

        for place, code in enumerate(self._tree.operatorCodes):
            if code.builtinCode == builtin:
                return place
        added = schema.OperatorCodeT()
        added.builtinCode = added.deprecatedBuiltinCode = builtin
        added.version = 1
        self._tree.operatorCodes.append(added)
        return len(self._tree.operatorCodes) - 1


_OPTIONS = {
    "ABS": "AbsOptions",
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "EXP": "ExpOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "RESHAPE": "ReshapeOptions",
    "SELECT_V2": "SelectV2Options",
    "SLICE": "SliceOptions",
    "TRANSPOSE": "TransposeOptions",
}


def without_orphans(content: bytes) -> bytes:
    """Return a float file of one subgraph without the tensors that no operator takes or gives any more."""
    tree = unpacked(content)
    graph = tree.subgraphs[0]
    used = {int(index) for operator in graph.operators for index in (*operator.inputs, *operator.outputs) if index >= 0}
    kept = sorted(used | {int(index) for index in (*graph.inputs, *graph.outputs)})
    place = {-1: -1, **{index: new for new, index in enumerate(kept)}}

    def moved(indices: Sequence[int]) -> Any:
        return np.array([place[int(index)] for index in indices], np.int32)

    graph.tensors = [graph.tensors[index] for index in kept]
    for holder in (*graph.operators, graph):
        holder.inputs, holder.outputs = moved(holder.inputs), moved(holder.outputs)
    for signature in tree.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = place[int(entry.tensorIndex)]
    return packed(tree)
