"""From a reply to figures, outputs and warnings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from edgeopt.devices.measurement import Evaluation, KernelProfile, Latency, Measurement, Output, scaling_warning


def item(low: float, high: float, **changes: Any) -> dict[str, Any]:
    return {"name": "x", "dtype": "int8", "scale": 1.0, "zero_point": -128, "low": low, "high": high, **changes}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (item(0, 255), None),
        (item(-20, 255), None),  # less than a tenth of the range beyond it
        (item(-1000, 255), r"lie in \[-1000, 255\], beyond the \[0, 255\]"),
        (item(0, 1), r"lie in \[0, 1\], a small part of the \[0, 255\]"),
        (item(3, 3), None),  # a constant says nothing of the scale
        (item(-9e9, 9e9, scale=None, dtype="float32"), None),
    ],
)
def test_inputs_that_look_wrongly_scaled(found: dict[str, Any], words: str | None) -> None:
    warning = scaling_warning(found)
    if words is None:
        assert warning is None
    else:
        assert warning is not None and re.search(words, warning)


def test_a_kernel_profile_in_words() -> None:
    assert str(KernelProfile("tflite_runtime", "2.14.0", "none", 1)) == "tflite_runtime 2.14.0, delegate none, 1 thread"
    assert str(KernelProfile("ai_edge_litert", "2.3.0", "xnnpack", 4, "builtin")).endswith("4 threads, builtin kernels")


def test_outputs_give_stored_and_real_values() -> None:
    output = Output("y", np.array([[-128, 127]], np.int8), 0.00390625, -128)
    np.testing.assert_array_equal(output.real(), np.array([[0, 0.99609375]], np.float32))
    plain = Output("y", np.array([1.5], np.float32), None, 0)
    assert plain.real() is plain.stored


def latency(stable: bool) -> Latency:
    raw = {"samples_ns": [10**6], "load_ns": 1, "first_ns": 1, "warmup_runs": 1, "seconds": 1.0, "stopped_by": "stable"}
    conditions = {"board": {"emulated": False}, "before": {}, "after": {}}
    return Latency.from_reply({**raw, "stable": stable, "conditions": conditions})


def test_warnings_collect_what_makes_the_numbers_less_than_they_seem() -> None:
    skipped = ({"runtime": "ai_edge_litert", "reason": "not installed"},)
    profile = KernelProfile("tflite_runtime", "2.14.0", "none", 1)
    evaluation = Evaluation((), 1, 1, 1, ("stateful",), 0.1, ("odd data",))
    found = Measurement("it", profile, latency(False), evaluation, skipped)
    assert found.warnings[0] == "odd data"
    assert "not stable" in found.warnings[1]
    assert found.warnings[2] == "ai_edge_litert was left out: not installed."
    assert found.to_dict()["evaluation"]["reasons"] == [
        {"reason": "stateful", "meaning": "the model keeps state between invocations"}
    ]
    assert Measurement("it", profile, latency(True), None, ()).warnings == ()


def test_outputs_that_are_there_are_real_and_those_that_are_not_are_an_error() -> None:
    profile = KernelProfile("tflite_runtime", "2.14.0", "none", 1)
    outputs = (Output("b", np.array([[3]], np.int8), 0.5, 1), Output("a", np.array([[2.0]], np.float32), None, 0))
    evaluation = Evaluation(outputs, 1, 1, 1, (), 0.1, ())
    found = Measurement("it", profile, None, evaluation, ()).real_outputs()
    assert {name: array.tolist() for name, array in found.items()} == {"b": [[1.0]], "a": [[2.0]]}
    assert list(found) == ["b", "a"], "in the file's order"
    with pytest.raises(RuntimeError, match="was given no samples"):
        Measurement("it", profile, latency(True), None, ()).real_outputs()
    with pytest.raises(RuntimeError, match="was asked for no timing"):
        Measurement("it", profile, None, evaluation, ()).timed()
