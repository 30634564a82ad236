"""Damage to real files: the same seed and number give the same damage, on every machine.

`mutate` knows nothing of a format; `mutate_json` and `mutate_toml` change what a parsed document says, so that a reader
is reached behind its parser.
"""

from __future__ import annotations

import json
import math
import random
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any

import tomli_w

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Mutate = Callable[[bytes, Sequence[bytes], random.Random], bytes]

_WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
# More than this is never made: what a large input costs is a matter for tests of their own.
MOST_BYTES = 8 << 20


def mutate(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return `data` with one to a few changes; `others` are files that pieces may be taken from."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not changed:
            break
        rng.choice(_CHANGES)(changed, others, rng)
    return bytes(changed[:MOST_BYTES])


def _flip(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_byte(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _set_integer(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """Overwrite a field with a number that makes a bad length, offset or count."""
    width = rng.choice((1, 2, 4, 4, 8))
    if len(data) < width:
        return
    most = 2 ** (8 * width) - 1
    number = rng.choice((0, 1, most, most >> 1, (most >> 1) + 1, len(data), rng.randrange(len(data)), 1 << 20))
    start = rng.randrange(len(data) - width + 1)
    start -= start % width if rng.random() < 0.7 else 0
    struct.pack_into(f"{rng.choice('<<<>')}{_WIDTHS[width]}", data, start, number & most)


def _add(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start] = (data[start] + rng.choice((1, -1, 16, -16))) & 0xFF


def _span(data: bytearray | bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 16, 64, 1 + rng.randrange(len(data)))))


def _copy(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """Write one piece over another place, or put it in there."""
    start, end = _span(data, rng)
    target = rng.randrange(len(data))
    data[target : target + (end - start if rng.random() < 0.5 else 0)] = data[start:end]


def _delete(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    start, end = _span(data, rng)
    del data[start:end]


def _cut(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _splice(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others) if others else b""
    if not other:
        return
    start, end = _span(other, rng)
    place = rng.randrange(len(data))
    data[place : place + (end - start if rng.random() < 0.7 else 0)] = other[start:end]


_CHANGES = (
    _flip,
    _flip,
    _set_byte,
    _set_byte,
    _set_integer,
    _set_integer,
    _set_integer,
    _add,
    _copy,
    _delete,
    _cut,
    _splice,
)


def odd_value(rng: random.Random) -> Any:
    """Return a value that a careless reader does not expect."""
    return deepcopy(rng.choice(_ODD))  # which the next change may change


_ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        3,
        2**31,
        2**63,
        -(2**63),
        10**30,
        10**400,
        0.5,
        -0.0,
        1e308,
        math.inf,
        -math.inf,
        math.nan,
    ),
    *("", "x", "0", "-1", "nan", "é\0\ud800", "/", "..", "a" * 5000, "1e9999"),
    *([], [[]], [1, "a", None], {}, {"": {}}, {"x": [{}]}),
)


def mutate_json(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Change what a JSON document says: values of other types, keys that go, nests; one time in four its bytes."""
    if rng.random() < 0.25:
        return mutate(data, others, rng)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate(data, others, rng)
    if rng.random() < 0.02:
        depth = rng.choice((100, 1_000, 100_000))
        return b'{"x":' * depth + b"1" + b"}" * depth if rng.random() < 0.5 else b"[" * depth + b"]" * depth
    for _ in range(rng.choice((1, 1, 2, 4))):
        document = change(document, rng)
    return json.dumps(document).encode()


def change(document: Any, rng: random.Random) -> Any:
    """Return a nest of dicts and lists with one change somewhere; it is changed in place."""
    places = [
        (node, key) for node in _nodes(document) for key in (node if isinstance(node, dict) else range(len(node)))
    ]
    if not places:
        return odd_value(rng)
    node, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[rng.choice(("", "x", str(key) + "_", "__class__"))] = node[key]
    elif kind == 2:
        other, name = rng.choice(places)
        node[key] = json.loads(json.dumps(other[name]))
    elif kind == 3 and isinstance(node, list):
        node.append(odd_value(rng))
    else:
        node[key] = odd_value(rng)
    return document


def _nodes(document: Any) -> list[Any]:
    found, waiting = [], [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict | list):
            found.append(node)
            waiting += node.values() if isinstance(node, dict) else node
    return found


def mutate_toml(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Change what a TOML document says, or lines of it: keys that go or come twice; one time in four its bytes."""
    if rng.random() < 0.5:
        with suppress(ValueError, RecursionError, TypeError, AttributeError):  # null, say, is no value of TOML
            return tomli_w.dumps(change(tomllib.loads(data.decode()), rng)).encode()
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    if not lines or rng.random() < 0.25:
        return mutate(data, others, rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(lines))
        name, equals, _ = lines[place].partition("=")
        if equals and rng.random() < 0.7:
            lines[place] = f"{name}= {rng.choice(_TOML_VALUES)}"
        elif rng.random() < 0.3:
            lines[place] = rng.choice(lines)
        else:
            lines.insert(place, rng.choice((*lines, *_TOML_LINES)))
    return "\n".join(lines).encode("utf-8", "surrogateescape")


_TOML_VALUES = (
    *("true", "0", "-1", "3", "10" * 200, "0.5", "1e308", "inf", "-inf", "nan", '""', '"x"', '"/"', '"..\\u0000"'),
    *("[]", "[[]]", '["x", 1]', "{}", "{x = 1}", "1979-05-27", "07:32:00", "0x7fffffffffffffff", "9223372036854775808"),
    *("[" * 2000 + "]" * 2000, "{a=" * 2000 + "1" + "}" * 2000, '"' + "a" * 5000 + '"'),
)
_TOML_LINES = ("[x]", "[[x]]", "x = 1", "= 1", "[a.b.c.d]", "[" + "a." * 3000 + "a]", "\ufeff", "x.y.z = 1")


def mutate_lines(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Change lines of a text: drop, double, swap, other numbers in them; one time in four its bytes."""
    lines = data.split(b"\n")
    if rng.random() < 0.25:
        return mutate(data, others, rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not lines:
            break
        kind, place = rng.randrange(4), rng.randrange(len(lines))
        if kind == 0:
            del lines[place]
        elif kind == 1:
            lines.insert(rng.randrange(len(lines)), lines[place])
        elif kind == 2:
            lines[place] = rng.choice(
                (b"", lines[place][::-1], (lines[place] * 50)[:100_000], b"\xff\xfe", b" " * 5000)
            )
        else:
            words = lines[place].split(b" ")
            words[rng.randrange(len(words))] = rng.choice((b"-1", b"9" * 5000, b"nan", b"1e999", b"", b"\0", b"%s"))
            lines[place] = b" ".join(words)
    return b"\n".join(lines)
