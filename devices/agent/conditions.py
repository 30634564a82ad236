"""What a board is, and the state it is in: the facts without which a latency means nothing. Standard library only.

Every fact may be missing (a container, an emulator, a kernel without cpufreq): it is then None or left out, never
guessed.
"""

from __future__ import annotations

import glob
import os
import platform
import shutil
import subprocess
from typing import Dict, List, Optional

from .hardware import busy_processes, emulator, power_w
from .records import State, Throttling

VCGENCMD_TIMEOUT_S = 2

# Bits of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd").
THROTTLED_BITS = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "frequency capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}


def board() -> Dict[str, object]:
    """Return what does not change between two runs: model, CPU, kernel, memory, Python."""
    emulated_by = emulator()
    return {
        "model": _text("/proc/device-tree/model"),
        "cpu_model": _cpu_model(),
        "machine": platform.machine(),
        "cores": cores(),
        "kernel": platform.release(),
        "page_size_bytes": os.sysconf("SC_PAGE_SIZE"),
        "memory_bytes": memory_bytes("MemTotal"),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        "emulator": emulated_by,
        "emulated": emulated_by is not None,
    }


def state(busy: bool = True) -> State:
    """Return what does: governor, clock, temperature, throttling, power, load, free memory, busy programs.

    Args:
        busy: Whether to look for other busy programs, which takes a fifth of a second.
    """
    cpus = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/"
    clocks = [int(text) for text in _texts(cpus + "scaling_cur_freq") if text.isdigit()]
    return {
        "governors": sorted(set(_texts(cpus + "scaling_governor"))) or None,
        "frequency_mhz": max(clocks) / 1000 if clocks else _cpuinfo_mhz(),
        "temperature_c": _temperature_c(),
        "throttling": throttling(),
        "load_average": list(os.getloadavg()),
        "memory_available_bytes": memory_bytes("MemAvailable"),
        "power_w": power_w(),
        "busy": busy_processes() if busy else None,
    }


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # not Linux


def memory_bytes(field: str) -> Optional[int]:
    """Return a line of /proc/meminfo ("MemTotal", "MemAvailable") in bytes."""
    kib = _fields("/proc/meminfo").get(field, "").split(" ")[0]
    return int(kib) * 1024 if kib.isdigit() else None


def resident_bytes(peak: bool = False) -> Optional[int]:
    """Return the memory that this process has in RAM now, or the most that it has had since it started."""
    return _own_bytes("VmHWM" if peak else "VmRSS")


def heap_bytes() -> Optional[int]:
    """Return the memory that this process has in RAM now without what lies in files: not its code, and no model."""
    return _own_bytes("RssAnon")


def _own_bytes(field: str) -> Optional[int]:
    kib = _fields("/proc/self/status").get(field, "").split(" ")[0]
    return int(kib) * 1024 if kib.isdigit() else None


def throttling() -> Optional[Throttling]:
    """Return what a Raspberry Pi's firmware says of throttling, decoded; None on other boards."""
    if shutil.which("vcgencmd") is None:
        return None
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=VCGENCMD_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return decode_throttled(done.stdout.decode("ascii", "replace"))


def decode_throttled(answer: str) -> Optional[Throttling]:
    """Return the meaning of ``throttled=0x50005``; None when the answer is another.

    Example:
        >>> decode_throttled("throttled=0x4")
        {'raw': '0x4', 'flags': ['throttled now']}
    """
    name, _, number = answer.strip().partition("=")
    try:
        bits = int(number, 16)
    except ValueError:
        return None
    if name != "throttled":
        return None
    return {"raw": hex(bits), "flags": [text for bit, text in THROTTLED_BITS.items() if bits >> bit & 1]}


def _cpu_model() -> Optional[str]:
    """Return the CPU's name: x86 states it; Arm states part numbers, which are given as they are."""
    fields = _fields("/proc/cpuinfo")
    if "model name" in fields:
        return fields["model name"]
    if "CPU part" in fields:
        return "implementer %s part %s" % (fields.get("CPU implementer", "?"), fields["CPU part"])
    return None


def _cpuinfo_mhz() -> Optional[float]:
    try:
        return float(_fields("/proc/cpuinfo").get("cpu MHz", ""))
    except ValueError:
        return None


def _temperature_c() -> Optional[float]:
    """Return the hottest thermal zone, in degrees Celsius."""
    zones = _texts("/sys/class/thermal/thermal_zone*/temp")
    found = [int(text) / 1000 for text in zones if text.lstrip("-").isdigit()]
    return max(found) if found else None


def _fields(path: str) -> Dict[str, str]:
    """Return the ``name: value`` lines of a file; the first of one name wins."""
    fields: Dict[str, str] = {}
    for line in (_text(path) or "").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _texts(pattern: str) -> List[str]:
    found = [_text(path) for path in sorted(glob.glob(pattern))]
    return [text for text in found if text]


def _text(path: str) -> Optional[str]:
    """Return the text of a file of /proc or /sys, or None where it is absent, unreadable or empty."""
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "replace").strip("\0\n ") or None
    except OSError:
        return None
