"""Running an external compiler: a time limit for all that it starts, a cap on what it prints, no shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CompilerError, printable

# Real logs have some kilobytes; more than this is garbage, and is not read.
MAX_OUTPUT_BYTES = 4 * 1024**2
_KILL_WAIT_S = 5.0


@dataclass(frozen=True)
class Finished:
    """How a program ended.

    Attributes:
        returncode: Negative for death by signal.
        output: What it printed on both streams, at most `MAX_OUTPUT_BYTES`, bytes that are not UTF-8 replaced.
        timed_out: It was ended after the time limit.
    """

    returncode: int
    output: str
    timed_out: bool

    @property
    def signal_name(self) -> str:
        """Name of the signal it died of; "" if it did not."""
        if self.returncode >= 0 or self.timed_out:
            return ""
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.returncode).name
        return f"signal {-self.returncode}"

    @property
    def last_line(self) -> str:
        """The last line it printed, shortened; "" if none."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return printable(lines[-1][:200]) if lines else ""


def run(
    command: Sequence[str], folder: Path, timeout_s: float, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run `command` in `folder`, in a process group of its own that is ended with it.

    Raises:
        CompilerError: It cannot be started.
    """
    with tempfile.TemporaryFile() as stream:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise CompilerError(f"{command[0]} cannot be started ({error.strerror}); see if it runs here.") from error
        timed_out = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _end_group(process)
        stream.seek(0)
        return Finished(process.returncode, stream.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace"), timed_out)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of the program's process group, and wait for the program."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_KILL_WAIT_S)
