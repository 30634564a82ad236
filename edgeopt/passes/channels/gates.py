"""Run the unpruned model with a gate on every unit: closed gates are what removal implies, gradients are importance.

A gate multiplies a unit's channels at each place where they are mixed into other channels (the inputs of convolutions
and Dense layers). Removing the unit removes exactly these products, so a model with closed gates and the model without
the units compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...models.graph.rebuild import run
from ...models.graph.structure import Ref
from .dependencies import ChannelMap
from .labels import Labels

# Called with the labels on the last axis, and the value, of each tensor where gates are.
Observer = Callable[[Labels, Any], None]


def run_gated(channel_map: ChannelMap, inputs: Mapping[Ref, Any], gates: Any) -> dict[Ref, Any]:
    """Return the value of each tensor with the unit's gates applied.

    Args:
        channel_map: The model.
        inputs: TensorFlow tensors for the graph's inputs.
        gates: A tensor or variable of shape (units,): 1 is open, 0 is closed.
    """
    import tensorflow as tf

    def gate(index: int, ref: Ref, value: Any) -> Any:
        if (index, ref) not in channel_map.gates:
            return value
        return value * tf.cast(tf.gather(gates, _units(channel_map, ref)), value.dtype)

    return run(channel_map.graph, inputs, gate)


def observe(channel_map: ChannelMap, inputs: Mapping[Ref, Any], observer: Observer) -> None:
    """Show `observer` every tensor where gates are, once for each step that mixes it."""

    def look(index: int, ref: Ref, value: Any) -> Any:
        if (index, ref) in channel_map.gates:
            observer(_units(channel_map, ref), value)
        return value

    run(channel_map.graph, inputs, look)


def _units(channel_map: ChannelMap, ref: Ref) -> Labels:
    channels = channel_map.tensors[ref]
    if channels is None:  # a gate is only ever put on channels
        raise KeyError(ref)
    return channel_map.units[channels.labels]
