"""Is a board ready? Each fact of it as ok, warn or fail, with what helps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

from ..errors import EdgeoptError
from .agent.records import EdgeTpu, Info, Installation, State
from .device import Device
from .transport.base import Transport
from .transport.remote import ask_python

OK, WARN, FAIL = "ok", "warn", "fail"

OLDEST_PYTHON = (3, 7)
QUICK_S = 60.0
LOW_DISK_BYTES = 200 * 2**20
NO_DISK_BYTES = 20 * 2**20
CLOCK_OFF_S = 120.0
HOT_C = 75.0
USB3_MBPS = 5000.0

_PYTHON = "{'version': list(sys.version_info[:3]), 'machine': platform.machine()}"


class _Python(TypedDict):
    version: list[int]
    machine: str


@dataclass(frozen=True)
class Line:
    """One fact: what was looked at, whether it is as it should be, what was found, and what helps if not."""

    name: str
    status: str
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the fields."""
        return dict(vars(self))


def check(device: Device, setup: str = "edgeopt devices setup NAME") -> Iterator[Line]:
    """Yield a line for each fact of a device, as it is found out; the first failure that bars the rest ends it.

    Args:
        device: The board, which is contacted, and stays open.
        setup: The command that installs a runtime on it, as the remedies name it.
    """
    for step in (_reached, _python, _ready):
        try:
            lines = list(step(device, setup))
        except EdgeoptError as error:
            yield Line(step.__name__.strip("_"), FAIL, *_split(str(error)))
            return
        yield from lines
        if any(line.status == FAIL and line.name == step.__name__.strip("_") for line in lines):
            return


def _reached(device: Device, setup: str) -> Iterator[Line]:
    transport = device.transport
    yield Line("reached", OK, f"{transport.name}, work folder {transport.workdir}")


def _python(device: Device, setup: str) -> Iterator[Line]:
    found = ask_python(device.transport, _PYTHON, "platform, sys", _Python, timeout_s=QUICK_S)
    version = ".".join(map(str, found["version"]))
    new = tuple(found["version"][:2]) >= OLDEST_PYTHON
    remedy = "" if new else "install Python 3.7 or later, and name it with --python"
    yield Line("python", OK if new else FAIL, f"{_program(device.transport)} is {version}", remedy)
    yield _expected(device, "machine", found["machine"], "machine", "another system than the profile says: check both")


def _ready(device: Device, setup: str) -> Iterator[Line]:
    """All that the agent itself can tell."""
    wanted = device.profile.expected("delegate")
    delegate = wanted if wanted not in (None, "none") else None
    sent = time.time()
    info = device.info()
    arrived = time.time()
    yield Line("work folder", OK, "the agent was stored and runs")
    yield from _board_lines(device, info)
    yield from _runtime_lines(info["runtimes"], setup)
    yield _disk(info["disk_free_bytes"])
    yield _clock(info["time_s"], sent, arrived)
    yield from _state_lines(info["state"])
    if delegate is not None:
        yield from _delegate_lines(device, delegate, info["edge_tpu"])


def _board_lines(device: Device, info: Info) -> Iterator[Line]:
    board = info["board"]
    yield Line("board", OK, f"{board['model'] or 'model unknown'}, kernel {board['kernel']}, {board['libc']}")
    if board["emulated"]:
        remedy = "take latencies on a real board"
        yield Line("emulation", WARN, f"{board['emulator']}: latencies are not a measurement", remedy)
    yield _expected(
        device, "cores", board["cores"], "cores", "the profile is of another board, or cores are switched off"
    )
    pages = "another kernel than usual: drivers and programs built for other page sizes may fail"
    yield _expected(device, "page_size_bytes", board["page_size_bytes"], "page size", pages)


def _runtime_lines(runtimes: list[Installation], setup: str) -> Iterator[Line]:
    usable = [item for item in runtimes if item["problem"] is None]
    for item in runtimes:
        if item["problem"] is None:
            yield Line("runtime", OK, f"{item['name']} {item['version']} with NumPy {item['numpy']}")
        elif usable:
            yield Line("runtime", WARN, f"{item['name']}: {item['problem']}", "nothing, if the other one will do")
    if not usable:
        reasons = "; ".join(f"{item['name']}: {item['problem']}" for item in runtimes)
        yield Line("runtime", FAIL, reasons, f"run `{setup}`")


