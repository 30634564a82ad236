"""Named boards: ``edgeopt-devices.toml`` of the project, then ``devices.toml`` of the user.

[devices.kitchen]
profile = "rpi4"
host = "pi@kitchen.local"
python = "/home/pi/.cache/edgeopt/venv/bin/python"

A project's file comes with the project, maybe from a stranger: its `ssh_config` and `python` are not honoured (see
`trust`), and what is added for a board of it is written into the user's.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from dataclasses import replace as with_values
from pathlib import Path
from typing import Any

import tomli_w

from ...artifact.atomic import write_atomically
from ...artifact.outside import loads_toml, read_text
from ...errors import FileFormatError, UsageError, nearest
from ..transport.ssh import DEFAULT_WORKDIR, SshAddress, SshTransport
from ..transport.workdir import checked_workdir
from .profile import profile_names
from .trust import PRIVATE, NotHonoured, not_honoured, refuse_foreign, refuse_writable, search_folders

PROJECT_FILE = "edgeopt-devices.toml"
USER_FILE = "devices.toml"
LOCAL = "local"


@dataclass(frozen=True)
class Board:
    """One board of the inventory; `edgeopt.devices.Device.from_inventory` opens it.

    Attributes:
        name: What ``--device`` calls it: any text without a comma.
        profile: The kind of board, see `edgeopt.devices.profile_names`.
        host: As ssh takes it: ``pi@kitchen.local``, an address, or a name of ssh_config.
        port: The port of the SSH server; None (the default) takes what ssh_config says, or 22.
        python: The Python there that has NumPy and a runtime; ``~/`` at its start is the home folder.
        workdir: The folder there that is edgeopt's own, relative to the home folder or absolute.
        ssh_config: Another ssh_config than the user's; in a file, relative to that file's folder.
    """

    name: str
    profile: str
    host: str
    port: int | None = None
    python: str = "python3"
    workdir: str = DEFAULT_WORKDIR
    ssh_config: str | None = None

    def __post_init__(self) -> None:
        for field, kinds in _KINDS.items():
            value = getattr(self, field)
            fits = isinstance(value, kinds) and not isinstance(value, bool)
            if not fits or value == "" or (field in PRIVATE and not str(value).isprintable()):
                raise UsageError(f"Device {self.name!r} has {field} = {value!r}; give it a value.")
        if not self.name.strip() or "," in self.name or not self.name.isprintable() or self.name == LOCAL:
            raise UsageError(f"The device name is {self.name!r}; expected text without a comma, other than {LOCAL!r}.")
        if self.profile not in profile_names():
            raise UsageError(f"Unknown board profile {self.profile!r}{nearest(self.profile, profile_names())}")
        self.address()
        checked_workdir(self.workdir)

    def address(self) -> SshAddress:
        """Return where ssh finds it."""
        config = None if self.ssh_config is None else Path(os.path.expanduser(self.ssh_config))
        return SshAddress(self.host, self.port, config)

    def transport(self) -> SshTransport:
        """Return a transport to it; nothing is sent yet."""
        return SshTransport(self.address(), workdir=self.workdir, python=[self.python], known_as=self.name)

    def to_dict(self) -> dict[str, object]:
        """Return the fields that are set, as the file holds them."""
        defaults = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in asdict(self).items() if key != "name" and value != defaults[key]}


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("profile", "host", "python", "workdir"), str),
    "port": int | None,
    "ssh_config": str | None,
}


def user_file() -> Path:
    """Return the user's own inventory, where the platform keeps settings."""
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "edgeopt" / USER_FILE


def project_file(start: Path | None = None) -> Path | None:
    """Return the inventory of the project: in `start` (default: the current folder) or the nearest folder above.

    The search ends at the repository's root or at the home folder.
    """
    folders = search_folders((start or Path.cwd()).absolute())
    return next((path for folder in folders if (path := folder / PROJECT_FILE).is_file()), None)


