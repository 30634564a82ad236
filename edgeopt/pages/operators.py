"""Where the time goes, by operator of the file and by layer of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..flatbuffer.layer_names import paths_in
from ..flatbuffer.model import Model, Operator
from .records import ProfiledOperator

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
_FUSED = ("Clamp",)  # what belongs to the operator before it
_WORK = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")  # each must be found, or nothing is told
_NOT_LAYERS = {"BiasAdd", "ReadVariableOp", "resource", "batchnorm"}
_MOST_LAYERS = 3


@dataclass(frozen=True)
class TimedOperator:
    """The time of an operator.

    Attributes:
        op: How the runtime calls it.
        ms: Milliseconds of an inference.
        share: Of the whole.
        index: Its position in the file; None where the runtime does not tell.
        layer: The layers that it computes; "" where that is not known.
    """

    op: str
    ms: float
    share: float
    index: int | None
    layer: str


def layer_words(name: str) -> str:
    """Return the layers that the name of a tensor speaks of, as words; of a fused operator it names several.

    Example:
        >>> layer_words("model/relu/Relu;model/conv/BiasAdd;model/conv/Conv2D")
        'relu, conv'
    """
    found: list[str] = []
    for path in paths_in(name):
        inner = path[1:-1] if len(path) > 2 else path[-1:]
        while len(inner) > 1 and inner[-1] in _NOT_LAYERS:
            inner = inner[:-1]
        if (layer := "/".join(inner)) and layer not in found:
            found.append(layer)
    more = len(found) - _MOST_LAYERS
    return ", ".join(found[:_MOST_LAYERS]) + (f" and {more} more" if more > 0 else "")


def timed_operators(model: Model | None, rows: Sequence[ProfiledOperator]) -> list[TimedOperator]:
    """Return the operators of a profile with the layers that they compute.

    The runtime gives an operator's place in the file only where it runs it itself. What it has handed to XNNPACK is in
    the file's order, so that names are matched in this order; where that leaves an operator with weights unmatched, no
    place is told.

    Args:
        model: The file; None where it is not there.
        rows: The profile, in the order of execution.
    """
    places = [None] * len(rows) if model is None else _places(model, rows)
    return [
        TimedOperator(row["op"], row["ms"], row["share"], place, "" if model is None else _layer(model, place))
        for row, place in zip(rows, places, strict=True)
    ]


def _layer(model: Model, place: int | None) -> str:
    if place is None:
        return ""
    operator = model.main.operators[place]
    return layer_words(model.main.tensors[operator.outputs[0]].name) if operator.outputs else ""


def _places(model: Model, rows: Sequence[ProfiledOperator]) -> list[int | None]:
    operators = model.main.operators
    found: list[int | None] = []
    at = 0
    for row in rows:
        if row["by"] == "builtin":
            place = row["index"] if 0 <= row["index"] < len(operators) else None
            at = at if place is None else place + 1
        elif row["op"].startswith(_FUSED):
            place = found[-1] if found else None
        else:
            place = _next(operators, at, row["op"])
            at = at if place is None else place + 1
        found.append(place)
    missing = {operator.index for operator in operators if operator.name in _WORK} - set(found)
    return [None] * len(rows) if missing else found


def _next(operators: Sequence[Operator], start: int, name: str) -> int | None:
    """Return the place of the next operator that a name of XNNPACK's may stand for."""
    kinds = _FAMILIES.get(name.partition(" (")[0], ())
    return next((place for place in range(start, len(operators)) if operators[place].name in kinds), None)
