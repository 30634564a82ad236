"""TensorFlow functions and their namesakes in `keras.ops`: the table behind `tf_keras` `TFOpLambda` layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

_Arguments = dict[str, Any]

# Canonical TensorFlow symbol -> (keras.ops name, TensorFlow's parameters in order, those of keras.ops in the same
# order, with _ for one that means nothing there).
_X = "x"
_UNARY = {
    "math.abs": "abs", "math.ceil": "ceil", "math.cos": "cos", "math.erf": "erf", "math.exp": "exp",
    "math.floor": "floor", "math.log": "log", "math.negative": "negative", "math.round": "round",
    "math.rsqrt": "rsqrt", "math.sigmoid": "sigmoid", "math.sign": "sign", "math.sin": "sin",
    "math.softplus": "softplus", "math.sqrt": "sqrt", "math.square": "square", "math.tanh": "tanh",
    "nn.relu": "relu", "nn.relu6": "relu6", "nn.elu": "elu", "nn.selu": "selu", "nn.silu": "silu",
    "nn.swish": "silu", "nn.softsign": "softsign", "nn.sigmoid": "sigmoid", "nn.tanh": "tanh",
    "math.log_sigmoid": "log_sigmoid", "identity": "activations.linear", "convert_to_tensor": "activations.linear",
    "zeros_like": "zeros_like", "ones_like": "ones_like",
}  # fmt: skip
_BINARY = {
    "math.add": "add", "__operators__.add": "add", "math.subtract": "subtract", "math.multiply": "multiply",
    "math.truediv": "true_divide", "math.divide": "true_divide", "math.maximum": "maximum",
    "math.minimum": "minimum", "math.pow": "power", "linalg.matmul": "matmul", "math.greater": "greater",
    "math.less": "less", "math.equal": "equal", "math.not_equal": "not_equal",
}  # fmt: skip
_REDUCTIONS = {
    "math.reduce_mean": "mean", "math.reduce_sum": "sum", "math.reduce_max": "max", "math.reduce_min": "min",
    "math.reduce_prod": "prod", "math.reduce_std": "std", "math.reduce_variance": "var",
}  # fmt: skip
_OTHERS = {
    "__operators__.getitem": ("get_item", "x slice_spec", "x key"),
    "cast": ("cast", "x dtype", "x dtype"),
    "clip_by_value": ("clip", "x clip_value_min clip_value_max", "x x_min x_max"),
    "concat": ("concatenate", "values axis", "xs axis"),
    "einsum": ("einsum", "", ""),
    "expand_dims": ("expand_dims", "x axis", "x axis"),
    "nn.gelu": ("gelu", "x approximate", "x approximate"),
    "nn.leaky_relu": ("leaky_relu", "x alpha", "x negative_slope"),
    "nn.log_softmax": ("log_softmax", "x axis", "x axis"),
    "nn.softmax": ("softmax", "x axis", "x axis"),
    "pad": ("pad", "x paddings mode name constant_values", "x pad_width mode _ constant_values"),
    "repeat": ("repeat", "x repeats axis", "x repeats axis"),
    "reshape": ("reshape", "x shape", "x newshape"),
    "reverse": ("flip", "x axis", "x axis"),
    "split": ("split", "x num_or_size_splits axis", "x indices_or_sections axis"),
    "squeeze": ("squeeze", "x axis", "x axis"),
    "stack": ("stack", "values axis", "x axis"),
    "tile": ("tile", "x multiples", "x repeats"),
    "transpose": ("transpose", "x perm", "x axes"),
    "where": ("where", "condition x y", "condition x1 x2"),
}
# How TensorFlow calls the parameter that the table calls x, y.
_FIRST = ("input_tensor", "input", "tensor", "features", "logits", "a", "t", "value")
_SECOND = ("b",)

TF_SYMBOLS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    **{symbol: (name, (_X,), (_X,)) for symbol, name in _UNARY.items()},
    **{symbol: (name, (_X, "y"), ("x1", "x2")) for symbol, name in _BINARY.items()},
    **{symbol: (name, (_X, "axis", "keepdims"), (_X, "axis", "keepdims")) for symbol, name in _REDUCTIONS.items()},
    **{symbol: (name, tuple(theirs.split()), tuple(ours.split())) for symbol, (name, theirs, ours) in _OTHERS.items()},
}
_DEFAULTS: dict[str, _Arguments] = {"concat": {"axis": 0}, "split": {"axis": 0}, "reverse": {"axis": -1}}
# Arguments of TensorFlow that change nothing.
_IGNORED = ("name", "validate_indices", "data_format")


def tf_arguments(symbol: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, _Arguments]:
    """Return the `keras.ops` name of a TensorFlow function, and its arguments by the names that `keras.ops` gives them.

    Raises:
        TypeError: An argument that the `keras.ops` function has no place for.
    """
    name, theirs, ours = TF_SYMBOLS[symbol]
    given = dict(zip(theirs, args[: len(theirs)], strict=False))
    if symbol != "einsum" and any(value is not None for value in args[len(theirs) :]):
        raise TypeError(f"it has {len(args)} arguments, and keras.ops.{name} has a place for {len(theirs)}")
    for key, value in kwargs.items():
        if key in _IGNORED or value is None:
            continue
        known = key if key in theirs else _X if key in _FIRST else "y" if key in _SECOND else key
        if known in theirs and known not in given:
            given[known] = value
        elif value is not False:
            raise TypeError(f"keras.ops.{name} has no place for its argument {key}")
    renamed = {our: given[their] for their, our in zip(theirs, ours, strict=True) if their in given and our != "_"}
    for key, default in _DEFAULTS.get(symbol, {}).items():
        renamed.setdefault(key, default)
    adjust = _ADJUST.get(name)
    return name, adjust(renamed) if adjust is not None else renamed


def _split(arguments: _Arguments) -> _Arguments:
    """TensorFlow's `split` takes the sizes of the parts, `keras.ops.split` the indices where to cut."""
    sizes = arguments["indices_or_sections"]
    if isinstance(sizes, int):
        return arguments
    numbers = [int(size) for size in sizes]
    if -1 in numbers:
        raise TypeError("a part of size -1 has no counterpart")
    return {**arguments, "indices_or_sections": list(accumulate(numbers))[:-1]}


def _get_item(arguments: _Arguments) -> _Arguments:
    key = arguments["key"]
    return {**arguments, "key": tuple(map(_slice, key)) if isinstance(key, (tuple, list)) else _slice(key)}


def _slice(part: Any) -> Any:
    """tf_keras stores a slice of a graph as a dictionary."""
    if isinstance(part, Mapping):
        return slice(part["start"], part["stop"], part["step"])
    return part


def _pad(arguments: _Arguments) -> _Arguments:
    mode = str(arguments.get("mode", "CONSTANT")).lower()
    width = tuple(tuple(int(size) for size in pair) for pair in arguments["pad_width"])
    kept = {"x": arguments["x"], "pad_width": width, "mode": mode}
    return {**kept, "constant_values": arguments.get("constant_values", 0)} if mode == "constant" else kept


_ADJUST: dict[str, Callable[[_Arguments], _Arguments]] = {"split": _split, "get_item": _get_item, "pad": _pad}