class Inventory:
    """The boards of one or two files; names in the project's hide those in the user's.

    Example:
        >>> Inventory.find().board("kitchen").host
        'pi@kitchen.local'
    """

    def __init__(self, files: list[Path], *, project: Path | None = None) -> None:
        """Read the files that exist; the first is where `add` writes.

        Args:
            files: The later ones are hidden by the earlier ones.
            project: Which of them came with a project: what could run a program is taken from the last file alone.

        Raises:
            UsageError: One cannot be read; `FileFormatError` for one that is not an inventory.
        """
        self.files = files
        self._project = project
        self._found: dict[str, tuple[Board, Path]] = {}
        self._ignored: dict[str, tuple[str, ...]] = {}
        self._refused: dict[str, tuple[str, Path]] = {}
        for path in reversed(files):
            for board in _read(path):
                if isinstance(board, _Refused):
                    self._refused[board.name] = (board.why, path)
                    continue
                self._refused.pop(board.name, None)
                self._found[board.name] = (self._believed(board) if path == project else board, path)

    @classmethod
    def find(cls, inventory: str | os.PathLike[str] | None = None) -> Inventory:
        """Return the inventory in the file `inventory`, or else the project's and the user's.

        Raises:
            UsageError: `inventory` cannot be read, or one that was found is not the user's own, or can be written by
                all; `FileFormatError` for a file that is not an inventory.
        """
        if inventory is not None:
            refuse_writable(Path(inventory))
            return cls([Path(inventory)])
        project = project_file()
        files = [user_file()] if project is None else [project, user_file()]
        for path in files:
            refuse_foreign(path)
        return cls(files, project=project)

    def boards(self) -> list[Board]:
        """Return all boards, by name."""
        return [self._found[name][0] for name in sorted(self._found)]

    def refused(self) -> list[str]:
        """Return a sentence on each board whose work folder may not be one, with the command that corrects it."""
        return [why for _, (why, _) in sorted(self._refused.items())]

    def board(self, name: str) -> Board:
        """Return the board `name`; what of it is not honoured is told in a warning.

        Raises:
            UsageError: There is none.
        """
        board = self._entry(name)[0]
        for note in self.notes(name):
            warnings.warn(note, NotHonoured, stacklevel=2)
        return board

    def notes(self, name: str) -> list[str]:
        """Return what is not honoured of a board, a sentence each.

        Raises:
            UsageError: There is none of that name.
        """
        path, ignored = self.place(name), self._ignored.get(name, ())
        return [not_honoured(path, name, ignored, self.files[-1])] if ignored else []

    def place(self, name: str) -> Path:
        """Return the file in which a board stands.

        Raises:
            UsageError: There is none of that name.
        """
        return self._entry(name)[1]

    def add(self, board: Board, *, replace: bool = False) -> Path:
        """Write a board and return the file: the one that has it already, or else the first.

        What could run a program stands in the user's own file, with the rest of the board, beside a project's.

        Raises:
            UsageError: The name is taken and `replace` is not set; `OutputError` when the file cannot be written.
        """
        self.require_free(board.name, replace=replace)
        path = self._places().get(board.name, self.files[0])
        shared = with_values(board, **_DEFAULTS) if path == self._project else board
        if shared != board:
            _write(self.files[-1], board)
        _write(path, shared)
        self._ignored.pop(board.name, None)
        self._refused.pop(board.name, None)
        self._found[board.name] = (board, path)
        return path

    def require_free(self, name: str, *, replace: bool = False) -> None:
        """Raise unless a board may be added under a name.

        Raises:
            UsageError: The name is taken and `replace` is not set.
        """
        if not replace and (path := self._places().get(name)):
            raise UsageError(f"Device {name!r} is in {path} already; pass --force to replace it.")

    def _places(self) -> dict[str, Path]:
        return {name: path for found in (self._found, self._refused) for name, (_, path) in found.items()}

    def remove(self, name: str) -> Path:
        """Take a board out of its file and return that; the board itself is not touched.

        Raises:
            UsageError: There is none of that name; `OutputError` when the file cannot be written.
        """
        path = self._refused[name][1] if name in self._refused else self._entry(name)[1]
        _store(path, _without(_text(path), name))
        self._refused.pop(name, None)
        self._found.pop(name, None)
        return path

    def _believed(self, board: Board) -> Board:
        """Return a project's board with what the user's own file says of the same one, where a program is chosen."""
        own = self._found[board.name][0] if board.name in self._found else None
        same = own is not None and (own.host, own.port) == (board.host, board.port)
        kept = {key: getattr(own, key) if same else default for key, default in _DEFAULTS.items()}
        ignored = tuple(key for key in PRIVATE if getattr(board, key) not in (_DEFAULTS[key], kept[key]))
        if ignored:
            self._ignored[board.name] = ignored
        return with_values(board, **kept)

    def _entry(self, name: str) -> tuple[Board, Path]:
        if name in self._refused:
            raise UsageError(self._refused[name][0])
        if name not in self._found:
            known = sorted({LOCAL, *self._found})
            add = f"`edgeopt devices add {json.dumps(name, ensure_ascii=False)} --profile ... --host ...` adds it."
            raise UsageError(f"Unknown device {name!r}{nearest(name, known)} {add}")
        return self._found[name]


