"""The arithmetic that host and board share: affine quantisation, percentiles, top-k.

Both sides run these very lines, so a difference between a host's and a board's numbers never comes from here.

Quantisation follows TFLite's reference kernels (``reference_ops::AffineQuantize`` and ``Dequantize``), bit for bit:
``stored = clamp(round(real / scale) + zero_point)`` with the division in float32 and halves rounded away from zero,
and ``real = scale * (stored - zero_point)``. One scale for the whole tensor, which is all that inputs and outputs of
a model have. (Optimised QUANTIZE kernels differ from the reference on exact halves, and between platforms.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any  # np.ndarray; NumPy's own generics differ between the versions that boards have


def quantize(real: Array, scale: float, zero_point: int, dtype: Any) -> Array:
    """Return real values as the integers that a tensor of this `scale` and `zero_point` stores; they saturate.

    Args:
        real: Any shape, any real or integer type, finite. It is rounded to float32 first, as a float model sees it.
        scale: A positive float32.
        zero_point: Within the range of `dtype`.
        dtype: int8, uint8 or int16.

    Returns:
        An array of the same shape and of type `dtype`.

    Example:
        >>> quantize(np.array([-0.5, 0.25, 99.0]), 0.5, 0, np.int8)
        array([ -1,   1, 127], dtype=int8)
    """
    bounds = np.iinfo(dtype)
    with np.errstate(over="ignore"):  # what overflows to infinity saturates, too
        rest = np.divide(real.astype(np.float32, copy=False), np.float32(scale))
    # Saturate first: the bounds are integers, so rounding stays inside them.
    np.maximum(rest, np.float32(bounds.min - zero_point), out=rest)
    np.minimum(rest, np.float32(bounds.max - zero_point), out=rest)
    # Round halves away from zero: exact at every magnitude, unlike adding 0.5, and vectorised, unlike np.copysign.
    steps = np.trunc(rest)
    rest -= steps
    rest += rest
    steps += np.trunc(rest, out=rest)
    steps += np.float32(zero_point)
    return steps.astype(dtype)


def dequantize(stored: Array, scale: float, zero_point: int) -> Array:
    """Return the real values, float32, that the integers of a tensor stand for.

    Example:
        >>> dequantize(np.array([-128, 127], np.int8), 0.00390625, -128)
        array([0.        , 0.99609375], dtype=float32)
    """
    return np.float32(scale) * (stored.astype(np.int32) - np.int32(zero_point)).astype(np.float32)


def real_range(scale: float, zero_point: int, dtype: Any) -> tuple[float, float]:
    """Return the smallest and the largest real value that a tensor can store.

    Example:
        >>> real_range(0.5, 0, np.int8)
        (-64.0, 63.5)
    """
    bounds = np.iinfo(dtype)
    return float(scale) * (bounds.min - zero_point), float(scale) * (bounds.max - zero_point)


def percentile(values: Array, percent: float) -> float:
    """Return a percentile of `values` (shape (n,), n >= 1), interpolated linearly between the two nearest.

    Example:
        >>> percentile(np.array([1.0, 2.0, 3.0, 4.0]), 50)
        2.5
    """
    return float(np.percentile(values, percent))


def top_k(scores: Array, k: int) -> Array:
    """Return the classes of the `k` largest scores, best first; of equal scores the lower class comes first.

    Args:
        scores: One row of scores a sample, shape (n, classes).
        k: At least 1; more than there are classes means all of them.

    Returns:
        int64, shape (n, min(k, classes)). With k = 1 it is what `np.argmax` returns, ties included.
    """
    if k == 1:
        return np.argmax(scores, axis=1)[:, np.newaxis]
    # int64 negates the whole range of every integer score; a stable sort keeps the lower class first.
    keys = -(scores if scores.dtype.kind == "f" else scores.astype(np.int64))
    return np.argsort(keys, axis=1, kind="stable")[:, :k]


def hits(scores: Array, classes: Array, k: int = 1) -> Array:
    """Return, for each sample, whether its class is among the `k` largest scores.

    Args:
        scores: Shape (n, classes); the score of "yes", shape (n,) or (n, 1), means two classes that meet at 0.5.
        classes: The right class of each sample, integers of shape (n,).
        k: 1 for accuracy.

    Returns:
        bool, shape (n,).
    """
    if scores.ndim == 1 or scores.shape[1] == 1:
        return (scores.reshape(-1) > 0.5).astype(np.int64) == classes
    return np.any(top_k(scores, k) == classes[:, np.newaxis], axis=1)
