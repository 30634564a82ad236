"""A pytest fixture for gating a repository on a board; pytest finds it when edgeopt is installed.

pytest --edgeopt-device kitchen

def test_the_model_is_fast_enough(edgeopt_device):
    report = edgeopt_device.validate(model, {"input": x}, y, budget=Budget(max_p95_ms=20))
    report.raise_for_budget()
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .device import Device


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--edgeopt-device`` and ``--edgeopt-devices``, and the settings of the same names."""
    group = parser.getgroup("edgeopt")
    texts = {
        "device": "the device of the fixture edgeopt_device: a name of the inventory, or local (default)",
        "devices": "the inventory's file, in place of the project's and the user's",
    }
    for name, text in texts.items():
        group.addoption(f"--edgeopt-{name}", metavar="NAME" if name == "device" else "FILE", help=text)
        parser.addini(f"edgeopt_{name}", text)


@pytest.fixture(scope="session")
def edgeopt_device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """The device that ``--edgeopt-device`` names, open for the whole session."""
    from .device import Device

    with Device.from_inventory(_setting(request, "device") or "local", _setting(request, "devices")) as device:
        yield device


def _setting(request: pytest.FixtureRequest, name: str) -> str | None:
    given = request.config.getoption(f"--edgeopt-{name}")
    value = given if given is not None else request.config.getini(f"edgeopt_{name}")
    return str(value) if value else None
