"""Carry what a recovery found over to other files of the same float file, in which other operators are float."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...data.dataset import Array
from ...flatbuffer import read_model
from ...flatbuffer.model import Subgraph, Tensor
from ..rewrite import named_as, packed, unpacked
from ..trials import Trials
from .editing import put_constant, put_scales
from .ranges import BIAS
from .recovery import Recovered

_BETWEEN = ("QUANTIZE", "DEQUANTIZE")


def carried(made: bytes, recovered: bytes) -> bytes:
    """Return a file whose int8 operators have the ranges, weights and biases that they have in another one.

    Args:
        made: Of the float file that the recovery ended with.
        recovered: The int8 file that it ended with; results are called alike in both.
    """
    tree, graph, source = unpacked(made), read_model(made).main, read_model(recovered).main
    twins = _twins(graph, source)
    for index, twin in twins.items():
        put_scales(tree.subgraphs[0].tensors[index], _scales(twin))
    makers = {item.outputs[0]: item for item in source.operators if item.outputs}
    for operator in graph.operators:
        touched = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
        if operator.name not in BIAS or any(i not in twins and not graph.tensors[i].is_constant for i in touched):
            continue
        for place, index in enumerate(makers[twins[operator.outputs[0]].index].inputs):
            values = source.tensors[index].data() if index >= 0 else None
            if values is not None and source.tensors[index].quantization is not None:
                put_scales(put_constant(tree, operator.index, place, values), _scales(source.tensors[index]))
    return packed(tree)


def put_right(trials: Trials, found: Recovered) -> Trials:
    """Return the trials of a file that was put right, in which operators can be float, too."""
    file = named_as(found.model, trials.file)
    return replace(
        trials,
        annotated=named_as(found.calibrated, trials.annotated),
        quantise=lambda annotated, **changes: carried(trials.quantise(annotated, **changes), file),
        file=file,
    )


def _twins(graph: Subgraph, source: Subgraph) -> dict[int, Tensor]:
    """Return which tensor of the other file each int8 result is, whose name differs a little beside a float one."""
    known = {tensor.name: tensor for tensor in source.tensors if _computed(tensor)}
    beside: dict[int, str] = {}
    for operator in graph.operators:
        if operator.name in _BETWEEN:
            given, made = operator.inputs[0], operator.outputs[0]
            beside |= {given: graph.tensors[made].name, made: graph.tensors[given].name}
    found = {}
    for tensor in filter(_computed, graph.tensors):
        twin = known.get(tensor.name) or known.get(beside.get(tensor.index, ""))
        if twin is not None and twin.dtype == tensor.dtype:
            found[tensor.index] = twin
    return found


def _computed(tensor: Tensor) -> bool:
    return not tensor.is_constant and tensor.quantization is not None


def _scales(tensor: Tensor) -> Array:
    return np.zeros(0) if tensor.quantization is None else tensor.quantization.scales
