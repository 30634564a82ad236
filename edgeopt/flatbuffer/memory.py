"""Peak activation memory: which tensors must exist at the same time, by liveness over the execution order.

A tensor that is computed is live from the operator that writes it to the last one that reads it; inputs are live from
the start, outputs to the end, variables (the state of streaming models) always. Constants stay in the file and do not
count; nor do scratch buffers of kernels, which the file does not state. A subgraph run by WHILE, IF or CALL adds its
own peak on top of what is live around it.

`MemoryUse.arena_bytes` is what an arena needs that places these tensors at fixed offsets, biggest first: the greedy
planner by size of Pisarchyk and Lee, "Efficient memory management for deep neural net inference" (2020), which is the
one that TFLite uses, with its alignment of 64 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .calls import called_first, callees
from .model import ABSENT, Model, Operator, Subgraph, Tensor
from .totals import expanded_constants

ALIGNMENT = 64
# The planner compares each tensor with all those placed before it; past this it would take minutes.
_MOST_PLANNED = 5_000


@dataclass(frozen=True)
class LiveTensor:
    """A tensor that is live at the peak."""

    name: str
    nbytes: int


@dataclass(frozen=True)
class MemoryUse:
    """Activation memory of the main subgraph, in bytes.

    Attributes:
        peak_bytes: Largest sum of live tensors; no schedule in this order needs less.
        peak_operator: Index of the operator at which it is reached; None in a graph without operators.
        live: The tensors live there, biggest first.
        called_bytes: The part of the peak that belongs to subgraphs the operator there runs.
        arena_bytes: What one arena with fixed offsets needs; None for graphs too large to plan.
        sum_bytes: All activations of the main subgraph side by side, without any reuse.
        variable_bytes: The part that keeps its value between invocations.
        expanded_weight_bytes: On top of all these: weights that lie in the file as float16, packed or sparse, and that
            DEQUANTIZE or DENSIFY expand in memory at load.
    """

    peak_bytes: int
    peak_operator: int | None
    live: tuple[LiveTensor, ...]
    called_bytes: int
    arena_bytes: int | None
    sum_bytes: int
    variable_bytes: int
    expanded_weight_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return {**vars(self), "live": [vars(tensor) for tensor in self.live]}


class _Lifetime(NamedTuple):
    """A block of memory that is live from step `first` to step `last`, both included."""

    name: str
    nbytes: int
    first: int
    last: int
    variable: bool = False


def memory_use(model: Model) -> MemoryUse:
    """Return the activation memory of `model`; dynamic dimensions count as 1."""
    peaks: dict[int, int] = {}
    graphs = called_first(model)
    *others, main = graphs
    for graph in others:
        peaks[graph.index], _ = _peak(_lifetimes(graph), _called_bytes(graph, peaks))
    lifetimes, called = _lifetimes(main), _called_bytes(main, peaks)
    peak, step = _peak(lifetimes, called)
    live = [LiveTensor(life.name, life.nbytes) for life in lifetimes if life.first <= step <= life.last]
    arena = _arena_bytes(lifetimes)
    return MemoryUse(
        peak_bytes=peak,
        peak_operator=step if main.operators else None,
        live=tuple(sorted(live, key=lambda tensor: -tensor.nbytes)),
        called_bytes=called[step],
        arena_bytes=None if arena is None else arena + max(called),
        sum_bytes=sum(life.nbytes for life in lifetimes),
        variable_bytes=sum(life.nbytes for life in lifetimes if life.variable),
        expanded_weight_bytes=sum(graph.tensors[i].nbytes for graph in graphs for i in expanded_constants(graph)),
    )


def _called_bytes(graph: Subgraph, peaks: dict[int, int]) -> list[int]:
    """Return what the subgraphs run at each step need at their own peak; one step of 0 for a graph without any."""
    return [max((peaks.get(i, 0) for i in callees(op)), default=0) for op in graph.operators] or [0]


def _lifetimes(graph: Subgraph) -> list[_Lifetime]:
    """Return the lifetime of every activation with a size, and of the variables behind resource handles."""
    end = max(len(graph.operators) - 1, 0)
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    for operator in graph.operators:
        for index in (*operator.outputs, *operator.intermediates):
            first.setdefault(index, operator.index)
        for index in (*operator.inputs, *operator.outputs, *operator.intermediates):
            last[index] = operator.index
    last.update(dict.fromkeys(graph.outputs, end))
    found = []
    for index in sorted(last.keys() - expanded_constants(graph) - {ABSENT}):
        tensor = graph.tensors[index]
        if tensor.is_constant or not tensor.nbytes:
            continue
        always = tensor.is_variable
        start, stop = (0, end) if always else (first.get(index, 0), last[index])
        found.append(_Lifetime(tensor.name, tensor.nbytes, start, stop, always))
    return found + [_Lifetime(name, size, 0, end, True) for name, size in _resources(graph).items()]


def _resources(graph: Subgraph) -> dict[str, int]:
    """Return the bytes of each resource variable (VAR_HANDLE), taken from the values read from and assigned to it."""
    handles = {
        operator.outputs[0]: f"variable {operator.options.get('shared_name') or operator.index}"
        for operator in graph.operators
        if operator.name == "VAR_HANDLE" and operator.outputs
    }
    sizes = dict.fromkeys(handles.values(), 0)
    for operator in graph.operators:
        name = handles.get(operator.inputs[0]) if operator.inputs else None
        value = _variable_value(graph, operator)
        if name is not None and value is not None:
            sizes[name] = max(sizes[name], value.nbytes)
    return {name: size for name, size in sizes.items() if size}


def _variable_value(graph: Subgraph, operator: Operator) -> Tensor | None:
    if operator.name == "READ_VARIABLE" and operator.outputs:
        return graph.tensors[operator.outputs[0]]
    if operator.name == "ASSIGN_VARIABLE" and len(operator.inputs) > 1 and operator.inputs[1] >= 0:
        return graph.tensors[operator.inputs[1]]
    return None


def _peak(lifetimes: list[_Lifetime], called: list[int]) -> tuple[int, int]:
    """Return the most that live bytes and a called subgraph's peak add up to, and the first step where they do."""
    changes = [0] * (len(called) + 1)
    for life in lifetimes:
        changes[life.first] += life.nbytes
        changes[life.last + 1] -= life.nbytes
    best, best_step, live = -1, 0, 0
    for step, inner in enumerate(called):
        live += changes[step]
        if live + inner > best:
            best, best_step = live + inner, step
    return best, best_step