def _disk(free: int | None) -> Line:
    if free is None:
        return Line("disk", WARN, "free space unknown", "check it with df")
    found = f"{free / 2**20:.0f} MiB free"
    if free < NO_DISK_BYTES:
        return Line("disk", FAIL, found, "free some space")
    return Line("disk", OK, found) if free >= LOW_DISK_BYTES else Line("disk", WARN, found, "free some space soon")


def _clock(board_s: float, sent: float, arrived: float) -> Line:
    """Compare the board's clock with ours, which it read somewhere between `sent` and `arrived`."""
    off = max(sent - board_s, board_s - arrived, 0.0)
    if off > CLOCK_OFF_S:
        return Line(
            "clock", WARN, f"off by {off:.0f} s", "set it: sudo timedatectl set-ntp true; certificates may fail"
        )
    return Line("clock", OK, "agrees with this machine's")


def _state_lines(state: State) -> Iterator[Line]:
    governors = state["governors"]
    if governors is None:
        yield Line("governor", OK, "none (no clock scaling to be seen)")
    else:
        fixed = governors == ["performance"]
        remedy = (
            ""
            if fixed
            else "for steady numbers: echo performance | sudo tee /sys/devices/system/cpu/*/cpufreq/scaling_governor"
        )
        yield Line("governor", OK if fixed else WARN, " ".join(governors), remedy)
    heat = state["temperature_c"]
    if heat is not None:
        yield Line("temperature", OK if heat < HOT_C else WARN, f"{heat:.0f} °C", "" if heat < HOT_C else "cool it")
    if state["throttling"] is not None:
        flags = state["throttling"]["flags"]
        now = [flag for flag in flags if flag.endswith("now")]
        remedy = "use a stronger supply and a cooler" if flags else ""
        yield Line("throttling", FAIL if now else WARN if flags else OK, ", ".join(flags) or "none", remedy)
    busy = ", ".join(f"{item['name']} ({item['cores']} cores)" for item in state["busy"] or [])
    yield Line("load", WARN if busy else OK, busy or "nothing else runs", "end it before a benchmark" if busy else "")


def _delegate_lines(device: Device, delegate: str, found: EdgeTpu) -> Iterator[Line]:
    """The accelerator that the profile promises: there, permitted, fast, and does it load?"""
    chips = found["usb"] + found["pci"]
    if not chips:
        yield Line("accelerator", FAIL, "no Edge TPU is to be seen on USB or PCIe", "plug it in; check lsusb and lspci")
    for chip in chips:
        if not chip["permitted"]:
            yield Line("permission", FAIL, f"{chip['path']} may not be opened", "join its group: plugdev or apex")
        speed = chip.get("speed_mbps")
        if speed is not None and speed < USB3_MBPS:
            yield Line("usb speed", WARN, f"{speed:g} Mbit/s", "use a USB 3 port and its own cable")
    loaded = device.info(delegate)["runtimes"]
    good = [item["name"] for item in loaded if item["problem"] is None]
    problems = "; ".join(f"{item['name']}: {item['problem']}" for item in loaded if item["problem"])
    remedy = "" if good else "install libedgetpu of the runtime's own version"
    yield Line("delegate", OK if good else FAIL, f"loads with {', '.join(good)}" if good else problems, remedy)


def _expected(device: Device, fact: str, found: Any, name: str, remedy: str) -> Line:
    wanted = device.profile.expected(fact)
    if wanted is None or found == wanted:
        return Line(name, OK, str(found))
    return Line(name, WARN, f"{found}; profile {device.profile.name} says {wanted}", remedy)


def _program(transport: Transport) -> str:
    return " ".join(transport.python)


def _split(message: str) -> tuple[str, str]:
    """Return an error's sentence as what was found and what helps."""
    found, _, remedy = message.partition("; ")
    return found, remedy.rstrip(".")
