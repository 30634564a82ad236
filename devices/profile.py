"""Profiles: what is known of a kind of board before it is asked, each fact with its source."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ..errors import UsageError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Note:
    """A fact or a pitfall, and where it is known from."""

    text: str
    source: str


@dataclass(frozen=True)
class Profile:
    """A kind of board.

    Attributes:
        name: What ``--device`` or an inventory calls it.
        title: For people.
        install_runtime: How a TFLite runtime is installed on it, as the end of an error message.
        notes: Facts and pitfalls.
    """

    name: str
    title: str
    install_runtime: str
    notes: tuple[Note, ...] = ()


def profile_names() -> list[str]:
    """Return the names of all profiles.

    Example:
        >>> "local" in profile_names()
        True
    """
    folder = resources.files(f"{__package__}.profiles")
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_profile(name: str) -> Profile:
    """Return the profile `name`.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in profile_names():
        raise UsageError(f"Unknown board profile {name!r}{nearest(name, profile_names())}.")
    text = (resources.files(f"{__package__}.profiles") / f"{name}.toml").read_text("utf-8")
    fields: dict[str, Any] = tomllib.loads(text)
    notes = tuple(Note(**note) for note in fields.pop("notes", []))
    return Profile(name=name, notes=notes, **fields)
