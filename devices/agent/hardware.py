"""What else stands between a number and the board: emulators, other programs, power sensors, accelerators.

Standard library only. Every fact may be missing: it is then None, an empty list, or left out; never guessed.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import glob
import os
import time
from typing import Dict, List, NamedTuple, Optional

from .records import Busy, Chip, EdgeTpu

BUSY_INTERVAL_S = 0.2
BUSY_SHARE = 0.1  # of one core; less is the noise of an idle system

EDGE_TPU_LIBRARY = "libedgetpu.so.1"
# USB vendor and product of the Coral USB Accelerator, before and after its firmware is loaded.
_EDGE_TPU_USB = (("1a6e", "089a"), ("18d1", "9302"))


def emulator() -> Optional[str]:
    """Return what this board is emulated by ("qemu-user", "virtual machine"), or None for a real one.

    qemu-user shows its guest the guest's own /proc/self/exe, but by way of its threads, or of its parent, the link
    leads to the emulator. (The parent may be another user's, whose link is not to be read.) "linux,dummy-virt" is what
    QEMU calls its arm64 machine, whatever model it is made to name.
    """
    for path in ("/proc/self/task/%d/exe" % os.getpid(), "/proc/%d/exe" % os.getppid()):
        with contextlib.suppress(OSError):
            if os.path.basename(os.readlink(path)).startswith("qemu-"):
                return "qemu-user"
    if "linux,dummy-virt" in (_read("/proc/device-tree/compatible") or ""):
        return "virtual machine"
    return None


class _Usage(NamedTuple):
    name: str
    ticks: int


def busy_processes(interval_s: float = BUSY_INTERVAL_S) -> List[Busy]:
    """Return the other processes that take more than a tenth of a core now: ``name``, ``pid``, ``cores``."""
    before = _cpu_ticks()
    start = time.monotonic()
    time.sleep(interval_s)
    after = _cpu_ticks()
    seconds = time.monotonic() - start
    per_second = os.sysconf("SC_CLK_TCK")
    own = {os.getpid(), os.getppid()}
    found: List[Busy] = []
    for pid, usage in after.items():
        if pid in own or pid not in before:
            continue
        cores = (usage.ticks - before[pid].ticks) / per_second / seconds
        if cores > BUSY_SHARE:
            found.append({"name": usage.name, "pid": pid, "cores": round(cores, 2)})
    return sorted(found, key=lambda item: -item["cores"])


def power_w() -> Optional[float]:
    """Return what power sensors (INA chips and the like, of hwmon) read now, in watts; None without one."""
    readings = [_read(path) for path in sorted(glob.glob("/sys/class/hwmon/hwmon*/power*_input"))]
    values = [int(text) / 1e6 for text in readings if text and text.isdigit()]
    return sum(values) if values else None


def edge_tpu() -> EdgeTpu:
    """Return what is there for an Edge TPU.

    Returns:
        ``library`` (whether the loader finds it), ``usb`` (``speed_mbps``, ``permitted`` of each stick) and ``pci``
        (``path``, ``permitted``, ``temperature_c`` of each chip).
    """
    library = ctypes.util.find_library("edgetpu") or _library_file()
    return {"library": library, "usb": _edge_tpu_usb(), "pci": _edge_tpu_pci()}


def _library_file() -> Optional[str]:
    places = glob.glob("/usr/lib/*/" + EDGE_TPU_LIBRARY) + glob.glob("/usr/lib/" + EDGE_TPU_LIBRARY)
    return places[0] if places else None


def _edge_tpu_usb() -> List[Chip]:
    found: List[Chip] = []
    for folder in sorted(glob.glob("/sys/bus/usb/devices/*")):
        if (_read(folder + "/idVendor"), _read(folder + "/idProduct")) in _EDGE_TPU_USB:
            bus, device = _read(folder + "/busnum") or "0", _read(folder + "/devnum") or "0"
            node = "/dev/bus/usb/%03d/%03d" % (int(bus), int(device))
            speed = _read(folder + "/speed") or ""
            found.append(
                {
                    "path": node,
                    "speed_mbps": float(speed) if speed.replace(".", "").isdigit() else None,
                    "permitted": os.access(node, os.R_OK | os.W_OK),
                }
            )
    return found


def _edge_tpu_pci() -> List[Chip]:
    found: List[Chip] = []
    for node in sorted(glob.glob("/dev/apex_*")):
        heat = _read("/sys/class/apex/%s/temp" % os.path.basename(node)) or ""
        found.append(
            {
                "path": node,
                "permitted": os.access(node, os.R_OK | os.W_OK),
                "temperature_c": int(heat) / 1000 if heat.isdigit() else None,
            }
        )
    return found


def _cpu_ticks() -> Dict[int, _Usage]:
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        text = _read("/proc/%s/stat" % name)
        if text is None or ")" not in text:  # it has just ended
            continue
        # "pid (name) state ppid ...": the name may hold anything, also blanks and brackets.
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        found[int(name)] = _Usage(head.partition("(")[2], int(fields[11]) + int(fields[12]))
    return found


def _read(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "replace").strip("\0\n ") or None
    except OSError:
        return None
