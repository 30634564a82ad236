"""What stayed float in an integer file, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .output import readable_bytes

_TAIL = 30  # characters of a tensor's name, where no layer is known


def float_words(fields: Mapping[str, Any]) -> str:
    """Say what stayed float in an integer file."""
    selective = fields["selective"]
    if not fields["edges"] and not (selective and selective["operators"]):
        return ", no float operator left" if fields["fully_int8"] else ""
    chosen = [] if selective is None else selective["operators"]
    places = [f"{len(chosen)} operator(s) stay float as asked (see below)"] if chosen else []
    if not fields["edges"]:
        return f", but {places[0]}"
    for end in dict.fromkeys(row["end"] for row in fields["edges"]):
        rows = [row for row in fields["edges"] if row["end"] == end]
        layers = ", ".join(dict.fromkeys(row["layer"] or row["op"] for row in rows))
        places.append(f"{len(rows)} operator(s) at the {end} stay float ({layers})")
    return f", but {' and '.join(places)}: one integer scale cannot hold their values"


def contract_words(fields: Mapping[str, Any]) -> list[str]:
    """Say what is done in Python in front of a file, and behind it."""
    words = []
    for step in (fields["front"] or {}).get("layers") or ():
        words.append(f"{', '.join(step['inputs'])} -> {step['output']} in front of the file ({step['class']})")
    for step in (fields["back"] or {}).get("layers", ()):
        words.append(f"{', '.join(step['inputs'])} -> {step['output']} behind the file ({step['class']})")
    return words


def selective_words(found: Mapping[str, Any] | None) -> list[str]:
    """Say which operators stayed float on request, and what that bought and cost."""
    if found is None or not found["operators"]:
        return []
    before, after = found["int8"], found["selective"]
    names = ", ".join(f"{row['op']} {row['layer'] or row['tensor'][-_TAIL:]}" for row in found["operators"])
    drops = "" if after["drop"] is None else f", drop {before['drop']:.4g} -> {after['drop']:.4g}"
    return [
        f"{names}: {found['macs_share']:.2%} of the MACs",
        f"{before['snr_db']:.1f} -> {after['snr_db']:.1f} dB{drops}, "
        f"{readable_bytes(before['size_bytes'])} -> {readable_bytes(after['size_bytes'])}, "
        f"{before['latency_ms']:.3g} -> {after['latency_ms']:.3g} ms here ({found['runtime']})",
    ]
