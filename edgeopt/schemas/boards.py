"""What ``devices`` and ``agent`` say of boards."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..devices.boards.profile import Fact, Note
from ..devices.readiness import Line
from .shared import Passed


class _BoardMore(TypedDict, total=False):
    port: int
    python: str
    workdir: str
    ssh_config: str


class BoardRow(_BoardMore):
    """A board of an inventory; what is not there has its default."""

    device: str
    profile: str
    host: str
    file: str


class DevicesAdd(BoardRow):
    """What ``edgeopt devices add --json`` writes."""

    verdict: Literal["ok"]


class DevicesList(TypedDict):
    """What ``edgeopt devices list --json`` writes: the boards, and the kinds of board with their titles."""

    verdict: Literal["ok"]
    devices: list[BoardRow]
    profiles: dict[str, str]


class ProfileRow(TypedDict):
    """A kind of board: facts and notes with their sources."""

    name: str
    title: str
    facts: dict[str, Fact]
    notes: list[Note]


class _ShowMore(_BoardMore, total=False):
    host: str
    file: str


class DevicesShow(_ShowMore):
    """What ``edgeopt devices show --json`` writes; of a kind of board, no host and no file."""

    verdict: Literal["ok"]
    device: str
    profile: ProfileRow


class DevicesRemove(TypedDict):
    """What ``edgeopt devices remove --json`` writes."""

    verdict: Literal["ok"]
    device: str
    file: str


class DevicesCheck(TypedDict):
    """What ``edgeopt devices check --json`` writes: a line a fact."""

    verdict: Passed
    device: str
    lines: list[Line]


class RuntimeRow(TypedDict):
    """The runtime that was installed."""

    package: str
    version: str


class BoardFacts(TypedDict):
    """What decided on it."""

    python: list[int]
    glibc: list[int]
    machine: str


class DevicesSetup(_BoardMore):
    """What ``edgeopt devices setup --json`` writes; `shipped` are the wheels that were sent."""

    verdict: Literal["ok"]
    device: str
    profile: str
    host: str
    runtime: RuntimeRow
    board: BoardFacts
    shipped: list[str]


class DevicesClean(TypedDict):
    """What ``edgeopt devices clean --json`` writes."""

    verdict: Literal["ok"]
    device: str
    removed: list[str]


class Agent(TypedDict):
    """What ``edgeopt agent --json`` writes: the script, and its protocol's version."""

    verdict: Literal["ok"]
    agent: str
    size_bytes: int
    sha256: str
    protocol: int
