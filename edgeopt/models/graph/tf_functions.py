"""Operations under their `keras.ops` names, called as the TensorFlow functions that tf_keras graphs are made of.

The other direction of `bridge.tf_symbols`, for graphs that are read from tf_keras and rebuilt in tf_keras.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

from . import operations
from .tf_symbols import TF_SYMBOLS

# First symbol of a name -> what a graph is built with; aliases give the same numbers.
_SYMBOL_OF = {name: (symbol, ours) for symbol, (name, _, ours) in reversed(list(TF_SYMBOLS.items()))}


def is_known(name: str) -> bool:
    """Whether TensorFlow has a function for the operation."""
    return name in _SYMBOL_OF


def call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call an operation, given in the terms of `keras.ops`, on tf_keras' symbolic tensors.

    Raises:
        TypeError: The arguments do not fit the function.
    """
    import tensorflow as tf

    if name == "einsum":
        return tf.einsum(*args)
    given = operations.bind(name, args, kwargs)
    symbol, ours = _SYMBOL_OF[name]
    if name == "get_item":
        return given["x"][given["key"]]
    if name == "pad":
        fill = given["constant_values"] or 0
        return tf.pad(given["x"], given["pad_width"], str(given["mode"]).upper(), constant_values=fill)
    values = [given[key] for key in ours]
    if name == "split":
        values[1] = _sizes(values[1], int(values[0].shape[values[2]]))
    function = functools.reduce(getattr, symbol.removeprefix("__operators__.").split("."), tf)
    return function(*values)


def _sizes(sections: Any, length: int) -> Any:
    """`keras.ops.split` takes the indices where to cut, TensorFlow the sizes of the parts."""
    if isinstance(sections, int):
        return sections
    edges = [0, *sections, length]
    return [after - before for before, after in itertools.pairwise(edges)]
