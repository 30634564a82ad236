"""Proof that a cut is exact: the big model with the removed channels zeroed, and the small one, compute the same."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np

from ...errors import ModelError
from ...models.graph.read import Graph, Step
from ...models.graph.rebuild import read_native, run
from ...models.graph.samples import sample_inputs
from ...models.graph.structure import Ref
from .dependencies import ChannelMap
from .gates import run_gated
from .surgery import Mask

_UNIT_ROUNDOFF = 2.0**-24
_CONFIDENCE = 4.0


def tolerance(channel_map: ChannelMap) -> float:
    """Return how far two float32 evaluations of the model may be apart, relative to the largest value of a tensor.

    A sum of n products has a relative error of about ``lambda sqrt(n) u`` when roundings are independent, u = 2^-24,
    lambda a small constant (Higham and Mary, A new approach to probabilistic rounding error analysis, 2019); the errors
    of successive layers add up. The two models sum the same products, with zeros left out, in another order.
    """
    lengths: list[float] = []
    for cut in channel_map.cuts:
        if cut.filters is not None:
            outputs = len(cut.weights[cut.filters[0]][cut.filters[1]])
            lengths.extend(
                int(math.prod(weight.shape)) / outputs for weight in cut.layer.weights if len(weight.shape) > 1
            )
    return _CONFIDENCE * _UNIT_ROUNDOFF * (1.0 + sum(math.sqrt(length) for length in lengths))


def verify(smaller: Any, channel_map: ChannelMap, kept: Mask, *, seed: int = 0) -> float:
    """Compare every tensor of both models on seeded random inputs.

    Args:
        smaller: The model without the units that are not kept.
        channel_map: The model with all units.
        kept: Shape (units,).
        seed: Seed of the inputs.

    Returns:
        The largest difference, relative to the largest value of its tensor.

    Raises:
        ModelError: The difference is above `tolerance`; the message names the first layer where it is.
    """
    import tensorflow as tf

    values = sample_inputs(channel_map.graph, seed)
    inputs = {ref: tf.constant(value) for ref, value in values.items()}
    big, other = run_gated(channel_map, inputs, tf.constant(kept, tf.float32)), read_native(smaller)
    small = run(other, dict(zip(other.input_names, inputs.values(), strict=True)))
    limit, worst = tolerance(channel_map), 0.0
    calls = _calls(other)
    for key, step in _calls(channel_map.graph).items():
        if key not in calls:
            continue
        for ours, theirs in zip(step.outputs, calls[key].outputs, strict=True):
            difference = _difference(_kept_part(channel_map, ours, big[ours], kept), np.asarray(small[theirs].numpy()))
            if not difference <= limit:
                raise ModelError(
                    f"Removing channels changed what layer {step.name!r} computes by {difference:.3g} of its scale; "
                    f"at most {limit:.3g} was expected; keep the channels around it with skip=[...], and report this."
                )
            worst = max(worst, difference)
    return worst


def _calls(graph: Graph) -> dict[tuple[str, int], Step]:
    """Return the steps by name and number of the call."""
    seen: dict[str, int] = defaultdict(int)
    found = {}
    for step in graph.steps:
        found[step.name, seen[step.name]] = step
        seen[step.name] += 1
    return found


def _kept_part(channel_map: ChannelMap, ref: Ref, value: Any, kept: Mask) -> Any:
    array, channels = np.asarray(value.numpy()), channel_map.tensors[ref]
    if channels is None:
        return array
    return np.compress(kept[channel_map.units[channels.labels]], array, axis=channels.axis)


def _difference(want: Any, have: Any) -> float:
    if want.shape != have.shape:
        return math.inf
    if want.size == 0:
        return 0.0
    want, have = want.astype(np.float64), have.astype(np.float64)
    scale = float(np.max(np.abs(want)))
    return float(np.max(np.abs(want - have))) / (scale or 1.0)
