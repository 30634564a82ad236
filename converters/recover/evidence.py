"""What a layer is to be judged and put right by: what it reads in the int8 file, and what the float file has there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...data.dataset import Array
from ..outputs import Samples
from ..tapped import Tapped
from .layers import Floats, Integers, Layer, Reals

_ROWS = 8192  # of a layer, over all samples
_CHUNK = 1024  # rows that are multiplied together
Places = list[Integers]


@dataclass(frozen=True)
class Wanted:
    """What a layer of the float file gives, before its activation, at some places of each group of samples.

    Attributes:
        places: For each group, the places in the layer's result.
        values: For each group, float32 of shape (places, channels).
    """

    places: Places
    values: list[Floats]


def wanted_of(float_file: bytes, layers: Sequence[Layer], groups: Sequence[Samples]) -> list[Wanted]:
    """Run the float file for what its layers give; chance that is the same each time picks the places."""
    rng = np.random.default_rng(0)
    count = max(1, _ROWS // len(groups))
    found = [Wanted([layer.places(count, rng) for _ in groups], []) for layer in layers]
    if not layers:
        return []
    tapped = Tapped(float_file, [layer.twin.inputs[0] for layer in layers])
    for index, tensors in enumerate(tapped.each(groups)):
        for layer, wanted in zip(layers, found, strict=True):
            rows = layer.float_rows(tensors[layer.twin.inputs[0]], wanted.places[index])
            values = times(rows, layer.real_weights.astype(np.float32)) + layer.real_bias
            wanted.values.append(values.astype(np.float32))
    return found


@dataclass(frozen=True)
class Evidence:
    """Rows that a layer of the int8 file reads, with what the float file gives instead of their product.

    Attributes:
        layer: The layer.
        rows: float32 of shape (n, K), or (n, K, channels) where it is depthwise.
        wanted: float32 of shape (n, channels), before the activation.
    """

    layer: Layer
    rows: Floats
    wanted: Floats

    @classmethod
    def of(cls, layer: Layer, stored: Sequence[Array], wanted: Wanted, groups: Sequence[int]) -> Evidence:
        """Collect them from some groups of samples; `stored` is what the int8 layer reads, group by group."""
        rows = [layer.rows(stored[group], wanted.places[group]) for group in groups]
        return cls(layer, np.concatenate(rows), np.concatenate([wanted.values[group] for group in groups]))

    def error(self, integers: Integers, bias: Reals) -> float:
        """Return the mean squared difference from the float file, after the activation."""
        made = times(self.rows, (integers * self.layer.steps).astype(np.float32)) + bias
        return float(np.mean((self.layer.activation(made) - self.layer.activation(self.wanted)) ** 2))

    @cached_property
    def mean_row(self) -> Reals:
        """The mean of the rows, (K,) or (K, channels)."""
        return np.asarray(self.rows.mean(axis=0, dtype=np.float64))

    @cached_property
    def mean_wanted(self) -> Reals:
        """The mean of what is wanted, (channels,)."""
        return np.asarray(self.wanted.mean(axis=0, dtype=np.float64))

    def moments(self) -> tuple[Reals, Reals]:
        """Return the rows' mean products, and those of rows and what the float weights leave wanting.

        Both about their means where the layer has a bias, which takes these up.

        Returns:
            (K, K) and (K, channels); of a depthwise layer (channels, K, K) and (K, channels).
        """
        centred = self.layer.bias is not None
        middle = self.mean_row if centred else np.zeros_like(self.mean_row)
        lacking = self.wanted - times(self.rows, self.layer.real_weights.astype(np.float32))
        lacking -= lacking.mean(axis=0) if centred else self.layer.real_bias.astype(np.float32)
        products: Reals = np.zeros(())
        pull: Reals = np.zeros(())
        for start in range(0, len(self.rows), _CHUNK):
            rows = (self.rows[start : start + _CHUNK] - middle).astype(np.float32)
            left = lacking[start : start + _CHUNK].astype(np.float32)
            if self.layer.depthwise:
                products = products + (rows.transpose(2, 1, 0) @ rows.transpose(2, 0, 1)).astype(np.float64)
                pull = pull + np.einsum("nkc,nc->kc", rows, left, dtype=np.float64)
            else:
                products = products + (rows.T @ rows).astype(np.float64)
                pull = pull + (rows.T @ left).astype(np.float64)
        return products / len(self.rows), pull / len(self.rows)


def times(rows: Array, weights: Array) -> Array:
    """Return rows (n, K) times weights (K, channels); of rows (n, K, channels), each channel with its own."""
    if rows.ndim == 2:
        return np.asarray(rows @ weights)
    return np.asarray(np.einsum("nkc,kc->nc", rows, weights))
