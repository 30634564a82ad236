"""Making a board ready: a virtual environment of edgeopt's own, with NumPy and the runtime that fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ...errors import DeviceError, UsageError
from ..transport.remote import Finished, ask_python, run_program
from ..transport.ssh import SshTransport
from .runtimes import NUMPY_FROM_SYSTEM, BoardFacts, Wheel, choose

VENV = "venv"
QUICK_S = 60.0
INSTALL_S = 1200.0

_FACTS = (
    "{'python': list(sys.version_info[:2]), 'machine': platform.machine(), 'libc': list(platform.libc_ver()), "
    "'venv': [bool(importlib.util.find_spec(name)) for name in ('venv', 'ensurepip')], "
    "'bits': 64 if sys.maxsize > 2**32 else 32}"
)


class _Facts(TypedDict):
    python: tuple[int, int]
    machine: str
    libc: tuple[str, str]
    venv: list[bool]
    bits: int


@dataclass(frozen=True)
class Installed:
    """What `set_up` has installed.

    Attributes:
        python: The new Python on the board, for the inventory.
        runtime: The release of the TFLite runtime that was chosen for the board.
        facts: The board's Python, machine and C library, which decided on the release.
        shipped: The file names of the wheels that came from the host; empty when the board fetched them itself.
    """

    python: str
    runtime: Wheel
    facts: BoardFacts
    shipped: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        facts = {"python": list(self.facts.python), "glibc": list(self.facts.glibc), "machine": self.facts.machine}
        runtime = {"package": self.runtime.package, "version": self.runtime.version}
        return {"python": self.python, "runtime": runtime, "board": facts, "shipped": list(self.shipped)}


def board_facts(transport: SshTransport) -> BoardFacts:
    """Ask the board's Python what decides on the runtime.

    Raises:
        DeviceError: There is no Python 3, its venv module is missing, or the C library is not glibc.
    """
    found = ask_python(transport, _FACTS, "importlib.util, platform, sys", _Facts, timeout_s=QUICK_S)
    if not all(found["venv"]):
        remedy = "install it: sudo apt install python3-venv"
        raise DeviceError(f"Python on {transport.name} cannot make virtual environments; {remedy}.")
    name, version = found["libc"]
    glibc = re.match(r"(\d{1,4})\.(\d{1,4})", version, re.ASCII)
    if name != "glibc" or glibc is None:
        raise DeviceError(f"{transport.name} has the C library {name or 'unknown'!r}; the runtimes need glibc.")
    machine = "armv7l" if found["bits"] == 32 and found["machine"] == "aarch64" else found["machine"]
    major, minor = found["python"]
    return BoardFacts((major, minor), (int(glibc[1]), int(glibc[2])), machine)


def set_up(
    transport: SshTransport,
    *,
    runtime: str | None = None,
    wheelhouse: Path | None = None,
    adopt: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Installed:
    """Make a virtual environment in the work folder of a board, and install NumPy and a runtime there.

    Args:
        transport: The board, with the Python to start from.
        runtime: "ai-edge-litert" or "tflite-runtime"; None takes the best that was built for the board.
        wheelhouse: A folder of .whl files of this host, for a board without internet.
        adopt: Take over a work folder from before edgeopt marked its own, if it holds nothing else.
        say: Takes a line on each step, to be shown to the user; by default they are dropped.

    Raises:
        UsageError: The wheelhouse lacks a wheel.
        DeviceError: No runtime was built for the board, an installation failed, or the work folder is not edgeopt's.
    """
    transport.claim(adopt=adopt, timeout_s=QUICK_S)
    facts = board_facts(transport)
    chosen = choose(facts, runtime)
    wheels = None if wheelhouse is None else fitting_wheels(wheelhouse, facts, chosen)
    say(f"{transport.name} has {facts}: installing {chosen.package} {chosen.version}")
    folder = f"{transport.workdir}/{VENV}"
    system = ["--system-site-packages"] if facts.machine in NUMPY_FROM_SYSTEM else []
    _must(
        run_program(
            transport, [*transport.python, "-I", "-m", "venv", "--clear", *system, folder], timeout_s=INSTALL_S
        ),
        transport, "make a virtual environment", "install python3-venv and free some space",
    )  # fmt: skip
    python = f"{folder}/bin/python"
    source: list[str] = []
    if wheels is not None:
        say(f"sending {len(wheels)} wheels")
        source = ["--no-index", "--find-links", _ship(transport, wheels)]
    numpy = [] if facts.machine in NUMPY_FROM_SYSTEM else [chosen.numpy]
    pip = [python, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    pip.append("--only-binary=:all:")
    wanted = [f"{chosen.package}=={chosen.version}", *numpy]
    remedy = "check its internet connection, or ship wheels from here with --wheelhouse"
    if wheels is not None:
        remedy = "complete the wheelhouse with `pip download`"
    done = run_program(transport, [*pip, *source, *wanted], timeout_s=INSTALL_S)
    _must(done, transport, f"install {wanted[0]}", remedy)
    return Installed(python, chosen, facts, tuple(path.name for path in wheels or []))


def fitting_wheels(folder: Path, facts: BoardFacts, chosen: Wheel) -> list[Path]:
    """Return the wheels of a folder that a board can use.

    Raises:
        UsageError: The folder holds no wheel of the chosen runtime, or none of NumPy, for the board.
    """
    found = [path for path in sorted(folder.glob("*.whl")) if _fits(path.name, facts)]
    names = {_distribution(path.name) for path in found}
    needed = {chosen.module} | (set() if facts.machine in NUMPY_FROM_SYSTEM else {"numpy"})
    missing = sorted(needed - names)
    if missing:
        tag = f"{facts.python[0]}.{facts.python[1]}"
        platforms = f"--platform manylinux2014_{facts.machine} --platform manylinux_2_28_{facts.machine}"
        command = f"pip download --only-binary=:all: --python-version {tag} {platforms} -d {folder}"
        raise UsageError(
            f"{folder} has no wheel of {' or '.join(missing)} for {facts}; get it with "
            f"`{command} {chosen.package}=={chosen.version} '{chosen.numpy}'`."
        )
    return found


def _fits(name: str, facts: BoardFacts) -> bool:
    """Whether a wheel's file name names the board's Python and machine (PEP 427, PEP 600)."""
    parts = name.removesuffix(".whl").split("-")
    if len(parts) not in (5, 6):
        return False
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    if not any(platform == "any" or platform.endswith(f"_{facts.machine}") for platform in platforms):
        return False
    major, minor = facts.python
    own = f"cp{major}{minor}"
    stable = "abi3" in abis and any(tag[2:].isdigit() and int(tag[3:] or 0) <= minor for tag in pythons)
    return own in pythons or stable or f"py{major}" in pythons


def _distribution(name: str) -> str:
    return name.split("-")[0].lower().replace(".", "_")


def _ship(transport: SshTransport, wheels: list[Path]) -> str:
    """Send the wheels, and return a folder on the board in which they have their own names, as pip wants them."""
    folder = f"{transport.workdir}/wheels"
    links = [word for path in wheels for word in (transport.put(path, timeout_s=INSTALL_S), f"{folder}/{path.name}")]
    script = 'mkdir -p "$1" && shift && while [ $# -gt 0 ]; do ln -sf -- "$1" "$2" || exit 1; shift 2; done'
    done = run_program(transport, ["sh", "-c", script, "sh", folder, *links], timeout_s=QUICK_S)
    _must(done, transport, "lay out the wheels", "make the work folder writable")
    return folder


def _must(done: Finished, transport: SshTransport, what: str, remedy: str) -> None:
    if done.status:
        reason = done.tail() or f"status {done.status}"
        raise DeviceError(f"Cannot {what} on {transport.name}: {reason}; {remedy}.")
