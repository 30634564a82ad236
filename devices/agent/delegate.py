"""External delegates: which library and device a name means, and what to say when one does not load.

libedgetpu gives no reason when it refuses (the message is empty), so the reason is looked for on the board: is the
library there, is a chip there, may this user open it, is the runtime new enough for the file?
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from typing import Any, Dict, NamedTuple, Optional, Tuple

from .hardware import EDGE_TPU_LIBRARY, edge_tpu
from .protocol import AgentError
from .records import EdgeTpu, EdgeTpuFacts

EDGE_TPU = "edgetpu"
# As pycoral names devices: "usb", "usb:0", "pci", "pci:1", ":1".
_DEVICE = re.compile(r"^(usb|pci)(:\d+)?$|^:\d+$")
_ENTRY = "tflite_plugin_create_delegate"
_RUNTIME_VERSION = re.compile(r"RuntimeVersion\((\d+)\)")


class Wanted(NamedTuple):
    """A delegate as it is to be loaded: the library, its options, and whether it is the Edge TPU's."""

    library: str
    options: Dict[str, str]
    is_edge_tpu: bool


def parse(text: str) -> Wanted:
    """Return what a delegate's name means.

    "edgetpu" is libedgetpu on any chip; "edgetpu:usb:0" or pycoral's own "usb:0" names the chip; all else is the path
    or name of a shared library.

    Raises:
        AgentError: "edgetpu:" is followed by no device.

    Example:
        >>> parse("usb:0")
        Wanted(library='libedgetpu.so.1', options={'device': 'usb:0'}, is_edge_tpu=True)
    """
    if text == EDGE_TPU:
        return Wanted(EDGE_TPU_LIBRARY, {}, True)
    device = text[len(EDGE_TPU) + 1 :] if text.startswith(EDGE_TPU + ":") else text
    if _DEVICE.match(device):
        return Wanted(EDGE_TPU_LIBRARY, {"device": device}, True)
    if device != text:
        message = "%r names no Edge TPU; expected edgetpu:usb, edgetpu:usb:0, edgetpu:pci or edgetpu::1"
        raise AgentError("request", message % text)
    return Wanted(text, {}, os.path.basename(text).startswith("libedgetpu"))


def load(module: Any, text: str, minimum_runtime: Optional[int] = None) -> Any:
    """Load a delegate with a TFLite runtime's own loader.

    A library that does not match the runtime may kill the process here.

    Args:
        module: The runtime's `interpreter` module.
        text: The delegate's name, as `parse` takes it.
        minimum_runtime: The oldest Edge TPU runtime that the model runs with, 10 to 14; None where it is not known.

    Raises:
        AgentError: It cannot be loaded; the message says why, and what helps.
    """
    wanted = parse(text)
    library = _open(wanted)
    if wanted.is_edge_tpu:
        check_runtime(runtime_version(library), minimum_runtime)
    try:
        return module.load_delegate(wanted.library, wanted.options)
    except (ValueError, OSError) as error:
        said = " ".join(str(error).split())
        raise _error(*refusal(wanted, said, edge_tpu())) from error


def _error(message: str, remedy: str) -> AgentError:
    return AgentError("delegate", message, remedy=remedy)


def _open(wanted: Wanted) -> Any:
    """Return the library, after making sure that it is a delegate."""
    try:
        library = ctypes.CDLL(wanted.library)
    except OSError as error:
        message = "the library %s cannot be opened (%s)" % (wanted.library, error)
        remedy = "install libedgetpu1-std from Google's Coral package repository" if wanted.is_edge_tpu else None
        raise _error(message, remedy or "give the path of a shared library on this device") from error
    if not hasattr(library, _ENTRY):
        message = "the library %s is no TFLite delegate (it lacks %s)" % (wanted.library, _ENTRY)
        raise _error(message, "name a library that is one")
    return library


