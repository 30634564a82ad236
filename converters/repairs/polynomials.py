"""What the operators of a norm compute, as polynomials of its input, its mean and its reciprocal root.

However the additions and multiplications behind an RSQRT are ordered, what comes out is a sum of products with
constants. Held as such, every way of writing a norm looks the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...flatbuffer.model import Operator
from .editing import Editor

X, MEAN, ROOT = "x", "m", "r"
NORMED, SHIFT, CONSTANT = (ROOT, X), (MEAN, ROOT), ()
_KNOWN = {(X,), (MEAN,), (ROOT,), NORMED, SHIFT, CONSTANT}

Polynomial = dict[tuple[str, ...], Any]  # sorted symbols -> coefficient, an array that broadcasts


def polynomials(editor: Editor, known: Mapping[int, Polynomial]) -> dict[int, Polynomial]:
    """Return the polynomial of every tensor that is made of the `known` ones and constants by ADD, SUB, MUL and NEG."""
    found = dict(known)
    for operator in editor.graph.operators:
        if operator.outputs and operator.outputs[0] not in found:
            made = _made(editor, operator, found)
            if made is not None and set(made) <= _KNOWN:
                found[operator.outputs[0]] = made
    return found


def _made(editor: Editor, operator: Operator, found: Mapping[int, Polynomial]) -> Polynomial | None:
    if operator.options.get("fused_activation_function", "NONE") != "NONE" or operator.name not in _RULES:
        return None
    parts = [found.get(index) or _constant(editor, index) for index in operator.inputs]
    if any(part is None for part in parts) or not any(index in found for index in operator.inputs):
        return None
    return _RULES[operator.name]([part for part in parts if part is not None])


def _constant(editor: Editor, index: int) -> Polynomial | None:
    values = editor.value(index)
    return None if values is None else {CONSTANT: values.astype(np.float64)}


def _sum(parts: Sequence[Polynomial], sign: float = 1.0) -> Polynomial:
    first, second = parts
    total = dict(first)
    for key, values in second.items():
        total[key] = total.get(key, 0.0) + sign * values
    return {key: values for key, values in total.items() if np.any(values)}


def _product(parts: Sequence[Polynomial]) -> Polynomial:
    total: Polynomial = {}
    for one, ours in parts[0].items():
        for other, theirs in parts[1].items():
            key = tuple(sorted((*one, *other)))
            total[key] = total.get(key, 0.0) + ours * theirs
    return total


_RULES: dict[str, Callable[[Sequence[Polynomial]], Polynomial]] = {
    "ADD": _sum,
    "SUB": lambda parts: _sum(parts, -1.0),
    "MUL": _product,
    "NEG": lambda parts: {key: -values for key, values in parts[0].items()},
}
