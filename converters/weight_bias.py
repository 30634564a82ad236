"""What the rounding of a layer's weights adds to the mean of its result, taken off its bias.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2: with ``e`` the
difference of the weights that are stored from those of the float file, and ``x`` what the float file has there, the
mean of the layer's result is off by ``e E[x]``. The means are those of samples instead of batch normalisation's. What
activations lose is not looked at (`recover.biases` does that), so layers need not wait for one another.
"""

from __future__ import annotations

import numpy as np

from ..flatbuffer import read_model
from ..flatbuffer.model import Tensor
from .outputs import Samples, batch_of, groups
from .recover.biases import on_grid
from .recover.editing import put_bias
from .recover.layers import Layer, Reals, find_layers
from .rewrite import packed, unpacked
from .tapped import Tapped

_PLACES = 64  # of a layer's result, in each group of samples


class WeightBias:
    """Corrects the biases of int8 files that are made from one float file."""

    def __init__(self, float_file: bytes, samples: Samples, *, but_first: bool) -> None:
        """Prepare.

        Args:
            float_file: The float file that was calibrated, with the model's names.
            samples: Input name -> samples whose means are taken.
            but_first: See `find_layers`.
        """
        self._float_file, self._model = float_file, read_model(float_file)
        self._samples, self._but_first = samples, but_first
        self._means: dict[str, Reals] = {}

    def taken_off(self, file: bytes) -> bytes:
        """Return an int8 file with the biases corrected; operators in it that stayed float keep theirs."""
        found = find_layers(read_model(file), self._model, but_first=self._but_first)
        layers = [layer for layer in found if layer.bias is not None]
        self._measure([layer for layer in layers if _given(layer).name not in self._means])
        tree = unpacked(file)
        for layer in layers:
            rounding = layer.integers * layer.steps - layer.real_weights
            mean = self._means[_given(layer).name]
            shift = (mean * rounding).sum(axis=0) if layer.depthwise else mean @ rounding
            put_bias(tree, layer, on_grid(layer, layer.real_bias - shift))
        return packed(tree)

    def _measure(self, layers: list[Layer]) -> None:
        """Take the means of the rows that layers read in the float file."""
        if not layers:
            return
        rng = np.random.default_rng(0)
        some = list(groups(self._samples, batch_of(self._model)))
        for tensors in Tapped(self._float_file, [layer.twin.inputs[0] for layer in layers]).each(some):
            for layer in layers:
                rows = layer.float_rows(tensors[layer.twin.inputs[0]], layer.places(_PLACES, rng))
                mean = rows.mean(axis=0, dtype=np.float64) / len(some)
                self._means[_given(layer).name] = self._means.get(_given(layer).name, 0.0) + mean


def _given(layer: Layer) -> Tensor:
    """Return the float result of a layer, by whose name it is known in every file."""
    return layer.float_graph.tensors[layer.twin.outputs[0]]
