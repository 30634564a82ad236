"""How files and programs reach a device: the `Transport` protocol, and this machine as the first of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, runtime_checkable

from ...artifact.scratch import base_folder
from ...errors import DeviceError, refuse_windows
from ..agent.claim import claim, remove
from ..agent.protocol import AgentError

CHUNK_BYTES = 1 << 20


@runtime_checkable
class Process(Protocol):
    """A program that runs on a device, with its three streams as binary pipes.

    Closing `stdin` is how the host tells the agent to end; `kill` ends the local side at once (for SSH, the client).
    """

    @property
    def stdin(self) -> IO[bytes]:
        """What the program reads; stays open until the host closes it."""

    @property
    def stdout(self) -> IO[bytes]:
        """What the program answers."""

    @property
    def stderr(self) -> IO[bytes]:
        """Progress lines and log text."""

    def wait(self, timeout_s: float) -> int:
        """Return the exit status (negative: the signal that ended it).

        Raises:
            TimeoutError: It still runs after `timeout_s` seconds.
        """

    def kill(self) -> None:
        """End it at once; no error when it has ended already."""


@runtime_checkable
class Transport(Protocol):
    """How one device is reached. `edgeopt.devices.runner` asks for no more than this.

    The contract, which `tests/devices/transport/test_base.py` holds every transport to:

    * Paths on the device are absolute POSIX strings; paths on the host are `pathlib.Path`. Blanks, quotes and
      non-ASCII characters are allowed in both.
    * `put` is content-addressed and idempotent: the file arrives as ``<workdir>/files/<sha256><suffix>`` (or is used
      in place where host and device share a file system), is whole and verified when that path exists, and is not
      sent twice.
    * `start` takes an argv list; no shell ever interprets it. Quoting for a remote shell happens inside the transport,
      once.
    * Every call ends within its timeout. A device that cannot be reached, a full disk, a refused permission raise
      `DeviceError`; a link that breaks raises `DeviceLostError`; the message names the device and the remedy.
    * Only paths below `workdir` are written or removed.
    """

    @property
    def name(self) -> str:
        """How messages call the device: ``this machine``, ``pi@kitchen.local``."""

    @property
    def workdir(self) -> str:
        """The folder on the device that is edgeopt's own: ``files/``, ``runs/`` and ``lock`` live in it."""

    @property
    def python(self) -> Sequence[str]:
        """The argv that starts the Python which has numpy and the runtime."""

    def put(self, source: Path, *, timeout_s: float) -> str:
        """Make the content of the file `source` available on the device and return its path there.

        Raises:
            DeviceError: It cannot be written there.
            DeviceLostError: The link broke, or the timeout passed.
        """

    def get(self, path: str, target: Path, *, timeout_s: float) -> None:
        """Copy the file `path` of the device to the host's file `target`.

        Raises:
            DeviceError: It is not there or cannot be read.
            DeviceLostError: The link broke, or the timeout passed.
        """

    def start(self, argv: Sequence[str]) -> Process:
        """Start a program on the device and return at once.

        Raises:
            DeviceError: It cannot be started.
        """

    def remove(self, path: str, *, timeout_s: float) -> None:
        """Remove a file or a whole folder below `workdir`; no error when it is absent.

        Raises:
            DeviceError: `path` is not below `workdir`, or cannot be removed.
            DeviceLostError: The link broke, or the timeout passed.
        """

    def close(self) -> None:
        """Give up the connection. The device keeps `workdir`, its cache of files."""


