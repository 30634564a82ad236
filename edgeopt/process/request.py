"""What a child process is asked, as a dataclass that crosses to it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

Own = TypeVar("Own", bound="Request")


@dataclass(frozen=True)
class Request:
    """Fields that JSON can hold, paths, and dataclasses of such; `from_dict` is for those whose fields are all plain.

    Example:
        >>> run_isolated("edgeopt.models.predict:serve", Predict(model="model.keras", ...).to_dict())
    """

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them: paths as text, dataclasses as dicts."""
        return asdict(self, dict_factory=_plain)

    @classmethod
    def from_dict(cls: type[Own], values: Mapping[str, Any]) -> Own:
        """Return the request that `to_dict` gave (the child's side)."""
        return cls(**values)


def _plain(fields: list[tuple[str, object]]) -> dict[str, object]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in fields}
