"""Parity: equal where it must be, traced to the first operator where it is not, and honest about why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.devices import Device, KernelProfile, Limits, RunOptions
from edgeopt.devices.differences import LONGEST_HISTOGRAM, difference, merged
from edgeopt.devices.golden import Golden, hold_against, record
from edgeopt.devices.parity import Side, expected_to_differ
from edgeopt.errors import CheckError, FileFormatError, UsageError
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.specs import input_specs
from edgeopt.flatbuffer.tap import taps, with_taps

REFERENCE = RunOptions(runtime="ai_edge_litert", kernels="reference", bench=None)


class OtherKernels(Device):
    """This machine, but always with the default kernels: a planted difference."""

    def measure(self, model, inputs=None, options=None, **keywords):
        return super().measure(model, inputs, replace(options, kernels="default"), **keywords)


@pytest.fixture
def kws(shared_data):
    model = (shared_data / "kws" / "ref_int8.tflite").read_bytes()
    with np.load(shared_data / "kws" / "test.npz") as data:
        samples = data["x"][:20]
    return model, {input_specs(read_model(model))[0].name: samples}


def test_integers_are_compared_in_lsb():
    first = np.array([[0, 10, -128], [5, 5, 5]], np.int8)
    second = np.array([[0, 12, 127], [5, 5, 5]], np.int8)
    found = difference(first, second)
    assert (found.equal, found.max_lsb, found.first_sample) == (False, 255, 0)
    assert found.histogram == {0: 4, 2: 1, LONGEST_HISTOGRAM: 1}
    assert found.share == pytest.approx(2 / 6)


def test_floats_are_equal_only_bit_for_bit_and_measured_in_steps_of_their_range():
    first = np.array([[0.0, 255.0]], np.float32)
    near = np.nextafter(first, np.float32(1000))
    assert (difference(first, near).equal, difference(first, near).max_lsb) == (False, 0)
    assert difference(first, np.array([[0.0, 252.0]], np.float32)).max_lsb == 3
    assert difference(first, first).equal


def test_a_nan_on_one_side_is_a_difference():
    found = difference(np.array([[0.0, 1.0]], np.float32), np.array([[0.0, np.nan]], np.float32))
    assert not found.equal
    assert found.max_lsb == LONGEST_HISTOGRAM


def test_several_outputs_add_up():
    one = difference(np.zeros((2, 1), np.int8), np.ones((2, 1), np.int8))
    none = difference(np.zeros((2, 1), np.int8), np.zeros((2, 1), np.int8))
    assert merged([none, one]).histogram == {0: 2, 1: 2}
    assert not merged([none, one]).equal


def test_every_result_of_the_main_graph_can_be_tapped(kws):
    model, _ = kws
    tapped, found = with_taps(model)
    before, after = read_model(model).main, read_model(tapped).main
    assert [operator.name for operator in after.operators] == [operator.name for operator in before.operators]
    assert after.outputs == tuple(tap.tensor for tap in found)
    assert found == taps(read_model(model))
    assert len(found) == len(before.operators)


def test_one_device_agrees_with_itself(device, kws):
    report = device.parity(device, *kws)
    assert report.difference.equal
    assert (report.agreement, report.samples, report.explained) == (1.0, 20, None)
    assert {side.profile.kernels for side in report.sides} == {"reference"}
    report.raise_for_parity()


def test_other_kernels_are_found_and_traced_to_an_operator(device, kws):
    other = OtherKernels(device.transport, device.profile)
    report = device.parity(other, *kws, options=RunOptions(runtime="ai_edge_litert"))
    at = report.first_divergence
    assert not report.difference.equal
    assert at is not None
    operators = read_model(kws[0]).main.operators
    assert operators[at.tap.operator].name == at.tap.op
    assert at.difference.max_lsb >= 1
    assert report.explained is True
    assert report.to_dict()["first_divergence"]["op"] == at.tap.op
    with pytest.raises(CheckError, match=r"L1 parity of .* does not hold: .* from operator \d+ \(\w+\) on"):
        report.raise_for_parity()


def test_l2_and_l3_take_a_difference_within_their_limits(device, kws):
    other = OtherKernels(device.transport, device.profile)
    same = RunOptions(runtime="ai_edge_litert", kernels="reference")
    wide = device.parity(other, *kws, limits=Limits("L2", max_lsb=255), options=same, trace=False)
    narrow = device.parity(other, *kws, limits=Limits("L2", max_lsb=0), options=same, trace=False)
    agree = device.parity(other, *kws, limits=Limits("L3", min_agreement=0.9), options=same, trace=False)
    assert (wide.held, narrow.held, agree.held) == (True, False, True)


@pytest.mark.parametrize(
    ("ours", "theirs", "machines", "expected"),
    [
        (("a", "1", "none", 1, "reference"), ("a", "1", "none", 1, "reference"), ("x86_64", "aarch64"), False),
        (("a", "1", "none", 1, "default"), ("a", "1", "none", 1, "default"), ("x86_64", "aarch64"), True),
        (("a", "1", "none", 1, "default"), ("a", "1", "none", 1, "default"), ("x86_64", "x86_64"), False),
        (("a", "1", "none", 1, "default"), ("a", "1", "xnnpack", 1, "default"), ("x86_64", "x86_64"), True),
        (("a", "1", "none", 1, "reference"), ("a", "2", "none", 1, "reference"), ("x86_64", "x86_64"), True),
    ],
)
def test_a_difference_is_explained_only_by_other_kernels(ours, theirs, machines, expected):
    sides = [
        Side("d", KernelProfile(*profile), machine) for profile, machine in zip((ours, theirs), machines, strict=True)
    ]
    assert expected_to_differ(*sides)[0] is expected


def test_golden_vectors_hold_where_they_were_recorded_and_catch_other_kernels(device, kws, tmp_path):
    model, inputs = kws
    record(device, model, inputs, REFERENCE).save(tmp_path / "g.npz")
    golden = Golden.load(tmp_path / "g.npz")
    assert hold_against(device, model, golden, Limits(), REFERENCE).difference.equal
    default = replace(REFERENCE, kernels="default")
    assert not hold_against(device, model, golden, Limits(), default).difference.equal


def test_golden_vectors_of_another_model_are_refused(device, kws, tmp_path, shared_data):
    model, inputs = kws
    golden = record(device, model, {name: array[:1] for name, array in inputs.items()}, REFERENCE)
    other = (shared_data / "cifar10" / "mlperf_resnet8_int8.tflite").read_bytes()
    with pytest.raises(UsageError, match="belongs to the model"):
        hold_against(device, other, golden, Limits(), REFERENCE)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_not_golden_says_so(tmp_path, content):
    (tmp_path / "g.npz").write_bytes(content)
    with pytest.raises((FileFormatError, UsageError), match=r"no golden file|Cannot read"):
        Golden.load(tmp_path / "g.npz")


def test_an_unknown_level_is_refused():
    with pytest.raises(UsageError, match="Unknown parity level 'L4'"):
        Limits("L4")
