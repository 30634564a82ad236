"""Figures as they are printed: with the digits that their interval deserves, and no others."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Without an interval; and, in what has one, of half its width.
_DIGITS, _DIGITS_OF_DOUBT = 4, 2
_MOST_PLACES = 6  # more of them are written as a power of ten
_ALL = 17  # digits that tell any two numbers apart


def figure(value: float, interval: Sequence[float] | None = None, *, signed: bool = False) -> str:
    """Return a number as text: two significant digits of its interval's half width; four of its own without one.

    What is not zero is never printed as zero.

    Example:
        >>> figure(0.93271, (0.9271, 0.9379)), figure(2.04e-8, (1.9e-8, 2.2e-8)), figure(0.5)
        ('0.9327', '2.04e-08', '0.5000')
    """
    sign = "+" if signed else ""
    places = _places(value, interval)
    if places <= _MOST_PLACES:
        return f"{value:{sign}.{max(0, places)}f}"
    digits = places + _magnitude(value) if value else 0
    return f"{value:{sign}.{max(0, digits)}e}" if value else f"{value:{sign}.0f}"


def with_interval(
    value: float, interval: Sequence[float] | None, *, signed: bool = False, ends: str = "95 % interval"
) -> str:
    """Return a number and, in brackets, the ends of its interval, all to the same place, or `ends` alone without one.

    Example:
        >>> with_interval(0.01, (-0.012, 0.034), signed=True)
        '+0.010 (95 % interval -0.012 to +0.034)'
    """
    if interval is None:
        return f"{figure(value, signed=signed)} ({ends})"
    low, high = interval_ends(interval, signed=signed)
    return f"{figure(value, interval, signed=signed)} ({ends} {low} to {high})"


def interval_ends(interval: Sequence[float], *, signed: bool = False) -> tuple[str, str]:
    """Return both ends as text, with the digits that half the interval's width deserves."""
    low, high = interval
    return figure(low, interval, signed=signed), figure(high, interval, signed=signed)


def beside(value: float, other: float) -> str:
    """Return a number with as many digits, at least four, as it takes to tell it from `other`.

    Example:
        >>> beside(0.010000001, 0.01), beside(0.25, 0.01), beside(59072, 60000)
        ('0.010000001', '0.25', '59072')
    """
    if abs(value) >= 10**_DIGITS and float(value).is_integer():
        return f"{value:.0f}"
    for digits in range(_DIGITS, _ALL + 1):
        text = f"{value:.{digits}g}"
        if value == other or text != f"{other:.{digits}g}":
            return text
    return repr(value)


def readable_bytes(count: int) -> str:
    """Return `count` bytes in B, KiB or MiB.

    Example:
        >>> readable_bytes(2048)
        '2.0 KiB'
    """
    if count < 1024:
        return f"{count} B"
    if count < 1024**2:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024**2:.2f} MiB"


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _places(value: float, interval: Sequence[float] | None) -> int:
    """Return how many places after the point are printed; below 0, none."""
    half = 0.0 if interval is None else abs(interval[1] - interval[0]) / 2
    if 0 < half < math.inf:
        places = _DIGITS_OF_DOUBT - 1 - _magnitude(half)
        return places if not value else max(places, -_magnitude(value))
    return _DIGITS if not value else max(0, _DIGITS - 1 - _magnitude(value))


def duration(seconds: float) -> str:
    """Return a time as a person would say it: ``40 s``, ``12 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
