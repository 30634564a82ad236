"""`edgeopt.flatbuffer.layer_names`: the layers in a tensor's name."""

from __future__ import annotations

from edgeopt.flatbuffer.layer_names import layers_in, paths_in


def test_a_tensor_has_a_path_for_each_operation_that_was_fused():
    assert paths_in("model/conv/Conv2D;model/relu/Relu") == [["model", "conv", "Conv2D"], ["model", "relu", "Relu"]]
    assert paths_in("x") == [["x"]]


def test_layers_are_those_that_are_named_also_with_the_number_of_a_trace():
    assert layers_in(["net", "dense_1", "act", "MatMul"], ["act", "conv", "dense"]) == ["act", "dense"]
    assert layers_in(["net", "dense_2"], ["dense", "net_1"]) == []
    assert layers_in(["net", "dense_1"], ["dense", "dense_1"]) == ["dense_1"]
