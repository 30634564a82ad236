"""The proof that the pass carries with it: it passes what is right, and names the layer where something is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ModelError
from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.channels.dependencies import analyse
from edgeopt.passes.channels.surgery import kept_outputs, remove_units
from edgeopt.passes.channels.verify import tolerance, verify


def cut(model):
    """Remove every other unit that may go."""
    channel_map = analyse(read_native(model))
    kept = np.ones(channel_map.unit_count, dtype=bool)
    for group in channel_map.groups:
        if group.block is None:
            kept[group.units[::2]] = False
    return channel_map, kept, remove_units(model, channel_map, kept)


@pytest.mark.parametrize("family", ["cnn_1d", "u_net", "two_inputs", "nested", "squeeze_excite", "grouped"])
def test_a_right_cut_agrees_to_rounding(build, keras, family):
    channel_map, kept, smaller = cut(build(family, keras))
    assert verify(smaller, channel_map, kept) <= tolerance(channel_map)
    # The limit itself is one of rounding: thousands of units in the last place, and no more.
    assert tolerance(channel_map) < 1e-4


@pytest.mark.parametrize(("family", "layer"), [("cnn_1d", "hidden"), ("u_net", "up_24"), ("squeeze_excite", "last")])
def test_two_rows_in_the_wrong_place_are_found_where_they_are(build, keras, family, layer):
    channel_map, kept, smaller = cut(build(family, keras))
    kernel, bias = smaller.get_layer(layer).get_weights()
    axis = -1 if layer.startswith("up") else -2
    swapped = np.moveaxis(np.array(kernel), axis, 0)
    # From the middle: the first rows of a flattened tensor may read nothing but its zero padding.
    middle = len(swapped) // 2
    swapped[[middle, middle + 1]] = swapped[[middle + 1, middle]]
    smaller.get_layer(layer).set_weights([np.moveaxis(swapped, 0, axis), bias])
    with pytest.raises(ModelError, match=rf"Removing channels changed what layer '{layer}' computes by"):
        verify(smaller, channel_map, kept)


def test_a_cut_of_other_units_than_was_said_is_found(build, keras):
    channel_map, kept, smaller = cut(build("auto_encoder", keras))
    said = kept.copy()
    units = channel_map.groups[0].units
    said[units] = ~said[units]
    with pytest.raises(ModelError, match="Removing channels changed what layer 'dense_0' computes"):
        verify(smaller, channel_map, said)


def test_outputs_that_are_not_numbers_are_no_agreement(build, keras):
    channel_map, kept, smaller = cut(build("auto_encoder", keras))
    weights = smaller.get_layer("rebuilt").get_weights()
    smaller.get_layer("rebuilt").set_weights([weights[0] * np.nan, weights[1]])
    with pytest.raises(ModelError, match="layer 'rebuilt' computes by nan of its scale"):
        verify(smaller, channel_map, kept)


def test_kept_outputs_are_told_for_each_layer_with_channels(build, keras):
    channel_map, kept, smaller = cut(build("cnn_1d", keras))
    told = kept_outputs(channel_map, kept)
    assert told["first"].tolist() == list(range(1, 16, 2))
    assert told["norm"].tolist() == told["first"].tolist()
    assert len(told["hidden"]) == smaller.get_layer("hidden").units
