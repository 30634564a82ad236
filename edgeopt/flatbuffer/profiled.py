"""Which layer an operator of a profile belongs to: the runtime's own, and those that a delegate has renamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .layer_names import paths_in
from .model import Model, Operator

# What XNNPACK makes of an operator with weights, one for one and in order; which of these depends on the shapes.
_WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_BY_XNNPACK = ("Convolution", "Fully Connected", "Deconvolution")
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
    operators = model.main.operators
    heavy = [operator for operator in operators if operator.name in _WITH_WEIGHTS]
    ran = [place for place, row in enumerate(rows) if row["op"].startswith((*_BY_XNNPACK, *_WITH_WEIGHTS))]
    owners = dict(zip(ran, heavy, strict=True)) if len(ran) == len(heavy) else {}
    for place, row in enumerate(rows):
        if row["by"] == "builtin" and 0 <= row["index"] < len(operators):
            owners[place] = operators[row["index"]]
    return [layer_of(model, owners[place]) if place in owners else None for place in range(len(rows))]


def layer_of(model: Model, operator: Operator) -> str | None:
    """Return the layer in the name of an operator's output, that of its kernel where several were fused."""
    if not operator.outputs:
        return None
    paths = paths_in(model.main.tensors[operator.outputs[0]].name)
    path = next((path for path in paths if path[-1].rstrip("0123456789") in _OF_THE_KERNEL), paths[0])
    return path[-2] if len(path) > 1 else path[0]
