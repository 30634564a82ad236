"""`edgeopt.flatbuffer.calls`: which subgraphs an invocation reaches."""

from __future__ import annotations

from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.calls import called_first, callees


def call(file, graph, *others):
    for other in others:
        file.operator("CALL", [], [], graph=graph, options="CallOptions", subgraph=other)


def order(file):
    return [graph.index for graph in called_first(read_model(file.build()))]


def test_a_subgraph_comes_after_all_that_it_calls(file):
    first, second, third = (file.subgraph(name) for name in "abc")
    call(file, 0, first, second)
    call(file, first, third)
    call(file, second, first)
    assert order(file) == [third, first, second, 0]


def test_what_is_not_called_is_left_out(file):
    used, _unused = file.subgraph("used"), file.subgraph("unused")
    call(file, 0, used)
    assert order(file) == [used, 0]


def test_circles_and_calls_into_nowhere_end(file):
    other = file.subgraph("other")
    call(file, 0, other, 99)
    call(file, other, other, 0)
    assert order(file) == [other, 0]


def test_every_kind_of_control_flow_is_followed(file):
    file.operator("WHILE", [], [], options="WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    file.operator("IF", [], [], options="IfOptions", thenSubgraphIndex=3, elseSubgraphIndex=4)
    file.operator("CALL_ONCE", [], [], options="CallOnceOptions", initSubgraphIndex=5)
    file.operator("CONV_2D", [], [], options="Conv2DOptions")
    assert [callees(operator) for operator in read_model(file.build()).main.operators] == [(1, 2), (3, 4), (), ()]
