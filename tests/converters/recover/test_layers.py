"""The rows that a layer is said to read, times its weights, are what its kernel computes."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.converters.outputs import groups
from edgeopt.converters.recover.evidence import times
from edgeopt.converters.recover.layers import find_layers
from edgeopt.converters.recover.walk import Walk
from edgeopt.converters.tapped import Tapped
from edgeopt.flatbuffer import read_model


@pytest.fixture(scope="module")
def layers(pair):
    return find_layers(read_model(pair.file), read_model(pair.float_file))


def test_all_layers_are_found_but_those_that_share_weights(layers):
    kinds = ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "CONV_2D", "FULLY_CONNECTED"]
    assert sorted(layer.operator.name for layer in layers) == sorted(kinds)


def test_a_layer_with_other_weights_than_the_float_file_is_left_out(pair, layers):
    """As where a picture's normalisation was folded into them."""
    weights = layers[0].float_graph.tensors[layers[0].twin.inputs[1]].data()
    other = pair.float_file.replace(weights.tobytes(), (2 * weights).tobytes())
    assert other != pair.float_file
    found = find_layers(read_model(pair.file), read_model(other))
    assert [layer.operator.index for layer in found] == [layer.operator.index for layer in layers[1:]]


def everywhere(layer):
    return layer.places(layer.output.elements, np.random.default_rng(0))


def test_rows_of_the_float_file(pair, layers):
    ends = [index for layer in layers for index in (layer.twin.inputs[0], layer.twin.outputs[0])]
    found = next(iter(Tapped(pair.float_file, ends).each(list(groups(pair.samples, 1))[:1])))
    for layer in layers:
        rows = layer.float_rows(found[layer.twin.inputs[0]], everywhere(layer))
        made = layer.activation(times(rows, layer.real_weights) + layer.real_bias)
        # float32 sums in another order
        np.testing.assert_allclose(made, found[layer.twin.outputs[0]].reshape(made.shape), rtol=1e-4, atol=1e-5)


def test_rows_of_the_int8_file(pair, layers):
    ends = [index for layer in layers for index in (layer.input.index, layer.output.index)]
    found = next(iter(Tapped(pair.file, ends).each(list(groups(pair.samples, 1))[:1])))
    for layer in layers:
        rows = layer.rows(found[layer.input.index], everywhere(layer))
        made = layer.activation(times(rows, layer.integers * layer.steps) + layer.stored_bias)
        scale = float(layer.output.quantization.scales[0])
        stored = np.clip(np.rint(made / scale) + int(layer.output.quantization.zero_points[0]), -128, 127)
        # The kernel's own rounding may fall to the other side of a half.
        assert np.abs(stored - found[layer.output.index].reshape(stored.shape)).max() <= 1


def test_a_walk_arrives_with_what_the_whole_file_gives(pair, layers):
    some = list(groups(pair.samples, 1))[:3]
    whole = list(Tapped(pair.file, [layer.input.index for layer in layers]).each(some))
    walk = Walk(pair.file, some)
    for layer in layers:
        walk.forward(layer.operator.index)
        for stored, expected in zip(walk.values(layer.input.index), whole, strict=True):
            np.testing.assert_array_equal(stored, expected[layer.input.index])
