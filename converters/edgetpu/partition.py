"""Which of the operators that a delegate could run end up in its one part of the graph.

TensorFlow Lite cuts a graph into node subsets that are run one after the other, each by the delegate or by the CPU
(``PartitionGraphIntoIndependentNodeSubsets`` in ``tensorflow/lite/graph_info.cc``): a subset takes on, in execution
order and until nothing changes, every node of its kind whose inputs are there. The Edge TPU compiler is such a
delegate and keeps the first of its subsets only: "More than one subgraph is not supported".
"""

from __future__ import annotations

from collections.abc import Collection

from ...flatbuffer import Subgraph


def node_subsets(graph: Subgraph, supported: Collection[int]) -> list[tuple[bool, list[int]]]:
    """Return the subsets in the order in which they run: (run by the delegate, operator indices).

    Args:
        graph: The graph.
        supported: Indices of the operators that the delegate could run.
    """
    waiting = list(graph.operators)
    missing = {index for operator in graph.operators for index in operator.outputs}
    subsets: list[tuple[bool, list[int]]] = []
    while waiting:
        kind: bool | None = None
        taken: list[int] = []
        while True:
            left = []
            for operator in waiting:
                ready = not any(index in missing for index in operator.inputs)
                mine = operator.index in supported
                if ready and kind in (None, mine):
                    kind = mine
                    taken.append(operator.index)
                    missing.difference_update(operator.outputs)
                else:
                    left.append(operator)
            progressed, waiting = len(left) < len(waiting), left
            if not progressed:
                break
        if kind is None:  # a cycle, which no valid file has
            subsets.append((False, [operator.index for operator in waiting]))
            break
        subsets.append((kind, taken))
    return subsets


def delegated(graph: Subgraph, supported: Collection[int]) -> set[int]:
    """Return the operators of the first subset that the delegate runs."""
    return next((set(nodes) for kind, nodes in node_subsets(graph, supported) if kind), set())


def waits_for(graph: Subgraph, blocked: Collection[int]) -> dict[int, int]:
    """Return for each operator that depends on a `blocked` one the first such operator in execution order."""
    cause: dict[int, int] = {}
    of_tensor: dict[int, int] = {}
    for operator in graph.operators:
        before = [of_tensor[index] for index in operator.inputs if index in of_tensor]
        if before:
            cause[operator.index] = min(before)
        blame = min([*before, operator.index]) if operator.index in blocked else min(before, default=None)
        if blame is not None:
            of_tensor.update(dict.fromkeys(operator.outputs, blame))
    return cause
