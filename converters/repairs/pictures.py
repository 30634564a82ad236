"""Rescaling and normalisation of a picture, folded into the convolution behind it.

Additions and multiplications with constants run over the whole picture before anything is learnt of it. A factor goes
into the kernel, whatever the padding; what is added goes into the bias where no border is padded with zeros, to which
it would not have been added. Where one is, by the convolution or by a PAD in front of it, a single addition stays.
TensorFlow's converter does so for single numbers and without padding only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...data.dataset import Array
from ...flatbuffer.model import Operator
from ..outputs import Samples
from .change import Change
from .editing import AFFINE, Editor

_PICTURE = 4  # axes
_ALIKE = 4.0  # times: factors further apart would leave the kernel's small ones few of its own 8 bits
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


@dataclass(frozen=True)
class _Preparation:
    """``scale * x + shift`` of a picture, operator by operator, a PAD perhaps, and the convolution behind it."""

    chain: tuple[Operator, ...]
    scale: Array
    shift: Array
    pad: Operator | None
    convolution: Operator


def fold_into_convolution(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with the preparation of its pictures in its first convolution; None where it has none.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """
    exact, editor = Editor(content), Editor(content)
    names, before, after = [], 0, 0
    for item in _preparations(editor):
        left = int(bool(np.any(item.shift)) and (item.pad is not None or _pads(editor, item.convolution)))
        if left >= len(item.chain):
            continue
        _fold(exact, item, keep_shift=bool(left), rounded=False)
        _fold(editor, item, keep_shift=bool(left), rounded=True)
        names += [editor.graph.tensors[operator.outputs[0]].name for operator in item.chain]
        before, after = before + len(item.chain), after + left
    if not names:
        return None
    detail = f"{before - after} of {before} operators on the whole picture folded into the convolution behind it"
    return Change("picture", editor.content(), tuple(names), detail, proof=exact.content())


def _preparations(editor: Editor) -> Iterator[_Preparation]:
    for index in editor.graph.inputs:
        shape = editor.graph.tensors[index].shape
        if len(shape) != _PICTURE:
            continue
        scale, shift = np.ones(shape[-1]), np.zeros(shape[-1])
        chain: list[Operator] = []
        user = editor.only_user(index)
        while user is not None and (step := _step(editor, user, shape)) is not None:
            chain.append(user)
            scale, shift = scale * step[0], shift * step[0] + step[1]
            user = editor.only_user(user.outputs[0])
        pad = user if user is not None and user.name == "PAD" else None
        user = user if pad is None else editor.only_user(pad.outputs[0])
        known = user is not None and user.name in _CONVOLUTIONS and _foldable(editor, user, shape)
        known = known and (pad is None or editor.graph.tensors[pad.outputs[0]].shape[-1] == shape[-1])
        if chain and user is not None and known and np.all(scale != 0) and _spread(scale) <= _ALIKE:
            yield _Preparation(tuple(chain), scale, shift, pad, user)


def _spread(scale: Array) -> float:
    return float(np.abs(scale).max() / np.abs(scale).min())


def _step(editor: Editor, operator: Operator, shape: tuple[int, ...]) -> tuple[Array, Array] | None:
    """Return factor and addend of each channel; None for an operator that does anything else."""
    values = [editor.value(index) for index in operator.inputs]
    constants = [value for value in values if value is not None]
    plain = operator.name in AFFINE and operator.options.get("fused_activation_function") == "NONE"
    if not plain or len(constants) != 1 or editor.graph.tensors[operator.outputs[0]].shape != shape:
        return None
    constant, first = constants[0].astype(np.float64), values[0] is not None
    if constant.size not in (1, shape[-1]) or (constant.size > 1 and constant.shape[-1] != shape[-1]):
        return None
    each = np.broadcast_to(constant.ravel(), shape[-1:])
    one, none = np.ones(shape[-1]), np.zeros(shape[-1])
    if operator.name == "DIV":
        return None if first else (1 / each, none)
    if operator.name == "SUB":
        return (-one, each) if first else (one, -each)
    return (one, each) if operator.name == "ADD" else (each, none)


