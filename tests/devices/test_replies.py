"""What a device answers is of its declared types and makes sense, or the error names the device and the value."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.devices import Device, FakeTransport, RunOptions, load_profile
from edgeopt.devices.golden import Golden
from edgeopt.errors import DeviceError, FileFormatError

from .conftest import QUICK, halving_model

SAMPLES = np.zeros((2, 4), np.float32)
STORED = np.arange(8, dtype=np.int8).reshape(2, 4)


def measured(change: Any) -> Any:
    """Measure on a device whose reply `change` has changed."""
    good = FakeTransport.measuring(outputs={"y": STORED}, samples_ms=[1.0, 2.0, 3.0])

    def answer(request: dict[str, Any]) -> Any:
        result = copy.deepcopy(dict(good._answer(request)))
        change(result)
        return result

    with Device(FakeTransport(answer, files=good.files), load_profile("local")) as device:
        return device.measure(halving_model(), {"x": SAMPLES}, RunOptions(bench=QUICK))


def test_a_good_reply_is_understood() -> None:
    found = measured(lambda result: result.update(later="a key of a later release"))
    assert found.timed().figures["p50"] == 2.0
    assert found.evaluated().outputs[0].stored.tolist() == STORED.tolist()


def output(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = result["evaluation"]["outputs"][0]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("kernel_profile"), "kernel_profile is missing"),
        (lambda r: r["kernel_profile"].update(threads="1"), "kernel_profile.threads is '1', expected a whole number"),
        (lambda r: r["kernel_profile"].update(speed=1), "kernel_profile has the unknown key 'speed'"),
        (lambda r: r.update(runtimes_skipped=[3]), r"runtimes_skipped\[0\] is 3, expected a table"),
        (lambda r: r.update(machine=[]), "machine is a list, expected text"),
        (lambda r: r.update(edge_tpu=3), "edge_tpu is 3, expected a table"),
        (lambda r: r.pop("latency"), "latency is missing"),
        (lambda r: r["latency"].pop("load_ns"), "latency lacks load_ns"),
        (lambda r: r["latency"].update(samples_ns=[]), "latency.samples_ns is empty"),
        (lambda r: r["latency"].update(samples_ns=[1, -1]), "latency.samples_ns holds no numbers above 0"),
        (lambda r: r["latency"].update(samples_ns="x"), "latency.samples_ns is 'x', expected a list"),
        (lambda r: r["latency"].update(runs=0), "times and counts that cannot be"),
        (lambda r: r["latency"].update(processes=[{}]), r"latency.processes\[0\] lacks p50_ns"),
        (lambda r: r["latency"].update(comparison={"first_ns": [1], "second_ns": []}), "second_ns is empty"),
        (lambda r: r["latency"].update(comparison={"first_ns": [1], "second_ns": [1, 2]}), "without a counterpart"),
        (lambda r: r["latency"]["conditions"].update(before=None), "latency.conditions.before is null"),
        (lambda r: r.pop("evaluation"), "evaluation is missing"),
        (lambda r: r["evaluation"].update(samples=0), "counts or reasons that cannot be"),
        (lambda r: r["evaluation"].update(reasons=["it rains"]), "counts or reasons that cannot be"),
        (lambda r: r["evaluation"].update(outputs=[]), "there are 0 outputs of 2 samples"),
        (lambda r: r["evaluation"].update(outputs=[output(r)] * 2), "two outputs of one name"),
        (lambda r: r["evaluation"].update(samples=3), "the output 'y' is int8 2x4 for 3 samples"),
        (lambda r: output(r).pop("path"), r"evaluation.outputs\[0\] lacks path"),
        (lambda r: output(r).update(scale=0.0), "scale holds no numbers above 0"),
        (lambda r: output(r).update(scale=1.0, zero_point=1 << 40), "quantised in a way that cannot be"),
    ],
)
def test_a_reply_of_another_form_names_the_device_and_the_value(change: Any, message: str) -> None:
    with pytest.raises(DeviceError, match=f"^the fake device answered with what edgeopt cannot use: .*{message}"):
        measured(change)


def test_facts_of_a_board_that_are_none_are_refused() -> None:
    with (
        Device(FakeTransport(lambda request: {"protocol": 1, "board": {}}), load_profile("local")) as device,
        pytest.raises(DeviceError, match="info lacks"),
    ):
        device.info()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_profile": {"runtime": "x"}}, "kernel_profile lacks"),
        ({"sha256": 3}, "sha256 is 3, expected text"),
        ({"outputs": [{"name": "y"}]}, r"outputs\[0\] lacks scale"),
        ({"outputs": []}, "there are 0 outputs"),
        ({"outputs": [{"name": "y", "scale": -1.0, "zero_point": 0}]}, "scale holds no numbers above 0"),
        ({"outputs": [{"name": "y", "scale": 1.0, "zero_point": 0}] * 3}, "lacks 'output/1'"),
        ({"device": "[" * 3000}, None),
    ],
)
def test_golden_vectors_with_odd_notes_are_none(changes: dict[str, Any], message: str | None, tmp_path: Path) -> None:
    profile = {"runtime": "x", "version": "2", "delegate": "none", "threads": 1}
    outputs = [{"name": "y", "scale": 1.0, "zero_point": 0}]
    meta = {"format": 1, "sha256": "0", "device": "d", "machine": "m", "kernel_profile": profile, "outputs": outputs}
    notes = np.frombuffer(json.dumps({**meta, **changes}).encode(), np.uint8)
    np.savez(tmp_path / "g.npz", **{"meta": notes, "input/x": SAMPLES, "output/0": STORED})
    if message is None:
        assert Golden.load(tmp_path / "g.npz").measurement.evaluated().samples == 2
        return
    with pytest.raises(FileFormatError, match=f"is no golden file.*{message}"):
        Golden.load(tmp_path / "g.npz")
