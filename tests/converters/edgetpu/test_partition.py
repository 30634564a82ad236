"""The cut of a graph into what the delegate runs and what the CPU runs, as TensorFlow Lite makes it."""

from __future__ import annotations

import pytest

from edgeopt.converters.edgetpu.partition import delegated, node_subsets, waits_for
from edgeopt.flatbuffer import Operator, Subgraph


def graph_of(*wires: tuple[tuple[int, ...], tuple[int, ...]]) -> Subgraph:
    """A graph whose operators read and write these tensors."""
    operators = tuple(
        Operator(index, "OP", 0, False, 1, inputs, outputs) for index, (inputs, outputs) in enumerate(wires)
    )
    return Subgraph(0, "", (), operators, (0,), ())


CHAIN = graph_of(((0,), (1,)), ((1,), (2,)), ((2,), (3,)), ((3,), (4,)))
# 0 -> 1 -> 3 and 0 -> 2 -> 3: two branches that meet.
DIAMOND = graph_of(((0,), (1,)), ((1,), (2,)), ((1,), (3,)), ((2, 3), (4,)))


@pytest.mark.parametrize(
    ("graph", "supported", "expected"),
    [
        (CHAIN, {0, 1, 2, 3}, {0, 1, 2, 3}),
        (CHAIN, {0, 1, 3}, {0, 1}),  # what is after the first refused one is stranded
        (CHAIN, {1, 2, 3}, {1, 2, 3}),  # a leading refusal (a float input) does not matter
        (CHAIN, {1, 3}, {1}),
        (CHAIN, set(), set()),
        (DIAMOND, {0, 2, 3}, {0, 2}),  # a branch beside the refused operator is still mapped
        (DIAMOND, {0, 1, 2}, {0, 1, 2}),
    ],
)
def test_the_first_subset_of_the_delegate_is_kept(graph, supported, expected):
    assert delegated(graph, supported) == expected


def test_a_branch_that_comes_later_in_the_order_but_needs_nothing_refused_is_mapped():
    # 0, then 1 (refused), then 2 which reads only the result of 0: it runs before 1 in the delegate's part.
    graph = graph_of(((0,), (1,)), ((1,), (2,)), ((1,), (3,)))
    assert delegated(graph, {0, 2}) == {0, 2}


def test_subsets_come_in_the_order_in_which_they_run():
    assert node_subsets(CHAIN, {0, 1, 3}) == [(True, [0, 1]), (False, [2]), (True, [3])]
    assert node_subsets(CHAIN, {2}) == [(False, [0, 1]), (True, [2]), (False, [3])]


def test_a_cycle_ends_the_cut():
    graph = graph_of(((1,), (0,)), ((0,), (1,)))
    assert node_subsets(graph, {0, 1}) == [(False, [0, 1])]


def test_who_waits_for_whom_is_the_first_cause():
    assert waits_for(CHAIN, {1}) == {2: 1, 3: 1}
    assert waits_for(CHAIN, {1, 2}) == {2: 1, 3: 1}
    assert waits_for(DIAMOND, {2}) == {3: 2}
    assert waits_for(DIAMOND, set()) == {}


def test_large_graphs_take_no_longer_than_their_size():
    # Every second one is refused: 20,000 subsets, which must not be looked for 20,000 times over.
    graph = graph_of(*(((index,), (index + 1,)) for index in range(20_000)))
    subsets = node_subsets(graph, set(range(0, 20_000, 2)))
    assert len(subsets) == 20_000
    assert delegated(graph, set(range(0, 20_000, 2))) == {0}
