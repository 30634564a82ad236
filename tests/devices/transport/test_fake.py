"""`FakeTransport`: what a user's own tests can do without a device."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.devices import Device, DeviceGone, FakeTransport, RunOptions, load_profile
from edgeopt.devices.agent.protocol import Message
from edgeopt.errors import BudgetError, DeviceError, DeviceLostError
from edgeopt.evaluation.budget import Budget

from ..conftest import classifier_model

SCORES = np.eye(3, dtype=np.float32)


def test_a_gate_can_be_tested_without_a_board() -> None:
    transport = FakeTransport.measuring(outputs={"y": SCORES}, samples_ms=[30.0, 31.0, 32.0])
    with Device(transport, load_profile("local")) as device:
        report = device.validate(
            classifier_model(), {"x": SCORES}, np.arange(3), budget=Budget(min_metric=0.9, max_p95_ms=20)
        )
    assert report.to_dict()["accuracy"] == 1.0 and report.to_dict()["latency_ms"]["p50"] == 31.0
    with pytest.raises(BudgetError, match=r"max_p95_ms is 20, measured 31\.9"):
        report.raise_for_budget()
    assert transport.closed


def test_requests_and_shipped_files_can_be_looked_at() -> None:
    transport = FakeTransport.measuring(outputs={"y": SCORES})
    Device(transport, load_profile("local")).measure(classifier_model(), {"x": SCORES}, RunOptions(threads=3))
    assert transport.requests[0]["threads"] == 3
    assert transport.shipped["/fake/files/model.tflite"] == classifier_model()


def test_what_was_not_given_cannot_be_fetched() -> None:
    with pytest.raises(DeviceError, match="Cannot fetch /fake/x from the fake device"):
        FakeTransport(lambda _: {}).get("/fake/x", None, timeout_s=1)  # type: ignore[arg-type]


def test_removing_forgets() -> None:
    transport = FakeTransport(lambda _: {}, files={"/fake/runs/a": b"1", "/fake/other": b"2"})
    transport.remove("/fake/runs", timeout_s=1)
    assert list(transport.files) == ["/fake/other"]


def test_a_board_that_is_lost_can_be_played() -> None:
    def lost(request: Message) -> Message:
        raise DeviceGone("the cable was pulled")

    with Device(FakeTransport(lost), load_profile("rpi4")) as device:
        with pytest.raises(DeviceLostError, match="last words were: the cable was pulled"):
            device.measure(classifier_model(), {"x": SCORES})
