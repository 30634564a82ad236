"""What a board says, before anyone believes it: lines of bounded length, and text that cannot steer a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from ..agent.streams import LONGEST_LINE

LONGEST_TEXT = 2000  # characters of one message
MOST_OUTPUT = 1 << 20  # bytes of a program's output that are kept of its beginning, and as many of its end
_SHOWN = 500  # bytes of a line that is too long

# ECMA-48: control sequences, and the strings of operating system commands and the like, up to their end.
_ESCAPES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)


def clean(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a board's text as one line of printable characters, of `longest` at most.

    Example:
        >>> clean("no \\x1b[31mspace\\x1b[0m\\nleft")
        'no space left'
    """
    words = " ".join(_ESCAPES.sub("", text[: 4 * longest]).split())
    shown = "".join(c if c.isprintable() else "\ufffd" for c in words)
    return shown if len(shown) <= longest and len(text) <= 4 * longest else f"{shown[:longest]}..."


def clean_values(value: Any) -> Any:
    """Return JSON values with every text in them cleaned, names included."""
    if isinstance(value, str):
        return value if value.isprintable() else clean(value, len(value))
    if isinstance(value, dict):
        return {clean_values(key): clean_values(item) for key, item in value.items()}
    return [clean_values(item) for item in value] if isinstance(value, list) else value


def lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream until it ends, or is closed under the reader's feet.

    Of a line that is longer than anything that edgeopt says, only the beginning is kept.
    """
    with suppress(OSError, ValueError):
        while line := stream.readline(LONGEST_LINE):
            if len(line) < LONGEST_LINE or line.endswith(b"\n"):
                yield line
                continue
            yield line[:_SHOWN]
            while line and not line.endswith(b"\n"):
                line = stream.readline(LONGEST_LINE)


def shown(line: bytes) -> str:
    """Return a line as a message may quote it."""
    return clean(line[: 4 * _SHOWN].decode("utf-8", "replace"), _SHOWN)


def beginning_and_end(stream: IO[bytes]) -> bytes:
    """Return what a program prints: all of it, or the beginning and the end of too much."""
    head, tail, dropped = bytearray(), bytearray(), False
    with suppress(OSError, ValueError):
        while block := stream.read(1 << 16):
            free = MOST_OUTPUT - len(head)
            head += block[:free]
            tail += block[max(free, 0) :]
            if len(tail) > 2 * MOST_OUTPUT:
                del tail[:-MOST_OUTPUT]
                dropped = True
    return bytes(head) + (b"\n" if dropped else b"") + bytes(tail)
