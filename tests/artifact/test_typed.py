"""Values from outside are what their place asks for, or the message says where they are not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest

from edgeopt.artifact.typed import Unfit, fitted, item
from edgeopt.errors import UsageError


class Look(TypedDict):
    clock: float | None
    flags: list[str]


@dataclass(frozen=True)
class Line:
    name: str
    limit: float
    met: bool | None = None
    ends: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        if self.name == "bad":
            raise UsageError("The name is bad; choose another.")


def test_values_that_fit_come_through():
    assert fitted(Look, {"clock": 1, "flags": [], "later": 3}, "x") == {"clock": 1, "flags": [], "later": 3}
    assert fitted(dict[str, int], {"a": 1}, "x") == {"a": 1}
    assert fitted(tuple[str, ...], ["a", "b"], "x") == ("a", "b")
    assert fitted(Mapping[str, Any] | None, None, "x") is None
    assert fitted(list[Line], [{"name": "a", "limit": 2, "ends": [0, 1]}], "x") == [Line("a", 2, None, (0, 1))]
    assert item(float | None, {"a": 0.5}, "a") == 0.5


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, True, "x is True, expected a whole number"),
        (int, 1.0, "x is 1.0, expected a whole number"),
        (int, 1 << 64, "x is 18446744073709551616, expected a whole number"),
        (bool, 1, "x is 1, expected true or false"),
        (float, math.nan, "x is nan, expected a finite number"),
        (float, "1", "x is '1', expected a finite number"),
        (float | None, "1", "x is '1', expected a finite number"),
        (str, None, "x is null, expected text"),
        (str, [[]], "x is a list, expected text"),
        (list[int], [1, "a"], r"x\[1\] is 'a', expected a whole number"),
        (tuple[float, float], [1], "x is a list, expected a list of 2"),
        (dict[str, int], {"a": None}, r"x\.a is null, expected a whole number"),
        (Look, {"clock": None}, "x lacks flags"),
        (Look, {"clock": None, "flags": "busy"}, r"x\.flags is 'busy', expected a list"),
        (Line, {"name": "a"}, "x lacks limit"),
        (Line, {"name": "a", "limit": 1, "mett": True}, "x has the unknown key 'mett'; did you mean 'met'"),
        (Line, 3, "x is 3, expected a table"),
        (list[Line], [{"name": "a", "limit": "1"}], r"x\[0\]\.limit is '1', expected a finite number"),
    ],
)
def test_the_message_says_where_and_what(kind, value, message):
    with pytest.raises(Unfit, match=f"^{message}"):
        fitted(kind, value, "x")


def test_a_message_stays_short_and_printable():
    with pytest.raises(Unfit, match="expected a whole number") as caught:
        fitted(dict[str, int], {"\x1b[2J" + "k" * 9000: "v" * 9000}, "x")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_what_is_missing_is_named():
    with pytest.raises(Unfit, match="^b is missing"):
        item(int, {"a": 1}, "b")


def test_a_dataclass_still_refuses_by_itself():
    with pytest.raises(UsageError, match="The name is bad"):
        fitted(Line, {"name": "bad", "limit": 1}, "x")
