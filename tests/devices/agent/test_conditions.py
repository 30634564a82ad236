"""What the agent reads off a board."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgeopt.devices.agent.conditions import (
    board,
    cores,
    decode_throttled,
    memory_bytes,
    resident_bytes,
    state,
    throttling,
)


def test_the_board_is_described_and_fits_json() -> None:
    found = board()
    assert found["cores"] == cores() == len(os.sched_getaffinity(0))
    assert found["kernel"] == os.uname().release and found["page_size_bytes"] in (4096, 16384, 65536)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_state_is_described_and_fits_json() -> None:
    found = state()
    assert len(found["load_average"]) == 3
    assert {"governors", "frequency_mhz", "temperature_c", "throttling", "memory_available_bytes"} <= set(found)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_memory_is_in_bytes() -> None:
    total, available, now, peak = (
        memory_bytes("MemTotal"),
        memory_bytes("MemAvailable"),
        resident_bytes(),
        resident_bytes(peak=True),
    )
    assert total and available and now and peak
    assert 2**20 < now <= peak < total and available < total
    assert memory_bytes("NoSuchField") is None


NOW, BOOT = ["under-voltage now", "throttled now"], ["under-voltage since boot", "throttled since boot"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("throttled=0x0\n", {"raw": "0x0", "flags": []}),
        ("throttled=0x50005", {"raw": "0x50005", "flags": [*NOW, *BOOT]}),
        ("throttled=0x8", {"raw": "0x8", "flags": ["soft temperature limit now"]}),
        ("VCHI initialization failed", None),
        ("", None),
    ],
)
def test_throttling_is_decoded(answer: str, expected: object) -> None:
    assert decode_throttled(answer) == expected


def test_the_firmware_is_asked_by_its_own_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert throttling() is None, "no such tool on this board"
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\necho throttled=0x4\n")
    tool.chmod(0o755)
    assert throttling() == {"raw": "0x4", "flags": ["throttled now"]}
    tool.write_text("#!/bin/sh\necho 'Can not open /dev/vcio' >&2; exit 1\n")
    assert throttling() is None


def test_governors_and_temperatures_come_from_sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"cpu0": "ondemand", "cpu1": "performance"}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "scaling_governor").write_text(text + "\n")
        (folder / "scaling_cur_freq").write_text("1500000\n" if name == "cpu0" else "600000\n")
    (tmp_path / "temp").write_text("48312\n")
    places = {"scaling_governor": "cpu*/scaling_governor", "scaling_cur_freq": "cpu*/scaling_cur_freq", "temp": "temp"}
    real = __import__("glob").glob
    monkeypatch.setattr("glob.glob", lambda pattern: real(str(tmp_path / places.get(pattern.split("/")[-1], "none"))))
    found = state(busy=False)
    assert found["governors"] == ["ondemand", "performance"]
    assert (found["frequency_mhz"], found["temperature_c"]) == (1500.0, 48.312)
