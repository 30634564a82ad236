"""Boards over SSH: the user's own OpenSSH with its configuration, agent and known hosts, one connection a run."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ...errors import DeviceError, refuse_windows
from .base import Process, content_name, require_below
from .ssh_link import SshAddress, SshLink, program_command, script_command
from .ssh_scripts import CLAIM, GET, LOOK, PUT, REMOVE, Conversation, check_size, count, refuse
from .workdir import checked_workdir, folder_refusal

__all__ = ["DEFAULT_WORKDIR", "SshAddress", "SshTransport"]

DEFAULT_WORKDIR = ".cache/edgeopt"


class SshTransport:
    """A board that OpenSSH reaches.

    The connection is made when it is first needed, and again after it broke: an upload that was cut goes on where it
    stopped.

    Example:
        >>> with Device(SshTransport(SshAddress("pi@kitchen.local")), load_profile("rpi4")) as device:
        ...     device.info()["board"]["model"]
        'Raspberry Pi 4 Model B Rev 1.4'
    """

    def __init__(
        self,
        address: SshAddress,
        *,
        workdir: str = DEFAULT_WORKDIR,
        python: Sequence[str] = ("python3",),
        known_as: str = "NAME",
    ) -> None:
        """Remember where the board is; nothing is sent yet.

        Args:
            address: Where ssh finds the board.
            workdir: The folder there that is edgeopt's own; relative to the home folder, or absolute.
            python: The argv of the Python there that has NumPy and a runtime; ``~/`` at its start is the home folder.
            known_as: What the inventory calls it, for the commands that messages name.

        Raises:
            UsageError: `workdir` is the home folder, or may lead out of it.
        """
        refuse_windows("Reaching a board over SSH")
        self._address = address
        self._workdir = checked_workdir(workdir)
        self._python = list(python)
        self._known_as = known_as
        self._link: SshLink | None = None
        self._there: dict[str, str] = {}

    @property
    def name(self) -> str:
        """How messages call the device."""
        return self._address.host

    @property
    def workdir(self) -> str:
        """The work folder on the board, absolute.

        Raises:
            DeviceError: The board cannot be reached.
        """
        return self._connected().workdir

    @property
    def home(self) -> str:
        """The user's home folder on the board.

        Raises:
            DeviceError: The board cannot be reached.
        """
        return self._connected().home

    @property
    def python(self) -> Sequence[str]:
        """The argv of the board's Python, with the home folder in place of ``~/``."""
        first, *rest = self._python
        return [f"{self.home}/{first[2:]}" if first.startswith("~/") else first, *rest]

    def put(self, source: Path, *, timeout_s: float) -> str:
        """Send a file, unless the board has it; see `Transport.put`."""
        try:
            name, size = content_name(source), source.stat().st_size
            path = f"{self.workdir}/files/{name}"
            if name not in self._there:
                self._store(source, name, size, timeout_s)
                self._there[name] = path
        except OSError as error:
            raise DeviceError(f"Cannot ship {source}: {error.strerror}; check the path.") from error
        return path

    def get(self, path: str, target: Path, *, timeout_s: float) -> None:
        """Fetch a file; `target` is written whole or not at all."""
        with self._script(GET, path, timeout_s=timeout_s) as talk:
            word, text = talk.answer()
            if word == "error":
                raise refuse(self.name, f"fetch {path}", text, "run it again")
            if word != "size":
                raise talk.lost()
            size = count(text, self.name)
            try:
                if size > (free := shutil.disk_usage(target.parent).free):
                    reason = f"it has {size / 2**20:.1f} MiB, and {free / 2**20:.1f} MiB are free here"
                    raise refuse(self.name, f"fetch {path}", reason, f"free some space below {target.parent}")
                self._receive(talk, size, target)
            except OSError as error:
                reason = f"Cannot write {target}: {error.strerror}; free some space or choose another folder."
                raise DeviceError(reason) from error

    @staticmethod
    def _receive(talk: Conversation, size: int, target: Path) -> None:
        descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                talk.receive(size, stream)
            os.replace(part, target)
        finally:
            Path(part).unlink(missing_ok=True)

    def start(self, argv: Sequence[str]) -> Process:
        """Start a program with exactly these arguments."""
        return self._connected().start(program_command(argv))

    def claim(self, *, adopt: bool = False, timeout_s: float) -> None:
        """Make the work folder and mark it as edgeopt's, as `put` does.

        Args:
            adopt: Also take a folder without a mark, if it holds only names of edgeopt's own.
            timeout_s: How long all of it may take, in seconds.

        Raises:
            DeviceError: It is not edgeopt's, or cannot be written.
        """
        with self._script(CLAIM, self.workdir, "adopt" if adopt else "", timeout_s=timeout_s) as talk:
            word, text = talk.answer()
        if word == "error":
            raise self._refused("make the work folder", text, "make it writable, or choose another")

    def look(self, *, timeout_s: float) -> bool:
        """Return whether `claim` would take the work folder without `adopt`; nothing is changed.

        Args:
            timeout_s: How long it may take, in seconds.

        Raises:
            DeviceError: The board cannot be reached, or not even `adopt` would take the folder.
        """
        with self._script(LOOK, self.workdir, timeout_s=timeout_s) as talk:
            word, text = talk.answer()
        if word == "error" and not text.startswith("unmarked "):
            raise self._refused("look into the work folder", text, "make it readable, or choose another")
        return word != "error"

    def remove(self, path: str, *, timeout_s: float) -> None:
        """Remove a file or folder below the work folder, or that."""
        if path != self.workdir:
            require_below(self.workdir, path, self.name)
        self._there.clear()
        below = path[len(self.workdir) :].strip("/")
        with self._script(REMOVE, self.workdir, below, timeout_s=timeout_s) as talk:
            word, text = talk.answer()
        if word == "error":
            raise self._refused(f"remove {path}", text, "remove it by hand")

    def close(self) -> None:
        """End the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def __enter__(self) -> SshTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> SshLink:
        if self._link is not None and not self._link.alive:
            self.close()
        if self._link is None:
            self._there.clear()
            self._link = SshLink(self._address, self._workdir)
        return self._link

    def _script(self, script: str, *arguments: str, timeout_s: float) -> Conversation:
        nonce, link = secrets.token_hex(16), self._connected()
        process = link.start(script_command(script, nonce, *arguments))
        # A board that has stopped answering takes the whole connection down with it.
        return Conversation(process, nonce, self.name, timeout_s=timeout_s, on_timeout=link.drop)

    def _store(self, source: Path, name: str, size: int, timeout_s: float) -> None:
        for _ in range(2):  # what an earlier try left may be damaged: then all of it is sent anew
            if self._send(source, name, size, timeout_s):
                return
        remedy = "check its memory card and the link"
        raise refuse(self.name, f"store {source}", "it arrived with another SHA-256, twice", remedy)

    def _send(self, source: Path, name: str, size: int, timeout_s: float) -> bool:
        """Bring one file over; return False when it arrived damaged.

        Raises:
            DeviceError: The board cannot store it.
            DeviceLostError: The link broke; what has arrived stays there, and the next try goes on from it.
        """
        digest = name.partition(".")[0]
        with self._script(PUT, self.workdir, name, str(size), digest, timeout_s=timeout_s) as talk:
            word, text = talk.answer()
            if word == "send":
                with source.open("rb") as stream:
                    stream.seek(min(size, count(text, self.name)))
                    talk.send(stream)
                word, text = talk.answer()
            if word == "short":
                check_size(source, size, self.name)
                raise talk.lost()
        if word == "error":
            raise self._not_stored(source, size, text)
        return word in ("have", "stored")

    def _not_stored(self, source: Path, size: int, text: str) -> DeviceError:
        kind, _, detail = text.partition(" ")
        if kind == "full":
            reason = f"it needs {size / 2**20:.1f} MiB, and {count(detail, self.name) / 1024:.1f} MiB are free"
            return refuse(self.name, f"store {source}", reason, f"free some space below {self.workdir}")
        return self._refused(f"store {source}", text, "make the work folder writable, or choose another")

    def _refused(self, what: str, text: str, remedy: str) -> DeviceError:
        """Return the error for what a script could not do."""
        detail = text.partition(" ")[2]
        return folder_refusal(self.name, self.workdir, text, self._known_as) or refuse(self.name, what, detail, remedy)