def _foldable(editor: Editor, convolution: Operator, shape: tuple[int, ...]) -> bool:
    """Whether kernel and bias are constants, and the kernel is that of one group."""
    kernel, bias = editor.value(convolution.inputs[1]), convolution.inputs[2:3]
    known = not bias or bias[0] < 0 or editor.value(bias[0]) is not None
    whole = convolution.name == "DEPTHWISE_CONV_2D" or (kernel is not None and kernel.shape[-1] == shape[-1])
    return kernel is not None and known and whole


def _pads(editor: Editor, convolution: Operator) -> bool:
    """Whether a convolution pads its input with zeros."""
    if convolution.options["padding"] != "SAME":
        return False
    shape = editor.graph.tensors[convolution.inputs[0]].shape
    kernel = editor.graph.tensors[convolution.inputs[1]].shape
    for axis, side in ((1, "h"), (2, "w")):
        stride, dilation = (int(str(convolution.options[key])) for key in (f"stride_{side}", f"dilation_{side}_factor"))
        reach = (kernel[axis] - 1) * dilation + 1
        if (math.ceil(shape[axis] / stride) - 1) * stride + reach > shape[axis]:
            return True
    return False


def _fold(editor: Editor, item: _Preparation, *, keep_shift: bool, rounded: bool) -> None:
    """Fold; with `rounded`, the bias goes with the kernel as 8 bits will have it.

    A kernel's rounding would be multiplied with a picture that is not centred any more, and shift the result.
    """
    convolution, tensors = item.convolution, editor.graph.tensors
    kernel = np.asarray(editor.value(convolution.inputs[1]), np.float64)
    # A depthwise kernel (1, h, w, channels * multiplier) goes through a channel's multiples first.
    times = kernel.shape[-1] // len(item.scale)
    scale, shift = (np.repeat(values, times) for values in (item.scale, item.shift))
    weights = editor.constant((kernel * scale).astype(np.float32), tensors[convolution.inputs[1]].name)
    place, picture = item.chain[0], item.chain[0].inputs[0 if editor.value(item.chain[0].inputs[0]) is None else 1]
    inputs = [picture, weights, *convolution.inputs[2:]]
    if keep_shift:
        each = (item.shift / item.scale).astype(np.float32)
        each = each[0] if np.all(each == each[0]) else each  # runtimes are faster with one number
        addend = editor.constant(np.asarray(each), tensors[place.outputs[0]].name)
        inputs[0] = editor.add(
            place, "ADD", [picture, addend], (tensors[picture].shape, tensors[place.outputs[0]].name)
        )
    elif np.any(shift):
        axes = (1, 2, 3) if convolution.name == "CONV_2D" else (0, 1, 2)
        seen = _in_8_bits(kernel * scale, axes) / scale if rounded else kernel
        more = np.sum(seen * shift, axis=axes)
        old = editor.value(convolution.inputs[2]) if len(convolution.inputs) > 2 and convolution.inputs[2] >= 0 else 0.0
        bias = editor.constant((more + old).astype(np.float32), f"{tensors[convolution.outputs[0]].name}/bias")
        inputs[2:] = [bias]
    if (pad := item.pad) is not None:
        around = (tensors[pad.outputs[0]].shape, tensors[pad.outputs[0]].name)
        inputs[0] = editor.copy(convolution, [inputs[0], pad.inputs[1]], around, like=pad)
    editor.copy(convolution, inputs, convolution.outputs[0])
    editor.drop(convolution)


def _in_8_bits(kernel: Array, axes: tuple[int, ...]) -> Array:
    """Round a kernel as the quantiser does: to 127 steps up and down, for each output by itself."""
    step = np.max(np.abs(kernel), axis=axes, keepdims=True) / 127
    return np.asarray(np.round(kernel / np.where(step > 0, step, 1)) * step)
