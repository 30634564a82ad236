"""MultiHeadAttention as what TFLite makes of it: four projections around two products; imports TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from ...models.graph.read import Step
from ...models.graph.structure import Ref
from .quantized import Quantized, plain
from .ranges import ActivationRange, fixed, is_training, register, within
from .rules import Objection

# So far below the smallest score a softmax of 256 levels gives nothing: exp(-x) is half a level at x = ln(512) = 6.2.
_UNSEEN = 7.0
_CALL = signature(tf_keras.layers.MultiHeadAttention.call)


def arguments(step: Step) -> dict[str, Any]:
    """Return what a MultiHeadAttention is called with, by the names of its arguments; all of them."""
    bound = _CALL.bind(step.layer, *step.args, **step.kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    return {**given, "key": given["value"] if given["key"] is None else given["key"]}


def objection(step: Step) -> Objection | None:
    """Return why a call of MultiHeadAttention stays float, or None."""
    given = arguments(step)
    inputs = [given[name] for name in ("query", "value", "key")]
    if given["attention_mask"] is not None:
        return "no int8 operator", "a mask that is computed; use_causal_mask=True is trained quantised"
    if given["return_attention_scores"]:
        return "no int8 operator", "the attention's scores as an output"
    if not all(isinstance(ref, Ref) and len(ref.shape) == 3 and ref.shape[1] is not None for ref in inputs):
        return "no int8 operator", "other inputs than sequences of vectors, of a length that the model states"
    if len(step.layer._output_dense.kernel.shape) != 3:
        return "no int8 operator", "an output of several dimensions"
    return None


@dataclass(frozen=True)
class Projection:
    """One of the four layers inside, as a Dense layer.

    Attributes:
        role: ``query``, ``key``, ``value`` or ``attention_output``.
        dense: The Dense layer, unbuilt.
        weights: What it computes with: a matrix, and a vector if it has a bias.
        shapes: The shapes that these weights have in the MultiHeadAttention.
    """

    role: str
    dense: Any
    weights: list[npt.NDArray[Any]]
    shapes: list[tuple[int, ...]]

    def as_given(self, weights: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Return weights of the Dense layer in the shapes of the MultiHeadAttention."""
        return [array.reshape(shape) for array, shape in zip(weights, self.shapes, strict=True)]


def projections(layer: Any, step: Step) -> list[Projection]:
    """Return the four projections of a MultiHeadAttention on sequences of vectors, in the order of its weights."""
    found = []
    inner = {"query": layer._query_dense, "key": layer._key_dense, "value": layer._value_dense}
    for role, einsum in {**inner, "attention_output": layer._output_dense}.items():
        arrays = [np.asarray(weight) for weight in einsum.weights]
        kernel = arrays[0]
        columns = kernel.shape[-1] if role == "attention_output" else math.prod(kernel.shape[1:])
        dense = tf_keras.layers.Dense(columns, use_bias=len(arrays) > 1, name=f"{step.name}/{role}")
        dense.trainable = step.trainable
        flat = [kernel.reshape(-1, columns), *(bias.reshape(-1) for bias in arrays[1:])]
        found.append(Projection(role, dense, flat, [array.shape for array in arrays]))
    return found


@register
class QuantizedAttention(Quantized):
    """What is between the projections: softmax(query key^T) value, head by head, each result with its range.

    Called with projected and scaled queries [batch, T, heads * key_dim], keys [batch, S, heads * key_dim] and values
    [batch, S, heads * value_dim]; gives [batch, T, heads * value_dim].

    Args:
        heads: Number of heads.
        dropout: Share of the attention that is dropped in training.
        causal: No query attends to a key behind it.
    """

    def __init__(self, heads: int, *, dropout: float = 0.0, causal: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.dropout, self.causal = heads, dropout, causal

    def build(self, input_shape: Any) -> None:
        """Make the range of the scores."""
        self._scores = ActivationRange(self, "scores")
        super().build(input_shape)

    @plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute."""
        learning = is_training(training)
        query, key, value = (self._by_head(part) for part in inputs)
        scores = self._scores(tf.matmul(query, key, transpose_b=True), learning)
        if self.causal:
            scores = self._without_future(scores)
        shares = fixed(tf.nn.softmax(scores), 0.0, 255 / 256)
        if learning and self.dropout:
            shares = tf.nn.dropout(shares, self.dropout)
        mixed = tf.transpose(tf.matmul(shares, value), [0, 2, 1, 3])
        return self.finish(tf.reshape(mixed, (-1, mixed.shape[1], mixed.shape[2] * mixed.shape[3])), learning)

    def _by_head(self, x: Any) -> Any:
        split = tf.reshape(x, (-1, x.shape[1], self.heads, x.shape[2] // self.heads))
        return tf.transpose(split, [0, 2, 1, 3])

    def _without_future(self, scores: Any) -> Any:
        low, high = self._scores.limits
        allowed = tf.linalg.band_part(tf.ones(scores.shape[-2:]), -1, 0)
        return within(scores - (1.0 - allowed) * (high - low + _UNSEEN), low - _UNSEEN, high)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout, "causal": self.causal}
