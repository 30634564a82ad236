"""Each fact of a board as ok, warn or fail, with what helps."""

from __future__ import annotations

import dataclasses
import time

import pytest

from edgeopt.devices import Device, load_profile
from edgeopt.devices.boards.profile import Fact
from edgeopt.devices.readiness import check

GOOD = {"name": "ai_edge_litert", "version": "2.3.0", "numpy": "1.26.4", "problem": None}
QUIET = {"governors": ["performance"], "temperature_c": 40.0, "throttling": {"flags": []}, "busy": []}


def statuses(lines):
    return {line.name: line.status for line in lines}


@pytest.fixture
def checked(device):
    """The lines about this machine if its agent told something else of it in these fields."""
    told = device.info()

    def lines(setup="setup", **changes):
        device.info = lambda delegate=None: {**told, "time_s": time.time(), **changes}
        return list(check(device, setup))

    return lines


def test_this_machine_is_ready(device):
    lines = list(check(device))
    found = statuses(lines)
    for name in ("reached", "python", "machine", "work folder", "board", "disk", "clock"):
        assert found[name] == "ok", lines
    assert any(line.name == "runtime" and "ai_edge_litert" in line.found for line in lines)


def test_a_board_that_is_not_what_its_profile_says_is_a_warning(device):
    facts = {"cores": Fact(99, "made up"), "page_size_bytes": Fact(16384, "made up")}
    device.profile = dataclasses.replace(load_profile("local"), facts=facts)
    lines = {line.name: line for line in check(device)}
    assert (lines["cores"].status, lines["page size"].status) == ("warn", "warn")
    assert "profile local says 99" in lines["cores"].found


def test_an_accelerator_that_is_promised_and_absent_fails(device):
    device.profile = dataclasses.replace(load_profile("local"), facts={"delegate": Fact("edgetpu", "made up")})
    lines = {line.name: line for line in check(device)}
    assert lines["accelerator"].status == "fail"
    assert lines["delegate"].status == "fail"
    assert "libedgetpu" in lines["delegate"].found


def test_an_accelerator_that_may_not_be_opened_or_is_slow_is_told(device, checked):
    device.profile = dataclasses.replace(load_profile("local"), facts={"delegate": Fact("edgetpu", "made up")})
    stick = {"path": "/dev/bus/usb/001/002", "permitted": False, "speed_mbps": 480.0}
    found = statuses(checked(runtimes=[GOOD], edge_tpu={"usb": [stick], "pci": []}))
    assert {name: found[name] for name in ("permission", "usb speed", "delegate")} == {
        "permission": "fail",
        "usb speed": "warn",
        "delegate": "ok",
    }


def test_a_board_that_is_not_reached_ends_the_check_with_the_remedy():
    from edgeopt.devices import SshAddress, SshTransport

    transport = SshTransport(SshAddress("127.0.0.1", port=1))
    (line,) = check(Device(transport, load_profile("rpi4")))
    assert (line.name, line.status) == ("reached", "fail")
    assert "switch its SSH server on" in line.remedy


@pytest.mark.parametrize(
    ("free", "status"), [(None, "warn"), (10 * 2**20, "fail"), (100 * 2**20, "warn"), (2**30, "ok")]
)
def test_free_space(checked, free, status):
    assert statuses(checked(disk_free_bytes=free))["disk"] == status


@pytest.mark.parametrize(("off_s", "status"), [(0.0, "ok"), (3600.0, "warn"), (-3600.0, "warn")])
def test_a_clock_that_is_off_is_told(checked, off_s, status):
    assert statuses(checked(time_s=time.time() + off_s))["clock"] == status


@pytest.mark.parametrize(
    ("change", "name", "status"),
    [
        ({}, "governor", "ok"),
        ({"governors": ["ondemand"]}, "governor", "warn"),
        ({"governors": None}, "governor", "ok"),
        ({"temperature_c": 82.0}, "temperature", "warn"),
        ({"throttling": {"flags": ["throttled now"]}}, "throttling", "fail"),
        ({"throttling": {"flags": ["throttled since boot"]}}, "throttling", "warn"),
        ({"busy": [{"name": "x", "cores": 0.9}]}, "load", "warn"),
    ],
)
def test_the_state_of_the_board(checked, change, name, status):
    assert statuses(checked(state={**QUIET, **change}))[name] == status


def test_one_runtime_of_two_is_enough(checked):
    bad = {"name": "tflite_runtime", "version": None, "numpy": None, "problem": "not installed"}
    found = [line.status for line in checked(runtimes=[GOOD, bad]) if line.name == "runtime"]
    assert found == ["ok", "warn"]
    (line,) = [line for line in checked("edgeopt devices setup x", runtimes=[bad]) if line.name == "runtime"]
    assert (line.status, line.remedy) == ("fail", "run `edgeopt devices setup x`")
