"""What Vela reports: its summary CSV, and its reasons for leaving operators on the CPU."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

from ...errors import CompilerError, printable

_KIB = 1024
_LONGEST = 1000  # characters of a text
_MOST = 1e18
_REFUSAL = re.compile(r"^Warning \(supported operators\) operator: (\S+), ofm: '(.*)'$")
# column of the CSV -> (our name with its unit, factor to it)
_NUMBERS: dict[str, tuple[str, float]] = {
    "sram_memory_used": ("sram_bytes", _KIB),
    "dram_memory_used": ("dram_bytes", _KIB),
    "on_chip_flash_memory_used": ("on_chip_flash_bytes", _KIB),
    "off_chip_flash_memory_used": ("off_chip_flash_bytes", _KIB),
    "cycles_npu": ("npu_cycles", 1),
    "cycles_total": ("estimated_cycles", 1),
    "nn_macs": ("macs", 1),
    "core_clock": ("clock_hz", 1),
}


def read_summary(text: str) -> dict[str, Any]:
    """Return the figures of a summary CSV: bytes, cycles, inferences a second, all of them Vela's estimates.

    Raises:
        CompilerError: A column is missing or is no number.
    """
    try:
        row = list(csv.DictReader(io.StringIO(text)))[-1]
        figures: dict[str, object] = {
            name: round(_finite(row[column]) * factor) for column, (name, factor) in _NUMBERS.items()
        }
        # Of a model that is not mapped there is no time: Vela writes nan.
        rate, seconds = float(row["inferences_per_second"]), float(row["inference_time"])
        figures["inferences_per_second"] = rate if math.isfinite(rate) else None
        figures["inference_ms"] = seconds * 1000 if abs(seconds) < _MOST else None
        figures["system_config"] = printable(row["system_config"][:_LONGEST])
        figures["memory_mode"] = printable(row["memory_mode"][:_LONGEST])
    except (LookupError, ValueError, TypeError, csv.Error) as error:
        raise CompilerError(f"Vela's summary has no usable {error}; install ethos-u-vela 5.2.") from error
    return figures


def _finite(text: str) -> float:
    """Return a number of a summary; figures beyond what counts memory and cycles are none."""
    number = float(text)
    if not abs(number) < _MOST:
        raise ValueError(f"figure {text[:20]!r}")
    return number


def read_reasons(log: str) -> dict[str, str]:
    """Return why operators were left, by the name of the tensor that each writes.

    Example:
        >>> read_reasons("Warning (supported operators) operator: CUSTOM, ofm: 'poses'\\nReason: Unsupported opType\\n")
        {'poses': 'Unsupported opType'}
    """
    found: dict[str, str] = {}
    name: str | None = None
    for line in log.splitlines():
        line = printable(line[:_LONGEST])
        match = _REFUSAL.match(line.strip())
        if match:
            name = match.group(2)
        elif name is not None and line.startswith("Reason: "):
            found[name] = line.removeprefix("Reason: ").strip()
            name = None
    return found
