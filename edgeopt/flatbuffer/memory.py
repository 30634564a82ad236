"""Peak activation memory: which tensors must exist at the same time, by liveness over the execution order.

A tensor that is computed is live from the operator that writes it to the last one that reads it; inputs are live from
the start, outputs to the end, variables (the state of streaming models) always. Constants stay in the file and do not
count; nor do scratch buffers of kernels, which the file does not state. A subgraph run by WHILE, IF or CALL adds its
own peak on top of what is live around it.

`MemoryUse.arena_bytes` is what the TFLite interpreter's arena comes to: fixed offsets cost some more (see `arena`), and
it keeps inputs to the end, so that they can be read back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from .arena import Block, arena_bytes
from .calls import called_first, callees
from .model import ABSENT, Model, Operator, Subgraph, Tensor
from .totals import expanded_constants


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
        arena_bytes: What the interpreter's arena needs, without scratch buffers; None for graphs too large to plan.
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

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {**vars(self), "live": [vars(tensor) for tensor in self.live]}


def memory_use(model: Model) -> MemoryUse:
    """Return the activation memory of `model`; dynamic dimensions count as 1."""
    peaks: dict[int, int] = {}
    graphs = called_first(model)
    *others, main = graphs
    for graph in others:
        peaks[graph.index], _ = _peak(_lifetimes(graph), _called_bytes(graph, peaks))
    lifetimes, called = _lifetimes(main), _called_bytes(main, peaks)
    peak, step = _peak(lifetimes, called)
    live = [LiveTensor(block.name, block.nbytes) for block in lifetimes if block.first <= step <= block.last]
    arena = arena_bytes(_lifetimes(main, keep_inputs=True), len(called))
    return MemoryUse(
        peak_bytes=peak,
        peak_operator=step if main.operators else None,
        live=tuple(sorted(live, key=lambda tensor: -tensor.nbytes)),
        called_bytes=called[step],
        arena_bytes=None if arena is None else arena + max(called),
        sum_bytes=sum(block.nbytes for block in lifetimes),
        variable_bytes=sum(block.nbytes for block in _variables(main)),
        expanded_weight_bytes=sum(graph.tensors[i].nbytes for graph in graphs for i in expanded_constants(graph)),
    )


def resident_bytes(model: Model) -> int:
    """Return what an interpreter of the file needs in memory, in bytes, scratch buffers of kernels apart.

    That is the file, which holds the weights and is not copied; the arena (the peak, where it cannot be planned); and
    weights that are expanded at load. Not among them: the runtime itself, and weights that XNNPACK packs anew.
    """
    use = memory_use(model)
    return (
        model.size_bytes + (use.peak_bytes if use.arena_bytes is None else use.arena_bytes) + use.expanded_weight_bytes
    )


def _called_bytes(graph: Subgraph, peaks: dict[int, int]) -> list[int]:
    """Return what the subgraphs run at each step need at their own peak; one step of 0 for a graph without any."""
    return [max((peaks.get(i, 0) for i in callees(op)), default=0) for op in graph.operators] or [0]


def _lifetimes(graph: Subgraph, keep_inputs: bool = False) -> list[Block]:
    """Return the lifetime of every activation with a size, and of the variables."""
    end = max(len(graph.operators) - 1, 0)
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    for operator in graph.operators:
        for index in (*operator.outputs, *operator.intermediates):
            first.setdefault(index, operator.index)
        for index in (*operator.inputs, *operator.outputs, *operator.intermediates):
            last[index] = operator.index
    last.update(dict.fromkeys((*graph.outputs, *(graph.inputs if keep_inputs else ())), end))
    computed = [graph.tensors[index] for index in sorted(last.keys() - expanded_constants(graph) - {ABSENT})]
    return _variables(graph) + [
        Block(tensor.name, tensor.nbytes, first.get(tensor.index, 0), last[tensor.index])
        for tensor in computed
        if tensor.nbytes and not tensor.is_constant and not tensor.is_variable
    ]


def _variables(graph: Subgraph) -> list[Block]:
    """Return variable tensors, and the variables behind resource handles; they live through the whole run."""
    end = max(len(graph.operators) - 1, 0)
    tensors = [Block(item.name, item.nbytes, 0, end) for item in graph.tensors if item.is_variable and item.nbytes]
    return tensors + [Block(name, size, 0, end) for name, size in _resources(graph).items()]


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


def live_bytes(graph: Subgraph) -> list[int]:
    """Return the bytes of the activations that exist at each operator of a graph, called subgraphs apart."""
    return _live(_lifetimes(graph), len(graph.operators))


def _live(blocks: list[Block], steps: int) -> list[int]:
    changes = [0] * (max(steps, 1) + 1)
    for block in blocks:
        changes[block.first] += block.nbytes
        changes[block.last + 1] -= block.nbytes
    return list(accumulate(changes[:-1]))


def _peak(blocks: list[Block], called: list[int]) -> tuple[int, int]:
    """Return the most that live bytes and a called subgraph's peak add up to, and the first step where they do."""
    sums = [live + inner for live, inner in zip(_live(blocks, len(called)), called, strict=True)]
    return max(sums), sums.index(max(sums))
