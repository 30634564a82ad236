"""One multiplexed connection of the user's own OpenSSH, and what its failures mean."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...artifact.scratch import Scratch
from ...errors import DeviceError, UsageError
from .base import PipedProcess, Process
from .ssh_scripts import HELLO, Conversation
from .words import clean

ALIVE_INTERVAL_S = 5
ALIVE_COUNT = 3
# A UNIX socket's path has 107 bytes, and OpenSSH adds 17 random ones to it while it makes the socket.
_LONGEST_SOCKET = 107 - 17
_SIGNAL_BASE = 128
_LAST_SIGNAL = 64

# What OpenSSH says -> what it means and what helps; the first that is found counts. {host} and {flags} are filled in.
_FAILURES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that is known: it was installed anew, or it is another machine",
        "if you trust it, remove the old key with `ssh-keygen -R {host}` and connect once by hand",
    ),
    (
        "Host key verification failed",
        "its host key is not known here",
        "connect once by hand with `ssh{flags} {host}` and compare the fingerprint",
    ),
    (
        "Permission denied",
        "it refused the login",
        "check the user name, and copy your key there with `ssh-copy-id{flags} {host}`",
    ),
    (
        "Too many authentication failures",
        "it refused the login after too many keys",
        "name the right key with IdentityFile and IdentitiesOnly in ~/.ssh/config",
    ),
    ("Could not resolve hostname", "its name is not known", "check the name, or use the address"),
    (
        "Connection refused",
        "it refused the connection",
        "switch its SSH server on (`sudo systemctl enable --now ssh`) and check the port",
    ),
    ("No route to host", "there is no route to it", "check its power, its network and the address"),
    ("Network is unreachable", "there is no route to it", "check your own network"),
    ("timed out", "it does not answer", "check its power, its network and the address"),
)


@dataclass(frozen=True)
class SshAddress:
    """Where a board is, in the words of OpenSSH; all else is in the user's own configuration.

    Attributes:
        host: ``pi@kitchen.local``, an address, or a name of ssh_config.
        port: The port of the SSH server; None (the default) takes what ssh_config says, or 22.
        config: Another ssh_config; None (the default) takes the user's.
        connect_timeout_s: How long the connection and the login may take, in seconds (default 15).
    """

    host: str
    port: int | None = None
    config: Path | None = None
    connect_timeout_s: float = 15.0

    def __post_init__(self) -> None:
        if not self.host or self.host.startswith("-") or any(c.isspace() or not c.isprintable() for c in self.host):
            raise UsageError(f"The host is {self.host!r}; expected USER@HOST, an address or a name of ssh_config.")
        if self.port is not None and not 0 < self.port < 65536:
            raise UsageError(f"The port is {self.port}; expected 1 to 65535.")

    def options(self) -> list[str]:
        """Return the options that name the board to ssh."""
        words = [] if self.config is None else ["-F", str(self.config)]
        return words if self.port is None else [*words, "-p", str(self.port)]


class RemoteProcess(PipedProcess):
    """A program on the board; its status is that of the program, 255 when the link broke."""

    def wait(self, timeout_s: float) -> int:
        """Return the exit status, negative for the signal that ended it, or raise `TimeoutError`."""
        status = super().wait(timeout_s)
        if _SIGNAL_BASE < status <= _SIGNAL_BASE + _LAST_SIGNAL:
            return _SIGNAL_BASE - status
        return status


class SshLink:
    """A connection to a board. It ends with this process, however that ends.

    Attributes:
        home: The user's home folder on the board.
        workdir: The absolute path of the work folder on the board.
    """

    def __init__(self, address: SshAddress, workdir: str) -> None:
        """Connect and log in.

        Raises:
            DeviceError: That fails; the message says why and what helps.
        """
        self._address = address
        self._scratch = _socket_folder()
        self._socket = self._scratch.path / "socket"
        self.home = self.workdir = ""
        nonce = secrets.token_hex(16)
        try:
            self._master = PipedProcess(
                [*self._ssh(), "-o", "ControlMaster=yes", *self._target(), script_command(HELLO, nonce, workdir)],
                name=address.host,
            )
        except BaseException:
            self._scratch.close()
            raise
        self._talk = Conversation(
            self._master, nonce, address.host, timeout_s=address.connect_timeout_s + 5, on_timeout=self._master.kill
        ).__enter__()
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the connection still stands, as far as is known.

        Without its socket it does not: `drop` takes that first, and wakes threads before the client has gone.
        """
        if not self._socket.exists():
            return False
        try:
            self._master.wait(0)
        except TimeoutError:
            return True
        return False

    def start(self, command: str) -> Process:
        """Start a command line of the board's login shell over this connection."""
        # Without the connection ssh would make a second one, of its own; `false` as a proxy keeps it from that.
        options = ["-o", "ControlMaster=no", "-o", "ProxyCommand=false"]
        return RemoteProcess([*self._ssh(), *options, *self._target(), command], name=self._address.host)

    def drop(self) -> None:
        """End the connection at once: everything that waits for it comes back."""
        self._socket.unlink(missing_ok=True)
        self._master.kill()

    def close(self) -> None:
        """End the connection."""
        self._talk.__exit__(None, None, None)
        self._scratch.close()

    def _ssh(self) -> list[str]:
        settings = {
            "BatchMode": "yes",
            "ClearAllForwardings": "yes",
            "ConnectTimeout": f"{max(1, round(self._address.connect_timeout_s))}",
            "ControlPath": str(self._socket),
            "ControlPersist": "no",
            "RemoteCommand": "none",
            "RequestTTY": "no",
            "ServerAliveInterval": str(ALIVE_INTERVAL_S),
            "ServerAliveCountMax": str(ALIVE_COUNT),
        }
        return ["ssh", *self._address.options(), *(w for k, v in settings.items() for w in ("-o", f"{k}={v}"))]

    def _target(self) -> list[str]:
        return ["--", self._address.host]

    def _greet(self) -> None:
        try:
            self.home = self._talk.answer()[1]
            self.workdir = self._talk.answer()[1]
        except DeviceError as error:
            raise self._refusal() from error
        if not f"{self.home}{self.workdir}".isprintable() or not self.workdir.startswith("/"):
            said = clean(f"{self.home} and {self.workdir}", 200)
            raise DeviceError(
                f"{self._address.host} says that its folders are {said}; expected paths. Check HOME there."
            )
        self._talk.relax()

    def _refusal(self) -> DeviceError:
        said = "timed out" if self._talk.late else self._talk.words()
        flags = "".join(f" {shlex.quote(word)}" for word in self._address.options())
        for text, meaning, remedy in _FAILURES:
            if text in said:
                help_ = remedy.format(host=self._address.host, flags=flags)
                return DeviceError(f"Cannot connect to {self._address.host}: {meaning}; {help_}.")
        reason = said or "ssh ended without a word"
        return DeviceError(
            f"Cannot connect to {self._address.host}: {reason}; try `ssh{flags} {self._address.host}` by hand."
        )


def script_command(script: str, *arguments: str) -> str:
    """Return the command line that runs a POSIX sh script with arguments, whatever the login shell is."""
    return shlex.join(["exec", "sh", "-c", script, "sh", *arguments])


def program_command(argv: Sequence[str]) -> str:
    """Return the command line that runs a program with exactly these arguments.

    This is the one place where quoting happens. The sh in between stays, so that a death by signal comes back as
    status 128 + n, which ssh itself would turn into 255.

    Example:
        >>> program_command(["echo", "it's"])
        'exec sh -c \\'"$@"; exit $?\\' sh echo \\'it\\'"\\'"\\'s\\''
    """
    return script_command('"$@"; exit $?', *argv)


def _socket_folder() -> Scratch:
    try:
        made = Scratch("ssh")
        if len(os.fsencode(f"{made.path}/socket")) > _LONGEST_SOCKET:
            made.close()
            made = Scratch("ssh", Path("/tmp"))
    except OSError as error:
        reason = error.strerror or error
        raise DeviceError(
            f"Cannot make a folder for the connection: {reason}; set TMPDIR to one with space."
        ) from error
    return made
