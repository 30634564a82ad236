"""What stands between a number and the board: emulators, busy programs, accelerators."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgeopt.devices.agent import hardware
from edgeopt.devices.agent.latency import MOST_KEPT, alternate, measure
from edgeopt.devices.agent.plan import Plan


def test_this_machine_is_not_emulated():
    assert hardware.emulator() is None


def test_a_parent_that_is_qemu_gives_it_away(monkeypatch):
    monkeypatch.setattr(hardware.os, "readlink", lambda path: "/usr/bin/qemu-aarch64-static")
    assert hardware.emulator() == "qemu-user"


def test_an_agent_that_is_started_by_hand_sees_its_emulator_where_its_parent_is_roots(monkeypatch):
    def readlink(path):
        if "/task/" not in path:
            raise PermissionError(13, "Permission denied")
        return "/usr/bin/qemu-aarch64-static"

    monkeypatch.setattr(hardware.os, "readlink", readlink)
    assert hardware.emulator() == "qemu-user"


def test_qemus_own_machine_is_known_whatever_model_it_names(monkeypatch):
    monkeypatch.setattr(hardware, "_read", lambda path: "linux,dummy-virt" if path.endswith("compatible") else None)
    assert hardware.emulator() == "virtual machine"


def test_a_busy_program_is_found_with_its_share():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            found = hardware.busy_processes(1.0)
        finally:
            process.kill()
    share = {item["pid"]: item["cores"] for item in found}[process.pid]
    assert 0.1 < share <= 1.2


def test_an_idle_program_is_not(monkeypatch):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        hardware.busy_processes(0.5)  # while it starts
        found = hardware.busy_processes(0.5)
        process.communicate(b"\n")
    assert process.pid not in [item["pid"] for item in found]


def test_a_process_name_with_brackets_and_blanks_is_read(monkeypatch):
    text = "7 (a) b (c)) S 1 " + " ".join(str(number) for number in range(5, 53))
    monkeypatch.setattr(hardware.os, "listdir", lambda path: ["7", "self"])
    monkeypatch.setattr(hardware, "_read", lambda path: text)
    assert hardware._cpu_ticks() == {7: ("a) b (c)", 14 + 15)}  # utime and stime are fields 14 and 15 (proc(5))


def test_no_edge_tpu_is_no_error():
    assert set(hardware.edge_tpu()) == {"library", "usb", "pci"}


def test_two_models_are_timed_in_turns_and_the_ratio_is_theirs():
    plan = Plan(warmup_runs=1, warmup_seconds=0, min_runs=1, min_seconds=0, max_seconds=0.2)
    found = alternate(lambda: 2_000_000, lambda: 1_000_000, plan, lambda *args: None)
    assert set(found["first_ns"]) == {2_000_000}
    assert set(found["second_ns"]) == {1_000_000}
    assert len(found["first_ns"]) == len(found["second_ns"])


def test_a_long_timing_is_looked_at_and_its_samples_thinned():
    looks = []
    runs = 2 * MOST_KEPT + 10
    plan = Plan(0, 0.0, runs, runs, 0.0, 60.0, 0.01, processes=1)
    found = measure(lambda: 5, plan, lambda *args: None, lambda seconds, count: looks.append(count))
    assert found["runs"] == runs
    assert found["kept_every"] > 1
    assert len(found["samples_ns"]) <= MOST_KEPT
    assert looks == sorted(looks)
    assert looks


@pytest.mark.parametrize("every", [0.0])
def test_without_asking_nobody_looks(every):
    looks = []
    measure(lambda: 5, Plan(1, 0.0, 50, 50, 0.0, 1.0, every), lambda *args: None, lambda *args: looks.append(args))
    assert looks == []
