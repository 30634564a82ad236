"""Which of the operators that a delegate could run end up in its one part of the graph.

TensorFlow Lite cuts a graph into node subsets that are run one after the other, each by the delegate or by the CPU
(``PartitionGraphIntoIndependentNodeSubsets`` in ``tensorflow/lite/graph_info.cc``): a subset takes on, in execution
order and until nothing changes, every node of its kind whose inputs are there. The Edge TPU compiler is such a
delegate and keeps the first of its subsets only: "More than one subgraph is not supported".
"""

from __future__ import annotations

import heapq
from collections.abc import Collection

from ...flatbuffer import Subgraph


def node_subsets(graph: Subgraph, supported: Collection[int]) -> list[tuple[bool, list[int]]]:
    """Return the subsets in the order in which they run: (run by the delegate, operator indices).

    Args:
        graph: The graph.
        supported: Indices of the operators that the delegate could run (a set or a dict, for speed).
    """
    readers, blockers = _wiring(graph)
    ready: dict[bool, list[int]] = {True: [], False: []}
    for operator in graph.operators:
        if not blockers[operator.index]:
            ready[operator.index in supported].append(operator.index)
    subsets: list[tuple[bool, list[int]]] = []
    while ready[True] or ready[False]:
        first = [heap[0] for heap in ready.values() if heap]
        kind = bool(ready[True]) and ready[True][0] == min(first)
        taken: list[int] = []
        while ready[kind]:
            index = heapq.heappop(ready[kind])
            taken.append(index)
            for reader in readers[index]:
                blockers[reader] -= 1
                if not blockers[reader]:
                    heapq.heappush(ready[reader in supported], reader)
        subsets.append((kind, sorted(taken)))
    left = [index for index, count in blockers.items() if count]
    return [*subsets, (False, left)] if left else subsets  # a cycle, which no valid file has


def _wiring(graph: Subgraph) -> tuple[dict[int, list[int]], dict[int, int]]:
    """Return who reads each operator's results, and of how many operators each one waits."""
    writers: dict[int, int] = {}
    for operator in graph.operators:
        writers.update(dict.fromkeys(operator.outputs, operator.index))
    readers: dict[int, list[int]] = {operator.index: [] for operator in graph.operators}
    blockers: dict[int, int] = {}
    for operator in graph.operators:
        before = {writers[index] for index in operator.inputs if index in writers}
        blockers[operator.index] = len(before)
        for index in before:
            readers[index].append(operator.index)
    return readers, blockers


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
