"""Where the time goes, by operator of the file and by layer of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..devices.agent.records import Operator as ProfiledOperator
from ..flatbuffer.layer_names import paths_in
from ..flatbuffer.model import Model, Operator
from ..flatbuffer.profiled import profiled_operators

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
    """Return the operators of a profile with the layers that they compute, as far as these are known.

    Args:
        model: The file; None where it is not there.
        rows: The profile, in the order of execution.
    """
    if model is None:
        return [TimedOperator(row["op"], row["ms"], row["share"], None, "") for row in rows]
    found = profiled_operators(model, rows)
    return [
        TimedOperator(row["op"], row["ms"], row["share"], None if own is None else own.index, _layers(model, own))
        for row, own in zip(rows, found, strict=True)
    ]


def _layers(model: Model, operator: Operator | None) -> str:
    if operator is None or not operator.outputs:
        return ""
    return layer_words(model.main.tensors[operator.outputs[0]].name)
