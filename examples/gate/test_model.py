"""A gate for a repository: pytest fails when the model no longer keeps its budget on the board.

    pytest --edgeopt-device kitchen test_model.py

Copy it beside model_int8.tflite (with its sidecar) and test.npz. `edgeopt_device` comes with edgeopt; without an option
it is this machine.
"""

from __future__ import annotations

import edgeopt
from edgeopt.devices import Device

BUDGET = edgeopt.Budget(min_metric=0.5, max_p95_ms=200, max_size_bytes=1_000_000)


def test_the_model_keeps_its_budget(edgeopt_device: Device) -> None:
    """A limit that is missed fails; `proven=True` makes one that is not proven fail, too."""
    report = edgeopt.validate("model_int8.tflite", data="test.npz", device=edgeopt_device, budget=BUDGET)
    report.raise_for_budget()


def test_the_board_computes_what_this_machine_computes(edgeopt_device: Device) -> None:
    """With the reference kernels: bit for bit."""
    from edgeopt.api.parity import parity

    parity("model_int8.tflite", device=edgeopt_device, data="test.npz", samples=20).raise_for_parity()
