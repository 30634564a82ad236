"""Operations that a standard layer computes as well: `x * 2.` is Rescaling, `keras.ops.mean(x, (1, 2))` global pooling.

As layers they have weights-and-layers semantics that pruning, quantisation-aware training and channel removal know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import operations
from ..graph.read import Step
from ..graph.structure import Ref
from . import activations


@dataclass(frozen=True)
class LayerSpec:
    """A standard layer by class name and configuration (Keras 3's argument names), and what to call it on."""

    class_name: str
    config: dict[str, Any]
    inputs: Any


_Arguments = dict[str, Any]
_Rule = Callable[[_Arguments, Step], "LayerSpec | None"]


def as_layer(step: Step) -> LayerSpec | None:
    """Return the layer that computes an operation step exactly, or None when there is none."""
    try:
        arguments = operations.bind(step.operation, step.args, step.kwargs)
    except TypeError:
        return None
    rule = _RULES.get(step.operation)
    if rule is not None:
        return rule(arguments, step)
    return _activation(arguments, step)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _activation(arguments: _Arguments, step: Step) -> LayerSpec | None:
    """Functions of one float tensor, all other arguments at the default of the activation of that name."""
    name = step.operation.removeprefix("activations.")
    x = arguments.get("x")
    if not isinstance(x, Ref) or not (x.is_float or name == "linear") or not activations.is_known(name):
        return None
    function = operations.function_of(f"activations.{name}")
    for key, value in arguments.items():
        if key != "x" and operations.default_of(function, key) != value:
            return None
    return LayerSpec("Activation", {"activation": name}, x)


def _constant_arithmetic(scale: Any, offset: Any, x: Ref) -> LayerSpec | None:
    """scale * x + offset, for numbers and for one number a channel."""
    values = []
    for value in (scale, offset):
        if _is_number(value):
            values.append(float(value))
        elif getattr(value, "ndim", None) == 1 and x.shape and x.shape[-1] == len(value):
            values.append(value.tolist())
        else:
            return None
    return LayerSpec("Rescaling", {"scale": values[0], "offset": values[1]}, x) if x.is_float else None


def _binary(
    layer: str | None, left: Callable[[Any], tuple[Any, Any] | None], right: Callable[[Any], tuple[Any, Any] | None]
) -> _Rule:
    """Rule for a function of two tensors (`layer`), or of a tensor and a constant: its scale and offset either way."""

    def rule(arguments: _Arguments, step: Step) -> LayerSpec | None:
        x, y = arguments["x1"], arguments["x2"]
        if isinstance(x, Ref) and isinstance(y, Ref):
            same_kind = len(x.shape) == len(y.shape) and x.dtype == y.dtype
            return LayerSpec(layer, {}, [x, y]) if layer is not None and same_kind else None
        tensor, pair = (x, left(y)) if isinstance(x, Ref) else (y, right(x))
        return None if pair is None else _constant_arithmetic(*pair, tensor)

    return rule


def _never(_: Any) -> None:
    return None


def _maximum(arguments: _Arguments, step: Step) -> LayerSpec | None:
    x, y = arguments["x1"], arguments["x2"]
    if isinstance(x, Ref) and x.is_float and _is_number(y) and y == 0:
        return LayerSpec("ReLU", {}, x)
    return _binary("Maximum", _never, _never)(arguments, step)


def _relu(arguments: _Arguments, step: Step) -> LayerSpec | None:
    keys = ("max_value", "negative_slope", "threshold")
    config = {key: arguments[key] for key in keys if arguments.get(key) is not None}
    return LayerSpec("ReLU", config, arguments["x"])


def _relu6(arguments: _Arguments, step: Step) -> LayerSpec | None:
    return LayerSpec("ReLU", {"max_value": 6.0}, arguments["x"])


def _leaky_relu(arguments: _Arguments, step: Step) -> LayerSpec | None:
    return LayerSpec("LeakyReLU", {"negative_slope": float(arguments["negative_slope"])}, arguments["x"])


def _clip(arguments: _Arguments, step: Step) -> LayerSpec | None:
    low, high, x = arguments["x_min"], arguments["x_max"], arguments["x"]
    if _is_number(low) and _is_number(high) and low == 0 and high > 0 and x.is_float:
        return LayerSpec("ReLU", {"max_value": float(high)}, x)
    return None


def _softmax(arguments: _Arguments, step: Step) -> LayerSpec | None:
    axis = arguments["axis"]
    return LayerSpec("Softmax", {"axis": axis}, arguments["x"]) if isinstance(axis, int) else None


def _concatenate(arguments: _Arguments, step: Step) -> LayerSpec | None:
    tensors, axis = list(arguments["xs"]), arguments["axis"]
    if len(tensors) < 2 or not all(isinstance(x, Ref) for x in tensors) or axis % len(tensors[0].shape) == 0:
        return None
    return LayerSpec("Concatenate", {"axis": axis}, tensors)


def _reshape(arguments: _Arguments, step: Step) -> LayerSpec | None:
    """Reshape, squeeze and expand_dims: a Reshape layer where no sample's numbers go to another sample."""
    x, out = arguments["x"], step.outputs[0]
    before, after = _sample_size(x), _sample_size(out)
    if x.shape[0] != out.shape[0] or before is None or before != after or not _keeps_batch(arguments, x, step):
        return None
    return LayerSpec("Reshape", {"target_shape": tuple(out.shape[1:])}, x)


def _sample_size(x: Ref) -> int | None:
    """Return how many numbers a sample has, if that is fixed."""
    sizes = [size for size in x.shape[1:] if size is not None]
    return math.prod(sizes) if len(sizes) == len(x.shape) - 1 else None


def _keeps_batch(arguments: _Arguments, x: Ref, step: Step) -> bool:
    axis = arguments.get("axis", 1)
    axes = list(axis) if isinstance(axis, (tuple, list)) else [axis]
    rank = len(x.shape) + (step.operation == "expand_dims")
    return None not in axes and all(value % rank != 0 for value in axes)


def _transpose(arguments: _Arguments, step: Step) -> LayerSpec | None:
    axes = arguments["axes"]
    if axes is None or axes[0] != 0:
        return None
    return LayerSpec("Permute", {"dims": tuple(axes[1:])}, arguments["x"])


def _pooling(kind: str) -> _Rule:
    """Mean or maximum over all the axes between the batch and the channels."""

    def rule(arguments: _Arguments, step: Step) -> LayerSpec | None:
        x, axis = arguments["x"], arguments["axis"]
        rank = len(x.shape)
        if axis is None or rank not in (3, 4, 5) or not x.is_float or arguments.get("initial") is not None:
            return None
        axes = {value % rank for value in (axis if isinstance(axis, (tuple, list)) else (axis,))}
        if axes != set(range(1, rank - 1)):
            return None
        return LayerSpec(f"Global{kind}Pooling{rank - 2}D", {"keepdims": bool(arguments["keepdims"])}, x)

    return rule


def _pad(arguments: _Arguments, step: Step) -> LayerSpec | None:
    """Zeros around the axes between the batch and the channels."""
    x, width = arguments["x"], arguments["pad_width"]
    if (
        arguments["mode"] != "constant"
        or arguments["constant_values"] not in (None, 0)
        or not isinstance(width, (tuple, list))
    ):
        return None
    pairs = [tuple(pair) for pair in width]
    if len(x.shape) not in (3, 4) or len(pairs) != len(x.shape) or pairs[0] != (0, 0) or pairs[-1] != (0, 0):
        return None
    inner = pairs[1:-1]
    return LayerSpec(f"ZeroPadding{len(inner)}D", {"padding": inner[0] if len(inner) == 1 else tuple(inner)}, x)


def _reciprocal(value: Any) -> tuple[Any, float] | None:
    known = _is_number(value) or getattr(value, "ndim", None) == 1
    return (1.0 / value, 0.0) if known and np.all(value) else None


_RULES: dict[str, _Rule] = {
    "add": _binary("Add", lambda c: (1.0, c), lambda c: (1.0, c)),
    "subtract": _binary("Subtract", lambda c: (1.0, -c), lambda c: (-1.0, c)),
    "multiply": _binary("Multiply", lambda c: (c, 0.0), lambda c: (c, 0.0)),
    "true_divide": _binary(None, _reciprocal, _never),
    "divide": _binary(None, _reciprocal, _never),
    "minimum": _binary("Minimum", _never, _never),
    "maximum": _maximum,
    "negative": lambda arguments, step: _constant_arithmetic(-1.0, 0.0, arguments["x"]),
    "relu": _relu,
    "activations.relu": _relu,
    "relu6": _relu6,
    "activations.relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "activations.leaky_relu": _leaky_relu,
    "clip": _clip,
    "softmax": _softmax,
    "concatenate": _concatenate,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": _transpose,
    "mean": _pooling("Average"),
    "max": _pooling("Max"),
    "pad": _pad,
}
