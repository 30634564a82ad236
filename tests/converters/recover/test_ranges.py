"""Ranges of a finished file are made wider or narrower one by one; what the numbers mean stays."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.recover.judging import Judge
from edgeopt.converters.recover.ranges import free_ranges, rescaled, search_ranges
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.specs import input_specs, output_specs

FRESH = {"x": np.random.default_rng(1).normal(size=(100, 13, 12, 3)).astype(np.float32)}


def decibels(pair, file):
    (expected,), (found,) = (file_outputs(content, FRESH).values() for content in (pair.float_file, file))
    return snr_db(expected, found)


def test_tensors_that_only_move_values_share_a_range_and_ends_keep_theirs(pair):
    model = read_model(pair.file)
    found = free_ranges(model)
    assert len({index for tensors in found for index in tensors}) == sum(map(len, found))
    graph = model.main
    together = {tensors for operator in graph.operators if operator.name == "STRIDED_SLICE"
                for tensors in found if operator.inputs[0] in tensors and operator.outputs[0] in tensors}  # fmt: skip
    assert together
    assert not {*graph.inputs, *graph.outputs} & {index for tensors in found for index in tensors}
    for tensors in found:
        assert len({float(graph.tensors[index].quantization.scales[0]) for index in tensors}) == 1


def test_a_slightly_wider_range_gives_nearly_the_same(pair):
    """Each range by a hundredth: biases must go with it, or the outputs were far off."""
    file = pair.file
    for tensors in free_ranges(read_model(file)):
        file = rescaled(file, tensors, 1.01)
    assert file != pair.file
    assert decibels(pair, file) > decibels(pair, pair.file) - 1.5


@pytest.mark.parametrize("factor", [16.0, 0.25])
def test_a_range_that_was_spoilt_is_found_again(pair, factor):
    tensors = free_ranges(read_model(pair.file))[0]
    spoilt = rescaled(pair.file, tensors, factor)
    judge = Judge(pair.float_file, [{"x": sample[None]} for sample in pair.samples["x"]])
    told = []
    made, changed = search_ranges(spoilt, judge, lambda *at: told.append(at))
    assert changed and told[-1][0] == told[-1][1] - 1
    assert decibels(pair, spoilt) < decibels(pair, pair.file) - 3
    assert decibels(pair, made) > decibels(pair, spoilt) + 2
    assert input_specs(read_model(made)) == input_specs(read_model(spoilt))
    assert output_specs(read_model(made)) == output_specs(read_model(spoilt))
