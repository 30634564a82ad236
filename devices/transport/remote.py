"""Running a program on a device to its end, and taking what it says as JSON."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from ...artifact.typed import Unfit, fitted
from ...errors import DeviceError, DeviceLostError
from ..agent.protocol import decode
from .base import Transport
from .words import beginning_and_end, clean_values, shown


@dataclass
class Finished:
    """A program that has ended: its status, and all that it printed."""

    status: int
    stdout: bytes = field(default=b"", repr=False)
    stderr: bytes = field(default=b"", repr=False)

    def tail(self, lines: int = 6) -> str:
        """Return the end of what it printed, errors last, in one line."""
        said = (shown(line) for line in (self.stdout + b"\n" + self.stderr).splitlines())
        return " | ".join([line for line in said if line][-lines:])


def run_program(transport: Transport, argv: list[str], *, timeout_s: float) -> Finished:
    """Run `argv` on a device, without input, and return when it has ended.

    Raises:
        DeviceError: It cannot be started.
        DeviceLostError: It still ran after `timeout_s` seconds.
    """
    process = transport.start(argv)
    with suppress(OSError):
        process.stdin.close()
    output: dict[str, bytes] = {}

    def collect(name: str, stream: IO[bytes]) -> None:
        output[name] = beginning_and_end(stream)

    streams = {"stdout": process.stdout, "stderr": process.stderr}
    readers = [threading.Thread(target=collect, args=item, daemon=True) for item in streams.items()]
    for reader in readers:
        reader.start()
    try:
        status = process.wait(timeout_s)
    except TimeoutError as error:
        raise DeviceLostError(
            f"`{' '.join(argv[:4])}` on {transport.name} still ran after {timeout_s:g} s; check the device."
        ) from error
    finally:
        process.kill()
        for reader in readers:
            reader.join(10.0)
        for stream in streams.values():
            with suppress(OSError):
                stream.close()
    return Finished(status, output.get("stdout", b""), output.get("stderr", b""))


def ask_python(transport: Transport, expression: str, imports: str, kind: Any, *, timeout_s: float) -> Any:
    """Return what a Python expression gives on the device, as JSON; noise of a login shell does no harm.

    Args:
        transport: How the device is reached.
        expression: Of a type that JSON knows; must be one for any Python that may be found there.
        imports: The modules that the expression needs, with commas between them: ``os, sys``.
        kind: The type that the value must be of; see `edgeopt.artifact.typed.fitted`.
        timeout_s: How long all of it may take, in seconds.

    Raises:
        DeviceError: There is no such Python, it fails, or gives something else.
    """
    nonce = secrets.token_hex(8)
    script = f"import json, {imports}\nprint('\\n' + json.dumps({{'nonce': '{nonce}', 'value': {expression}}}))"
    argv = [*transport.python, "-I", "-c", script]  # -I: not with the json.py of the folder that it starts in
    done = run_program(transport, argv, timeout_s=timeout_s)
    for line in done.stdout.splitlines():
        message = decode(line)
        if message is not None and message.get("nonce") == nonce:
            try:
                return fitted(kind, clean_values(message.get("value")), "value")
            except Unfit as error:
                raise DeviceError(
                    f"Python on {transport.name} gave what no Python gives ({error}); name another with --python."
                ) from error
    program = " ".join(transport.python)
    reason = "it is not installed there" if done.status == 127 else done.tail() or f"status {done.status}"
    raise DeviceError(f"Cannot run {program} on {transport.name}: {reason}; name another with --python.")
