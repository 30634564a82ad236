"""Devices: shipping an artifact to one, running it there, and bringing the numbers back.

Importing this package is instant; the names below are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench import BenchReport, bench_plan
    from .boards.profile import Profile, load_profile, profile_names
    from .device import Device
    from .measurement import Evaluation, KernelProfile, Latency, Measurement, Output
    from .pack import pack_agent
    from .parity import Limits, ParityReport
    from .pipeline import PipelinePart, PipelineReport
    from .plans import BenchPlan, RunOptions
    from .runner import Progress, Timeouts
    from .transport.base import LocalTransport, Transport
    from .transport.fake import DeviceGone, FakeTransport
    from .transport.ssh import SshAddress, SshTransport

# module -> the public names that it defines
_DEFINED = {
    "bench": ("BenchReport", "bench_plan"),
    "boards.profile": ("Profile", "load_profile", "profile_names"),
    "device": ("Device",),
    "measurement": ("Evaluation", "KernelProfile", "Latency", "Measurement", "Output"),
    "pack": ("pack_agent",),
    "parity": ("Limits", "ParityReport"),
    "pipeline": ("PipelinePart", "PipelineReport"),
    "plans": ("BenchPlan", "RunOptions"),
    "runner": ("Progress", "Timeouts"),
    "transport.base": ("LocalTransport", "Transport"),
    "transport.fake": ("DeviceGone", "FakeTransport"),
    "transport.ssh": ("SshAddress", "SshTransport"),
}
_PUBLIC = {name: module for module, names in _DEFINED.items() for name in names}

__all__ = [
    "BenchPlan",
    "BenchReport",
    "Device",
    "DeviceGone",
    "Evaluation",
    "FakeTransport",
    "KernelProfile",
    "Latency",
    "Limits",
    "LocalTransport",
    "Measurement",
    "Output",
    "ParityReport",
    "PipelinePart",
    "PipelineReport",
    "Profile",
    "Progress",
    "RunOptions",
    "SshAddress",
    "SshTransport",
    "Timeouts",
    "Transport",
    "bench_plan",
    "load_profile",
    "pack_agent",
    "profile_names",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgeopt.devices' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
