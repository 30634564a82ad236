"""JSON from outside: what is no JSON, nests without end, or holds what no JSON of edgeopt's does, is refused at once.

So whoever goes on with the values may walk through them, print them and write them again.
"""

from __future__ import annotations

import json
import math
from typing import Any, Iterable, List

MOST_LEVELS = 64
_MOST_WHOLE = 1 << 64  # beyond, a number is not even printed


def loads(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is no JSON, or a value in it is not allowed, see `check_values`; the message is a clause.

    Example:
        >>> loads('{"a": [1, null]}')
        {'a': [1, None]}
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(_DEEP) from error
    check_values(found)
    return found


_DEEP = "it nests deeper than %d levels" % MOST_LEVELS


def check_values(value: Any, finite: bool = True) -> None:
    """Raise for values that JSON or TOML may hold and edgeopt never writes.

    Args:
        value: Dicts, lists, and what they hold.
        finite: Also refuse NaN and infinity.

    Raises:
        ValueError: More than `MOST_LEVELS` levels, a whole number of more than 64 bits, half of a surrogate pair.
    """
    level: List[Any] = [[value]]
    for _ in range(MOST_LEVELS + 1):
        inner: List[Any] = []
        for node in level:
            items: Iterable[Any] = node
            if isinstance(node, dict):
                items = node.values()
                for key in node:
                    _check_text(key)
            for item in items:
                kind = type(item)
                if kind is str:
                    _check_text(item)
                elif kind is dict or kind is list:
                    inner.append(item)
                elif kind is int and not -_MOST_WHOLE < item < _MOST_WHOLE:
                    raise ValueError("it holds a whole number of more than 64 bits")
                elif kind is float and finite and not math.isfinite(item):
                    raise ValueError("it holds a number that is not finite")
        if not inner:
            return
        level = inner
    raise ValueError(_DEEP)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("it holds text that is not Unicode") from error
