"""The checks that the Edge TPU rules name: each looks at one operator and returns what it found, or None.

What a check returns fills the braces in the rule's sentences.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...flatbuffer import Tensor
from .context import EIGHT_BITS, OpContext, rows, text

Found = dict[str, object] | None
OpCheck = Callable[..., Found]


def always(context: OpContext) -> Found:
    """The operator is there."""
    return {"op": context.operator.name}


def activation_type(context: OpContext) -> Found:
    """A computed tensor of another type than int8 and uint8."""
    for tensor in context.activations():
        if tensor.dtype not in EIGHT_BITS:
            return {"tensor": repr(tensor.name), "dtype": tensor.dtype}
    return None


def no_scale(context: OpContext) -> Found:
    """A computed 8-bit tensor without quantisation."""
    for tensor in context.activations():
        if tensor.quantization is None:
            return {"tensor": repr(tensor.name), "dtype": tensor.dtype}
    return None


def outer_dimensions(context: OpContext) -> Found:
    """A computed tensor with more than 1 outside its innermost three dimensions."""
    for tensor in context.activations():
        if any(size > 1 for size in tensor.shape[:-3]):
            return {"tensor": repr(tensor.name), "shape": tensor.shape}
    return None


def real_transpose(context: OpContext) -> Found:
    """A TRANSPOSE that moves data, rather than dimensions of size 1."""
    shape, order = context.shape(), context.integers(1)
    if order is not None and all(0 <= axis < len(shape) for axis in order):
        moved = [axis for axis in order if shape[axis] > 1]
        if moved == sorted(moved):
            return None
    return {"permutation": "by a computed order" if order is None else order, "shape": text(shape)}


def computed_weights(context: OpContext) -> Found:
    """Weights, a bias or slopes that are not constants."""
    given = {"TRANSPOSE_CONV": (0, 1, 3), "PRELU": (1,)}.get(context.operator.name, (1, 2))
    for position in given:
        tensor = context.input(position)
        if tensor is not None and not tensor.is_constant:
            return {"tensor": repr(tensor.name), "op": context.operator.name}
    return None


def unequal_dilation(context: OpContext) -> Found:
    """Different dilations in x and y."""
    x, y = context.number("dilation_w_factor", 1), context.number("dilation_h_factor", 1)
    return {"x": x, "y": y} if x != y else None


def grouped(context: OpContext) -> Found:
    """A convolution whose filters see only some of the input channels."""
    shape, weights = context.shape(), context.shape(1)
    if not shape or len(weights) != 4 or not weights[3] or shape[-1] == weights[3]:
        return None
    return {"groups": shape[-1] // weights[3]}


def fused_activation(context: OpContext) -> Found:
    """An activation inside a pooling or a concatenation."""
    activation = context.option("fused_activation_function", "NONE")
    return None if activation == "NONE" else {"op": context.operator.name, "activation": activation}


def concatenated_constant(context: OpContext) -> Found:
    """A constant among the inputs, other than one block of zeros beside one computed tensor."""
    given = [context.input(position) for position in range(len(context.operator.inputs))]
    constants = [tensor for tensor in given if tensor is not None and tensor.is_constant]
    if not constants or (len(given) == 2 and all(map(_all_zero, constants))):
        return None
    return {}


def shuffled_weights(context: OpContext) -> Found:
    """Dense weights in another order than the default."""
    weights_format = context.option("weights_format", "DEFAULT")
    return None if weights_format == "DEFAULT" else {"format": weights_format}


def dense_rows(context: OpContext) -> Found:
    """A Dense layer applied at more than one position."""
    output = context.output()
    return None if output is None or rows(output) <= 1 else {"rows": rows(output)}


def dense_scales(context: OpContext) -> Found:
    """Dense weights with one scale an output."""
    weights = context.input(1)
    if weights is None or weights.quantization is None or not weights.quantization.per_channel:
        return None
    return {"scales": weights.quantization.scales.size}


def reduces_batch(context: OpContext) -> Found:
    """A reduction over the batch dimension."""
    shape = context.shape()
    if len(shape) > 1 and 0 in context.axes(1, len(shape)):
        return {"op": context.operator.name, "shape": shape}
    return None


def mean_depth(context: OpContext) -> Found:
    """A mean over channels whose number is no multiple of 4."""
    shape = context.shape()
    if shape and len(shape) - 1 in context.axes(1, len(shape)) and shape[-1] % 4:
        return {"depth": shape[-1]}
    return None


def mean_area(context: OpContext, above: int) -> Found:
    """A mean over more than `above` values."""
    shape = context.shape()
    area = math.prod(shape[axis] for axis in context.axes(1, len(shape)) if 0 <= axis < len(shape))
    return {"area": area, "shape": text(shape)} if area > above else None


def packs_batch(context: OpContext) -> Found:
    """A stack along the first axis of tensors with more than a scalar in them."""
    output = context.output()
    axis = context.number("axis")
    if output is None or len(output.shape) < 2 or axis not in (0, -len(output.shape)) or output.shape[0] == 1:
        return None
    return {}


def pads_batch(context: OpContext) -> Found:
    """Padding of the first of four dimensions."""
    padding = context.integers(1)
    return {} if padding is not None and len(context.shape()) == 4 and any(padding[:2]) else None


def prelu_alpha(context: OpContext) -> Found:
    """Slopes that differ from pixel to pixel."""
    shape = context.shape(1)
    return {"shape": shape} if any(size > 1 for size in shape[:-1]) else None


def large_output(context: OpContext, above: int) -> Found:
    """An output of more than `above` elements."""
    output = context.output()
    return {"elements": output.elements} if output is not None and output.elements > above else None


def large_activations(context: OpContext, above: int) -> Found:
    """More than `above` bytes of activations that must exist at the same time."""
    return {"live": f"{context.live_bytes:,}"} if context.live_bytes > above else None


def resize_factor(context: OpContext, limit: int) -> Found:
    """An enlargement by more than `limit` in x or y."""
    found = _resize(context) if _factor(context) > limit else None
    return None if found is None else {**found, "limit": limit}


def large_resize(context: OpContext, above: int) -> Found:
    """A change of size whose output has more than `above` elements."""
    return large_output(context, above) if _factor(context) != 1 else None


def doubtful_resize(context: OpContext, factor: int, above: int) -> Found:
    """A change of size by more than `factor`, or with an output of more than `above` elements."""
    doubtful = _factor(context) > factor or large_output(context, above) is not None
    return _resize(context) if doubtful and _factor(context) != 1 else None


def softmax_size(context: OpContext, above: int) -> Found:
    """A softmax over more than `above` values."""
    shape = context.shape()
    return {"size": shape[-1]} if shape and shape[-1] > above else None


def softmax_rows(context: OpContext) -> Found:
    """A softmax over more than one vector."""
    tensor = context.input(0)
    return None if tensor is None or rows(tensor) <= 1 else {"rows": rows(tensor)}


def splits_batch(context: OpContext) -> Found:
    """A split along the first of several dimensions."""
    shape = context.shape(1)
    return {} if len(shape) > 1 and shape[0] > 1 and 0 in context.axes(0, len(shape)) else None


def slice_strides(context: OpContext) -> Found:
    """Strides other than 1 along dimensions that have any length, or masks that change the rank."""
    strides, shape = context.integers(3), context.shape()
    steps = strides is None or any(
        step != 1 and (axis >= len(shape) or shape[axis] > 1) for axis, step in enumerate(strides)
    )
    if steps or context.number("ellipsis_mask") or context.number("new_axis_mask"):
        return {"strides": "computed at run time" if strides is None else strides}
    return None


def tiles_more_than_a_point(context: OpContext) -> Found:
    """A TILE of more than one vector of channels."""
    tensor = context.input(0)
    return None if tensor is None or rows(tensor) <= 1 else {"shape": text(tensor.shape)}


def _all_zero(tensor: Tensor) -> bool:
    values, quantization = tensor.data(), tensor.quantization
    zero = 0 if quantization is None else int(quantization.zero_points[0])
    return values is not None and bool((values == zero).all())


def _factor(context: OpContext) -> float:
    """Return the larger of the enlargements in y and x; 1 for a resize that changes nothing."""
    shape, output = context.shape(), context.output()
    if output is None or len(shape) != 4 or len(output.shape) != 4 or 0 in shape:
        return 1
    if shape == output.shape:
        return 1
    ratios = (output.shape[1] / shape[1], output.shape[2] / shape[2])
    largest = max(ratios)
    return largest if largest > 1 else min(ratios)


def _resize(context: OpContext) -> Found:
    output = context.output()
    if output is None:
        return None
    return {"before": text(context.shape()), "after": text(output.shape), "elements": output.elements}


OP_CHECKS: dict[str, OpCheck] = {
    check.__name__: check
    for check in (
        *(always, activation_type, no_scale, outer_dimensions, real_transpose, computed_weights, unequal_dilation),
        *(grouped, fused_activation, concatenated_constant, shuffled_weights, dense_rows, dense_scales),
        *(reduces_batch, mean_depth, mean_area, packs_batch, pads_batch, prelu_alpha, large_output, resize_factor),
        *(large_resize, doubtful_resize, softmax_size, softmax_rows, splits_batch, slice_strides),
        *(tiles_more_than_a_point, large_activations),
    )
}
