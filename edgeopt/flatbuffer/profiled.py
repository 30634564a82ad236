"""Which layer an operator of a profile belongs to: the runtime's own, and those that a delegate has renamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .layer_names import paths_in
from .model import Model, Operator

# How XNNPACK calls what it runs -> the operators of TFLite that it may be.
_FAMILIES = {
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "Deconvolution": ("TRANSPOSE_CONV",),
    "Fully Connected": ("FULLY_CONNECTED", "CONV_2D"),
    "Add": ("ADD",),
    "Subtract": ("SUB",),
    "Multiply": ("MUL",),
    "Average Pooling": ("AVERAGE_POOL_2D",),
    "Global Average Pooling": ("MEAN", "AVERAGE_POOL_2D"),
    "Mean": ("MEAN",),
    "Max Pooling": ("MAX_POOL_2D",),
    "Softmax": ("SOFTMAX",),
    "Sigmoid": ("LOGISTIC",),
    "HardSwish": ("HARD_SWISH",),
    "Concatenate": ("CONCATENATION",),
    "Constant Pad": ("PAD",),
    "Resize Bilinear": ("RESIZE_BILINEAR",),
    "Tanh": ("TANH",),
    "Leaky ReLU": ("LEAKY_RELU",),
    "PReLU": ("PRELU",),
    "Batch Matrix Multiply": ("BATCH_MATMUL",),
    "Transpose": ("TRANSPOSE",),
}
_FUSED = "Clamp"  # the activation of the operator before it, where that has one
# Each of these must be found, or nothing is told of what XNNPACK runs.
_WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_OF_THE_KERNEL = ("BiasAdd", "MatMul")


def profiled_layers(model: Model, rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return the layer of each row of a profile; None where nothing tells which operator of the file it is.

    Args:
        model: The file that was profiled.
        rows: In the order in which they ran: ``op``, ``by`` ("builtin" or "delegate") and ``index``.

    Example:
        >>> profiled_layers(model, [{"op": "Convolution (NHWC, QC8) IGEMM", "by": "delegate", "index": 0}])
        ['conv2d']
    """
    found = profiled_operators(model, rows)
    return [None if operator is None else layer_of(model, operator) for operator in found]


def profiled_operators(model: Model, rows: Sequence[Mapping[str, Any]]) -> list[Operator | None]:
    """Return the operator of the file that each row of a profile is; None where nothing tells.

    The runtime gives an operator's place only where it runs it itself. What it has handed to XNNPACK runs in the file's
    order, so that names are matched in this order; where that leaves an operator with weights unmatched, no row of
    XNNPACK's is told.
    """
    operators = model.main.operators
    found: list[Operator | None] = []
    at = 0
    for row in rows:
        if row["by"] == "builtin":
            operator = operators[row["index"]] if 0 <= row["index"] < len(operators) else None
        elif row["op"].startswith(_FUSED):
            before = found[-1] if found else None
            active = before is not None and before.options.get("fused_activation_function", "NONE") != "NONE"
            operator = before if active else None
        else:
            operator = _next(operators[at:], row["op"])
        found.append(operator)
        at = at if operator is None else operator.index + 1
    known = {operator.index for operator in found if operator is not None}
    if all(operator.index in known for operator in operators if operator.name in _WITH_WEIGHTS):
        return found
    return [operator if row["by"] == "builtin" else None for operator, row in zip(found, rows, strict=True)]


def _next(operators: Sequence[Operator], name: str) -> Operator | None:
    """Return the next operator that a name of XNNPACK's may stand for."""
    kinds = _FAMILIES.get(name.partition(" (")[0], (name,))
    return next((operator for operator in operators if operator.name in kinds), None)


def layer_of(model: Model, operator: Operator) -> str | None:
    """Return the layer in the name of an operator's output, that of its kernel where several were fused."""
    if not operator.outputs:
        return None
    paths = paths_in(model.main.tensors[operator.outputs[0]].name)
    path = next((path for path in paths if path[-1].rstrip("0123456789") in _OF_THE_KERNEL), paths[0])
    return path[-2] if len(path) > 1 else path[0]