def runtime_version(library: Any) -> Optional[int]:
    """Return the version of an Edge TPU runtime, as ``edgetpu_version()`` states it; None where it does not."""
    if not hasattr(library, "edgetpu_version"):
        return None
    library.edgetpu_version.restype = ctypes.c_char_p
    match = _RUNTIME_VERSION.search((library.edgetpu_version() or b"").decode("utf-8", "replace"))
    return int(match.group(1)) if match else None


def check_runtime(found: Optional[int], needed: Optional[int]) -> None:
    """Raise when the board's Edge TPU runtime is older than the file needs.

    Raises:
        AgentError: It is.
    """
    if found is not None and needed is not None and found < needed:
        message = "the Edge TPU runtime here is version %d, but the model was compiled for %d or newer"
        raise _error(message % (found, needed), "update libedgetpu1-std, or compile with --min-runtime %d" % found)


def refusal(wanted: Wanted, said: str, hardware: EdgeTpu) -> Tuple[str, str]:
    """Return why a delegate refused and what helps, from what it said and from what is on the board.

    Args:
        wanted: The delegate that was asked for, as `parse` returns it.
        said: Its own message, which is empty where it is libedgetpu.
        hardware: As `hardware.edge_tpu` returns it.
    """
    if not wanted.is_edge_tpu:
        return "the delegate %s refused (%s)" % (wanted.library, said), "see its own documentation"
    device = wanted.options.get("device", "")
    kinds = ["usb"] if device.startswith("usb") else ["pci"] if device.startswith("pci") else ["usb", "pci"]
    found = {"usb": hardware["usb"], "pci": hardware["pci"]}
    chips = [chip for kind in kinds for chip in found[kind]]
    if not chips:
        place = {"usb": "on USB (lsusb shows 1a6e:089a or 18d1:9302)", "pci": "on PCIe (a driver makes /dev/apex_0)"}
        where = " or ".join(place[kind] for kind in kinds)
        return "no Edge TPU was found %s" % where, "plug it in, or load its driver"
    barred = [chip["path"] for chip in chips if not chip["permitted"]]
    if len(barred) == len(chips):
        remedy = "join the group of its udev rule (plugdev for USB, apex for PCIe), log in again, and replug it"
        return "this user may not open the Edge TPU at %s" % barred[0], remedy
    number = device.rpartition(":")[2]
    if number.isdigit() and int(number) >= len(chips):
        return "device %r was asked for, but %d are here, counted from 0" % (device, len(chips)), "name one of them"
    remedy = (
        "end other programs that hold it, try another cable or more power, or match the library and the TFLite runtime"
    )
    return "libedgetpu refused the Edge TPU at %s (%s)" % (chips[0]["path"], said or "without a reason"), remedy


def unresolved(text: str) -> Optional[AgentError]:
    """Return the error that a runtime's complaint about a compiled model's custom operator means, or None."""
    plain = "run the file that it was compiled from"
    if "edgetpu-custom-op" in text:
        message = (
            "the model is compiled for the Edge TPU, and was run without it (unresolved custom op: edgetpu-custom-op)"
        )
        return AgentError("unsupported", message, remedy="pass the delegate edgetpu, or " + plain)
    if "Lce" in text:
        message = "the model has binary layers (%s), which this runtime does not know" % text
        return AgentError("unsupported", message, remedy="run it with the runtime larq_compute_engine")
    if "ethos-u" in text:
        return AgentError("unsupported", "the model is compiled for an Ethos-U microcontroller", remedy=plain)
    return None


def edge_tpu_facts(text: str) -> EdgeTpuFacts:
    """Return what a result says of the Edge TPU it was taken on: device, runtime version, USB speed, temperature."""
    wanted = parse(text)
    version = None
    with contextlib.suppress(OSError):
        version = runtime_version(ctypes.CDLL(wanted.library))
    return {"device": wanted.options.get("device", "any"), "runtime_version": version, **edge_tpu()}
