"""A finished int8 file is put right from samples, and only where others are the better for it."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.recover.editing import put_bias, put_weights
from edgeopt.converters.recover.judging import Judge, compared, improved
from edgeopt.converters.recover.layers import find_layers
from edgeopt.converters.recover.recovery import recover
from edgeopt.converters.rewrite import packed, unpacked
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.specs import input_specs, output_specs

from .conftest import SAMPLES, network

FRESH = {"x": np.random.default_rng(1).normal(size=(200, 13, 12, 3)).astype(np.float32)}


def silent(method, done, total):
    pass


@pytest.fixture(scope="module")
def spoilt(pair):
    """The int8 file with a bias moved by half of what its layer gives, and weights rounded down."""
    tree = unpacked(pair.file)
    layers = find_layers(read_model(pair.file), read_model(pair.float_file))
    first = layers[0]
    put_bias(tree, first, first.stored_bias + 0.5)
    for layer in layers[1:]:
        put_weights(tree, layer, np.floor(layer.real_weights / layer.steps).astype(np.int64))
    return packed(tree)


@pytest.fixture(scope="module")
def recovered(pair, spoilt):
    return recover(spoilt, pair.floats, pair.samples, None, silent)


def decibels(pair, file):
    (expected,), (found,) = (file_outputs(content, FRESH).values() for content in (pair.float_file, file))
    return snr_db(expected, found)


def test_what_was_spoilt_is_as_good_as_before_on_samples_that_nothing_saw(pair, spoilt, recovered):
    assert decibels(pair, spoilt) < decibels(pair, pair.file) - 6
    assert decibels(pair, recovered.model) > decibels(pair, pair.file)


def test_each_method_is_told_with_what_it_brought(recovered):
    assert [step.method for step in recovered.steps] == ["equalise", "bias", "rounding", "ranges"]
    bias, rounding = recovered.steps[1:3]
    assert bias.kept and rounding.kept and bias.layers and rounding.layers
    assert recovered.snr_db < bias.snr_db < rounding.snr_db
    assert (recovered.samples, recovered.judges, recovered.held_back) == (48, 12, False)


def test_the_contract_and_the_operators_stay(spoilt, recovered):
    before, after = read_model(spoilt), read_model(recovered.model)
    assert input_specs(after) == input_specs(before)
    assert output_specs(after) == output_specs(before)
    assert [item.name for item in after.main.operators] == [item.name for item in before.main.operators]


def test_the_same_samples_give_the_same_bytes(pair, spoilt, recovered):
    assert recover(spoilt, pair.floats, pair.samples, None, silent).model == recovered.model


def test_what_makes_others_worse_is_not_kept(pair, spoilt):
    judge = Judge(pair.float_file, [{"x": sample[None]} for sample in FRESH["x"][:20]])
    good, bad = judge.errors(pair.file), judge.errors(spoilt)
    assert improved(*compared(bad, good))
    assert not improved(*compared(good, bad))
    assert not improved(*compared(good, good))


def test_convert_recovers_on_request_and_says_so():
    stages = []
    artifact = edgeopt.convert(
        network(), calibration=SAMPLES, calibration_samples=30, recover=True, isolate=False, on_event=stages.append
    )
    found = artifact.sidecar["recovery"]
    assert (found["why"], found["layers"], found["samples"], found["judges"]) == ("", 5, 30, 30)
    assert found["held_back"]
    assert {"stage": "recover-rounding", "done": 4, "total": 5} in stages
    assert artifact.sidecar["seconds"]["recover"] > 0


def test_too_few_samples_are_said():
    artifact = edgeopt.convert(network(), calibration=SAMPLES[:12], recover=True, isolate=False)
    assert "recover: nothing was tried, because there are fewer than 20 samples" in artifact.warnings
