"""Profiles: what is known of a kind of board before it is asked, each fact with its source."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from ...errors import UsageError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Note:
    """A fact or a pitfall, and where it is known from."""

    text: str
    source: str


# What a profile may state of a board. Units are in the names; a list holds the variants that are sold.
FACTS = {
    "machine": "what `uname -m` prints",
    "cpu": "cores and chip",
    "cores": "number of cores",
    "clock_mhz": "highest clock",
    "memory_mb": "RAM",
    "page_size_bytes": "page size of its usual kernel",
    "delegate": "accelerator: none or edgetpu",
    "sram": "memory of the accelerator",
    "wheels": "runtimes that are expected to fit",
}


@dataclass(frozen=True)
class Fact:
    """One property of a board, and where it is known from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Profile:
    """A kind of board.

    Attributes:
        name: The name that ``--profile`` and inventories use.
        title: The board's name as people know it: "Raspberry Pi 4".
        install_runtime: How a TFLite runtime is installed on it, as the end of an error message.
        notes: Pitfalls of this kind of board, each with its source (default: none).
        facts: Each known fact by its name in `FACTS`; one that is not known is left out (default: none).
    """

    name: str
    title: str
    install_runtime: str
    notes: tuple[Note, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def expected(self, fact: str) -> Any:
        """Return the value of a fact, None where the profile does not state it."""
        return self.facts[fact].value if fact in self.facts else None

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        facts = {name: dict(vars(fact)) for name, fact in self.facts.items()}
        return {"name": self.name, "title": self.title, "facts": facts, "notes": [dict(vars(n)) for n in self.notes]}


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
        raise UsageError(f"Unknown board profile {name!r}{nearest(name, profile_names())}")
    text = (resources.files(f"{__package__}.profiles") / f"{name}.toml").read_text("utf-8")
    fields = tomllib.loads(text)
    notes = tuple(Note(**note) for note in fields.pop("notes", []))
    facts = {key: Fact(**fact) for key, fact in fields.pop("facts", {}).items()}
    return Profile(name=name, notes=notes, facts=facts, **fields)