class PipedProcess:
    """A `Process` on this host with three pipes; `SshTransport` uses it for its ssh client, too.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches edgeopt alone.
    """

    def __init__(self, argv: Sequence[str], *, name: str) -> None:
        """Start `argv`; `name` is the device in the error message.

        Raises:
            DeviceError: The program does not exist or may not be run.
        """
        pipe = subprocess.PIPE
        try:
            self._popen = subprocess.Popen(
                list(argv), stdin=pipe, stdout=pipe, stderr=pipe, close_fds=True, start_new_session=True
            )
        except OSError as error:
            message = f"Cannot start {argv[0]!r} for {name}: {error.strerror}; check that it is installed."
            raise DeviceError(message) from error

    @property
    def stdin(self) -> IO[bytes]:
        """What the program reads."""
        return _opened(self._popen.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """What the program answers."""
        return _opened(self._popen.stdout)

    @property
    def stderr(self) -> IO[bytes]:
        """Progress lines and log text."""
        return _opened(self._popen.stderr)

    def wait(self, timeout_s: float) -> int:
        """Return the exit status, or raise `TimeoutError`."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"process {self._popen.pid} still runs after {timeout_s:g} s") from error

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self._popen.kill()


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the process was started without pipes")
    return stream


def content_name(source: Path) -> str:
    """Return ``<sha256><suffix>``, the name under which `put` keeps a file.

    Raises:
        OSError: `source` cannot be read.
    """
    digest = hashlib.sha256()
    with source.open("rb") as stream:
        while block := stream.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest() + source.suffix


def require_below(workdir: str, path: str, name: str) -> None:
    """Raise unless `path` lies inside `workdir`, so that no bug can remove anything else of a user's device.

    Raises:
        DeviceError: It does not.
    """
    folder, inside = PurePosixPath(workdir), PurePosixPath(path)
    if ".." in inside.parts or folder not in inside.parents:
        raise DeviceError(f"Refused to remove {path} on {name}: it is not inside the work folder {workdir}.")


class LocalTransport:
    """This machine as a device: the same agent, in a subprocess; files are used where they are, not copied.

    Example:
        >>> LocalTransport().name
        'this machine'
    """

    def __init__(self, *, workdir: Path | None = None, python: Sequence[str] = (sys.executable,)) -> None:
        """Use `workdir` (default: a folder of this user's own below the system's temporary folder).

        Raises:
            DeviceError: The folder cannot be made, belongs to another user, or holds what is not edgeopt's.
        """
        refuse_windows("Measuring on this machine")
        self._workdir = workdir.absolute() if workdir else base_folder() / f"edgeopt-{os.getuid()}"
        self._python = list(python)
        _make_private(self._workdir)
        try:
            claim(self.workdir, adopt=workdir is None)
        except AgentError as error:
            raise DeviceError(f"{error.message}; name another folder.") from error

    @property
    def name(self) -> str:
        """How messages call the device."""
        return "this machine"

    @property
    def workdir(self) -> str:
        """The folder that is edgeopt's own."""
        return str(self._workdir)

    @property
    def python(self) -> Sequence[str]:
        """The argv of the Python that runs the agent."""
        return self._python

    def put(self, source: Path, *, timeout_s: float) -> str:
        """Return the absolute path of `source`: host and device are one."""
        if not source.is_file():
            raise DeviceError(f"Cannot ship {source}: it is not a file; check the path.")
        return str(source.absolute())

    def get(self, path: str, target: Path, *, timeout_s: float) -> None:
        """Copy `path` to `target`."""
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            message = f"Cannot fetch {path} from {self.name}: {error.strerror}; check the free space."
            raise DeviceError(message) from error

    def start(self, argv: Sequence[str]) -> PipedProcess:
        """Start a program in a session of its own."""
        return PipedProcess(argv, name=self.name)

    def remove(self, path: str, *, timeout_s: float) -> None:
        """Remove a file or folder below the work folder."""
        require_below(self.workdir, path, self.name)
        if self._workdir.resolve() not in (folder := Path(path).parent.resolve(), *folder.parents):
            raise DeviceError(f"Refused to remove {path} on {self.name}: a symbolic link leads out of the work folder.")
        try:
            remove(path)
        except OSError as error:
            raise DeviceError(f"Cannot remove {path} on {self.name}: {error.strerror}; remove it by hand.") from error

    def close(self) -> None:
        """Nothing to give up."""


def _make_private(folder: Path) -> None:
    """Create `folder` for this user alone; refuse one that another user put there first."""
    remedy = "set TMPDIR to a folder that you own"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise DeviceError(f"Cannot make the work folder {folder}: {error.strerror}; {remedy}.") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise DeviceError(f"The work folder {folder} is not a folder of this user; {remedy}.")
