"""Channels in front of a depthwise convolution, scaled so that small ones fill more of the 8 bits that all share.

An activation has one scale, set by its largest channel. A depthwise kernel has one for each channel, so a channel may
be multiplied before it and its kernel divided: the case of cross-layer equalisation in which no weight pays for it
(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1). Powers of
two change no bit of the float result. RELU6 does not scale: a channel that reaches 6 stays, another is kept below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...data.dataset import Array
from ...flatbuffer import read_model
from ...flatbuffer.model import Operator
from ..outputs import Samples, batch_of, count_of, groups, spread
from ..tapped import Tapped
from .change import Change
from .editing import Editor

_WRITERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_SCALING = frozenset({"NONE", "RELU", "RELU6"})
_CEILING = 6.0
_SEEN = 32  # samples
_MOST = 64.0  # times: a channel of which the samples show nothing is not blown up without end
# A channel is brought half the way to the largest, in decibels: its rare values stay below that one, and below 6.
_PART = 0.5


@dataclass(frozen=True)
class _Pair:
    """A convolution, what it gives, and the depthwise convolution that alone reads it, perhaps behind a PAD."""

    writer: Operator
    result: int
    reader: Operator
    capped: bool


def even_channels(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with channels of more alike spans; None where there are none to be scaled.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Input name -> samples that show how far each channel reaches.
    """
    editor = Editor(content)
    pairs = list(_pairs(editor))
    if not pairs:
        return None
    rows = spread(count_of(samples), _SEEN)
    some = {name: values[rows] for name, values in samples.items()}
    largest = _largest(content, [pair.result for pair in pairs], some)
    gives: dict[int, Array] = {}
    reads: dict[int, Array] = {}
    names = []
    for pair in pairs:
        factors = scaling(largest[pair.result], capped=pair.capped)
        if np.any(factors != 1):
            gives[pair.writer.index], reads[pair.reader.index] = factors, factors
            names.append(editor.graph.tensors[pair.result].name)
    if not names:
        return None
    for operator in editor.graph.operators:
        if operator.index in gives or operator.index in reads:
            _scale(editor, operator, gives.get(operator.index), reads.get(operator.index))
    return Change(
        "channels",
        editor.content(),
        tuple(names),
        f"channels in front of {len(names)} depthwise convolutions scaled to spans that differ less",
    )


def scaling(largest: Array, *, capped: bool) -> Array:
    """Return the factors of channels: powers of two, at least 1.

    Args:
        largest: The largest absolute value of each channel.
        capped: Whether values end at 6, which no scaled one may reach.
    """
    wanted = (max(float(largest.max()), np.finfo(np.float32).tiny) / np.maximum(largest, 1e-30)) ** _PART
    wanted = 2.0 ** np.round(np.log2(np.minimum(wanted, _MOST)))
    if capped:
        room = 2.0 ** np.floor(np.log2(np.maximum(_CEILING / np.maximum(largest, 1e-30) * (1 - 1e-6), 1)))
        wanted = np.minimum(wanted, room)
    return np.asarray(np.maximum(wanted, 1))


def _largest(content: bytes, tensors: Sequence[int], samples: Samples) -> dict[int, Array]:
    """Return the largest absolute value of each channel of some tensors, by their index."""
    found = {tensor: np.zeros(1, np.float32) for tensor in tensors}
    for values in Tapped(content, tensors).each(list(groups(samples, batch_of(read_model(content))))):
        for tensor, value in values.items():
            each = value.reshape(-1, value.shape[-1])
            found[tensor] = np.maximum(found[tensor], np.maximum(each.max(axis=0), -each.min(axis=0)))
    return found


def _pairs(editor: Editor) -> Iterator[_Pair]:
    tensors = editor.graph.tensors
    for writer in editor.graph.operators:
        activation = str(writer.options.get("fused_activation_function", "NONE"))
        if writer.name not in _WRITERS or activation not in _SCALING or not _constant(editor, writer):
            continue
        result = writer.outputs[0]
        reader = editor.only_user(result)
        if reader is not None and reader.name == "PAD":
            reader = editor.only_user(reader.outputs[0])
        if reader is None or reader.name != "DEPTHWISE_CONV_2D" or not _constant(editor, reader):
            continue
        if tensors[reader.inputs[1]].shape[-1] == tensors[result].shape[-1]:
            yield _Pair(writer, result, reader, activation == "RELU6")


def _constant(editor: Editor, operator: Operator) -> bool:
    """Whether weights and bias are float constants."""
    return all(editor.value(index) is not None for index in operator.inputs[1:] if index >= 0)


def _scale(editor: Editor, operator: Operator, gives: Array | None, reads: Array | None) -> None:
    """Multiply what an operator gives, and divide by what its input was multiplied with, channel by channel."""
    tensors, inputs = editor.graph.tensors, list(operator.inputs)
    weights = np.asarray(editor.value(inputs[1]))
    if reads is not None:
        weights = weights / reads.astype(np.float32)
    if gives is not None:
        along = (-1,) if operator.name == "DEPTHWISE_CONV_2D" else (-1, 1, 1, 1)
        weights = weights * gives.astype(np.float32).reshape(along)
        if len(inputs) > 2 and inputs[2] >= 0:
            bias = np.asarray(editor.value(inputs[2])) * gives.astype(np.float32)
            inputs[2] = editor.constant(bias, tensors[inputs[2]].name)
    inputs[1] = editor.constant(weights.astype(np.float32), tensors[inputs[1]].name)
    editor.copy(operator, inputs, operator.outputs[0])
    editor.drop(operator)