@dataclass(frozen=True)
class _Refused:
    """A board of a file whose work folder may not be one: it can be replaced and removed, and does not hide others."""

    name: str
    why: str


_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Board) if field.name in PRIVATE}


def _text(path: Path) -> str:
    try:
        return read_text(path) if path.exists() else ""
    except (OSError, ValueError) as error:
        raise UsageError(f"Cannot read {path}: {error}; make it a readable UTF-8 file.") from error


def _read(path: Path) -> list[Board | _Refused]:
    text = _text(path)
    try:
        content = loads_toml(text)
    except ValueError as error:
        raise FileFormatError(f"{path} is not TOML: {error}; correct it.") from error
    for key in content:
        if key != "devices":
            raise FileFormatError(f"{path} has the unknown key {key!r}; expected tables [devices.NAME].")
    tables = content.get("devices", {})
    if not isinstance(tables, Mapping):
        raise FileFormatError(f"{path} has devices = {tables!r}; expected tables [devices.NAME].")
    return [_board(path, name, table) for name, table in tables.items()]


def _board(path: Path, name: str, table: Any) -> Board | _Refused:
    known = [field.name for field in fields(Board) if field.name != "name"]
    if not isinstance(table, Mapping):
        raise FileFormatError(f"{path}: devices.{name} is {table!r}; expected a table.")
    for key in table:
        if key not in known:
            raise FileFormatError(f"{path}: device {name!r} has the unknown key {key!r}{nearest(key, known)}")
    for key in ("profile", "host"):
        if key not in table:
            raise FileFormatError(f"{path}: device {name!r} has no {key}; add one.")
    config = table.get("ssh_config")
    if isinstance(config, str):  # not one of whatever folder is the current one
        table = {**table, "ssh_config": str(path.absolute().parent / os.path.expanduser(config))}
    workdir = table.get("workdir", DEFAULT_WORKDIR)
    if not isinstance(workdir, str):
        return Board(name=name, **table)
    board = Board(name=name, **{**table, "workdir": DEFAULT_WORKDIR})
    try:
        return with_values(board, workdir=workdir)
    except UsageError as error:
        words = [f"--{key.replace('_', '-')}={value}" for key, value in board.to_dict().items()]
        command = ["edgeopt", "devices", "add", name, "--force", *words, "--devices", str(path)]
        return _Refused(
            name, f"{path}, device {name!r}: {str(error).rstrip('.')}; to correct it: {shlex.join(command)}"
        )


def _table(board: Board) -> str:
    return tomli_w.dumps({"devices": {board.name: board.to_dict()}})


def _without(text: str, name: str) -> str:
    """Return the text of an inventory without one board's table; everything else, comments too, stays as it is."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = _names_in(line) == ["devices", name]
        if not inside:
            kept.append(line)
    return "".join(kept)


def _names_in(header: str) -> list[str]:
    """Return the dotted key of a table's header line."""
    try:
        content: Any = loads_toml(header)
    except ValueError:
        return []
    names = []
    while isinstance(content, dict) and content:
        key = next(iter(content))
        names.append(key)
        content = content[key]
    return names


def _write(path: Path, board: Board) -> None:
    """Write a board into a file, in place of what that has of it."""
    _store(path, f"{_without(_text(path), board.name).rstrip()}\n\n{_table(board)}".lstrip())


def _store(path: Path, text: str) -> None:
    try:
        loads_toml(text)
    except ValueError as error:
        raise FileFormatError(f"{path} is written in a way that cannot be edited here; edit it by hand.") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make the folder {path.parent}: {error.strerror}; choose another file.") from error
    write_atomically(path, text.encode())
