"""A started board as the tests see it, and how to wait for its sshd."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .apt import Unavailable

ALIAS = "board"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Board:
    """One emulated board.

    Attributes:
        route: "namespace" or "machine".
        port: Where its sshd listens on 127.0.0.1.
        folder: Holds `config` and `known_hosts`.
        identity: The private key that it admits.
        monitor: The socket of QEMU's monitor, None for a namespace.
    """

    route: str
    port: int
    identity: Path
    folder: Path
    halt: Callable[[], None]
    monitor: Path | None = None
    alias: str = ALIAS
    _down: bool = field(default=False, init=False)

    @property
    def config(self) -> Path:
        """An ssh_config in which the board is called `alias`; its host key is known there."""
        return self.folder / "config"

    def ssh(
        self, command: str, *, user: str = "pi", timeout_s: float = 60, stdin: bytes = b"", check: bool = True
    ) -> str:
        """Run a shell command on the board and return what it printed."""
        argv = ["ssh", "-F", str(self.config), "-o", "BatchMode=yes", "-l", user, self.alias, command]
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout_s, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{command!r} on the board: status {done.returncode}, {done.stderr.decode()}")
        return done.stdout.decode(errors="replace")

    def tell_monitor(self, command: str) -> None:
        """Send one command to QEMU's monitor: ``set_link n0 off``, ``system_reset``, ``stop``, ``cont``."""
        if self.monitor is None:
            raise RuntimeError("a namespace has no monitor")
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(self.monitor))
            _read_prompt(link)
            link.sendall(command.encode() + b"\n")
            _read_prompt(link)

    def wait(self, timeout_s: float = 120) -> None:
        """Return when its sshd answers.

        Raises:
            Unavailable: It does not within `timeout_s` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if _greets(self.port):
                return
            time.sleep(0.1)
        raise Unavailable(f"no sshd answered on port {self.port} within {timeout_s:g} s")

    def stop(self) -> None:
        """End it and everything that runs on it."""
        if not self._down:
            self._down = True
            self.halt()
            shutil.rmtree(self.folder, ignore_errors=True)


def make_folder(cache: Path, port: int) -> Path:
    """Return a new folder with an ssh_config and a known_hosts for the board at `port`."""
    folder = Path(tempfile.mkdtemp(prefix="edgeopt-pi-"))
    host_key = (cache / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    (folder / "config").write_text(
        f"Host {ALIAS}\n  HostName 127.0.0.1\n  Port {port}\n  User pi\n  IdentityFile {cache / 'id'}\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n"
    )
    return folder


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            link.settimeout(5)
            return link.recv(8).startswith(b"SSH-2.0-")
    except OSError:
        return False


def _read_prompt(link: socket.socket) -> None:
    text = b""
    while not text.endswith(b"(qemu) "):
        block = link.recv(4096)
        if not block:
            return
        text += block
