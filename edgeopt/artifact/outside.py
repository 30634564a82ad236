"""Text from outside: read up to a limit, and taken as JSON or TOML whose values nobody need be afraid of."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from ..devices.agent.outside import check_values, loads

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["loads", "loads_toml", "read_text"]

LONGEST_TEXT = 16 << 20  # bytes; the sidecar of a network of a thousand layers has one hundredth of it
_LONGEST_TOML = 1 << 20
_MOST_NAMES = 64
# A dotted key takes time that grows with the square of its names.
_LONG_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{_MOST_NAMES}}}""",
    re.ASCII,
)


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is longer than `LONGEST_TEXT`, or not UTF-8; the message is a clause.
    """
    with open(path, "rb") as stream:
        data = stream.read(LONGEST_TEXT + 1)
    if len(data) > LONGEST_TEXT:
        raise ValueError(f"it has more than {LONGEST_TEXT >> 20} MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error


def loads_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text; NaN and infinity are numbers there.

    Raises:
        ValueError: It is no TOML, is longer than 1 MiB, or a value in it is not allowed (see
            `edgeopt.devices.agent.outside.check_values`); the message is a clause.
    """
    if len(text) > _LONGEST_TOML:
        raise ValueError(f"it has more than {_LONGEST_TOML >> 20} MiB")
    if _LONG_KEY.search(text):
        raise ValueError(f"a key in it has more than {_MOST_NAMES} names")
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    check_values(tables, finite=False)
    return tables