def _arena_bytes(lifetimes: list[_Lifetime]) -> int | None:
    """Return the size of the arena when each block, biggest first, takes the lowest gap that fits while it lives."""
    if len(lifetimes) > _MOST_PLANNED or sum(life.nbytes for life in lifetimes) >= 2**62:
        return None
    order = sorted(lifetimes, key=lambda life: (-life.nbytes, life.first))
    spans = np.array([(life.first, life.last) for life in order], np.int64).reshape(-1, 2)
    starts, ends = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    for position, life in enumerate(order):
        size = -(-life.nbytes // ALIGNMENT) * ALIGNMENT
        together = (spans[:position, 0] <= life.last) & (spans[:position, 1] >= life.first)
        starts[position] = _lowest_gap(starts[:position][together], ends[:position][together], size)
        ends[position] = starts[position] + size
    return int(ends.max(initial=0))


def _lowest_gap(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], size: int) -> int:
    """Return the lowest offset with `size` free bytes between the blocks [starts, ends)."""
    order = np.argsort(starts, kind="stable")
    free_from = np.concatenate(([0], np.maximum.accumulate(ends[order])))
    fits = np.flatnonzero(starts[order] - free_from[:-1] >= size)
    return int(free_from[fits[0]] if fits.size else free_from[-1])
