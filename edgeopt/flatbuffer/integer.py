"""Is an "int8" file int8? Float tensors and operators, dynamic dimensions, per-tensor or per-channel by counting."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Model, Operator, Subgraph, Tensor
from .totals import expanded_constants

# Where each operator keeps its weight matrices or filters (input positions).
_WEIGHTS = {
    "BATCH_MATMUL": (0, 1),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*range(1, 9), 16, *range(18, 26), 33),
    "CONV_2D": (1,),
    "CONV_3D": (1,),
    "CONV_3D_TRANSPOSE": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "EMBEDDING_LOOKUP": (1,),
    "FULLY_CONNECTED": (1,),
    "GATHER": (0,),
    "LSTM": (*range(1, 9), 16),
    "RNN": (1, 2),
    "SVDF": (1, 2),
    "TRANSPOSE_CONV": (1,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (*range(1, 9), 16),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
}


@dataclass(frozen=True)
class FloatOperator:
    """An operator that reads or writes float tensors.

    Attributes:
        subgraph: Index of its subgraph.
        index: Position in the execution order.
        op: Its name.
        tensors: Names of its float tensors.
    """

    subgraph: int
    index: int
    op: str
    tensors: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {"subgraph": self.subgraph, "index": self.index, "op": self.op, "tensors": list(self.tensors)}

    def __str__(self) -> str:
        """Return e.g. ``DEQUANTIZE (operator 4, tensors 'a', 'b')``."""
        return f"{self.op} (operator {self.index}, tensors {', '.join(map(repr, self.tensors))})"


@dataclass(frozen=True)
class DynamicTensor:
    """A tensor whose shape is not fixed in the file.

    Attributes:
        name: Its name.
        shape: Its shape with -1 for each dynamic dimension; None when not even the rank is fixed.
    """

    name: str
    shape: tuple[int, ...] | None

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {"name": self.name, "shape": None if self.shape is None else list(self.shape)}

    def __str__(self) -> str:
        """Return e.g. ``'x' (-1, 10)``."""
        return f"{self.name!r} {'of unknown rank' if self.shape is None else self.shape}"


def float_tensors(model: Model) -> list[str]:
    """Return the names of the float tensors, in file order.

    Tensors of zero elements do not count: the int8 LSTM kernels carry such float placeholders.
    """
    return [tensor.name for graph in model.subgraphs for tensor in graph.tensors if _counts_as_float(tensor)]


def float_ops(model: Model) -> list[FloatOperator]:
    """Return the operators that read or write float tensors (zero-element tensors aside), in execution order."""
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            touched = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
            names = tuple(dict.fromkeys(tensor.name for tensor in touched if _counts_as_float(tensor)))
            if names:
                found.append(FloatOperator(graph.index, operator.index, operator.name, names))
    return found


def dynamic_dimensions(model: Model) -> list[DynamicTensor]:
    """Return the tensors with a dynamic dimension, or of unknown rank, in file order."""
    # Files from before the `has_rank` field lack it everywhere: there an empty shape is a scalar.
    states_rank = any(tensor.has_rank for graph in model.subgraphs for tensor in graph.tensors)
    found = []
    for graph in model.subgraphs:
        scalars = _requantized_scalars(graph)
        for tensor in graph.tensors:
            shape = tensor.signature
            known = tensor.has_rank or tensor.is_constant or tensor.is_handle or tensor.index in scalars
            if any(size < 0 for size in shape):
                found.append(DynamicTensor(tensor.name, shape))
            elif states_rank and not shape and not known:
                found.append(DynamicTensor(tensor.name, None))
    return found


def _requantized_scalars(graph: Subgraph) -> set[int]:
    """Return the scalars that QUANTIZE makes from constants: TensorFlow's quantiser adds them without a rank."""
    return {
        output
        for operator in graph.operators
        if operator.name == "QUANTIZE" and any(i >= 0 and graph.tensors[i].is_constant for i in operator.inputs[:1])
        for output in operator.outputs
    }


def fully_int8(model: Model) -> bool:
    """Return whether no float tensor is left, and every quantised input and output has 8 bits.

    Inputs and outputs that are plain integers (the class indices of an ARG_MAX) are no hindrance.
    """
    graph = model.main
    ends = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    return not float_tensors(model) and all(
        tensor.dtype in ("int8", "uint8") for tensor in ends if tensor.quantization is not None
    )


def granularity(model: Model) -> dict[str, str]:
    """Return "per-tensor", "per-channel" or "mixed" for each kind of operator with quantised weights.

    Found by counting scales, because operator versions do not tell. A weight with one channel along its axis has one
    scale either way, and decides only where nothing else does.

    Example:
        >>> granularity(model)
        {'CONV_2D': 'per-channel', 'FULLY_CONNECTED': 'per-tensor'}
    """
    votes: dict[str, set[str]] = {}
    undecided: set[str] = set()
    for graph in model.subgraphs:
        expanded = expanded_constants(graph)
        for operator in graph.operators:
            for weight in _quantized_weights(graph, operator, expanded):
                vote = _vote(weight)
                if vote is None:
                    undecided.add(operator.name)
                else:
                    votes.setdefault(operator.name, set()).add(vote)
    decided = {name: found.pop() if len(found) == 1 else "mixed" for name, found in votes.items()}
    return dict(sorted({**dict.fromkeys(undecided, "per-tensor"), **decided}.items()))


def _quantized_weights(graph: Subgraph, operator: Operator, expanded: set[int]) -> list[Tensor]:
    """Return the constant, quantised weight tensors of `operator` (not its biases), sparse ones included."""
    given = [operator.inputs[i] for i in _WEIGHTS.get(operator.name, ()) if i < len(operator.inputs)]
    weights = [graph.tensors[index] for index in given if index >= 0]
    constants = [weight for weight in weights if weight.is_constant or weight.index in expanded]
    return [weight for weight in constants if weight.quantization is not None]


def _vote(weight: Tensor) -> str | None:
    quantization = weight.quantization
    if quantization is not None and quantization.per_channel:
        return "per-channel"
    axis = 0 if quantization is None else quantization.axis
    single = 0 <= axis < len(weight.shape) and weight.shape[axis] == 1
    return None if single else "per-tensor"


def _counts_as_float(tensor: Tensor) -> bool:
    return tensor.is_float and tensor.elements > 0
