"""Build the smaller model: every layer again, with the weights of the units that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...models.graph.read import Step
from ...models.graph.rebuild import copy_layer, rebuild
from ...models.graph.weights import settle
from .dependencies import ChannelMap
from .labels import Labels
from .layer_rules import weight_names
from .tracker import LayerCut, Setting

Mask = npt.NDArray[np.bool_]


def remove_units(model: Any, channel_map: ChannelMap, kept: Mask) -> Any:
    """Return a new model without some units; `model` is not changed.

    Args:
        model: The Keras model that `channel_map` was made from.
        channel_map: Its channels.
        kept: Shape (units,); at least one unit of each layer must be kept, and every frozen one.

    Raises:
        ModelError: A layer cannot be copied.
    """
    cuts = {id(cut.layer): cut for cut in channel_map.cuts}
    pairs: list[tuple[Any, Any]] = []

    def copy(layer: Any, step: Step) -> Any:
        cut = cuts.get(id(layer))
        copied = copy_layer(layer, step, {} if cut is None else _settings(cut, channel_map.units, kept))
        pairs.append((layer, copied))
        return copied

    smaller = rebuild(channel_map.graph, model, copy)
    for layer, copied in pairs:
        _set_weights(layer, copied, cuts.get(id(layer)), channel_map.units, kept)
    return smaller


def kept_outputs(channel_map: ChannelMap, kept: Mask) -> dict[str, npt.NDArray[np.int64]]:
    """Return the indices of the output channels that each layer with a cut weight keeps, by layer name."""
    found = {}
    for cut in channel_map.cuts:
        labels = _output_labels(cut)
        if labels is not None:
            found[cut.name] = np.flatnonzero(kept[channel_map.units[labels]])
    return found


def _output_labels(cut: LayerCut) -> Labels | None:
    if cut.filters is not None:
        weight, axis = cut.filters
        return cut.weights[weight][axis]
    return next((axes[0] for axes in cut.weights.values() if 0 in axes), None)


def _settings(cut: LayerCut, units: Labels, kept: Mask) -> dict[str, int | tuple[int, ...]]:
    changed: dict[str, int | tuple[int, ...]] = {}
    for setting in cut.settings:
        count = int(np.count_nonzero(kept[units[setting.labels]])) // setting.divisor
        changed[setting.key] = count if setting.position is None else _placed(cut.layer, setting, count)
    return changed


def _placed(layer: Any, setting: Setting, count: int) -> tuple[int, ...]:
    values = list(getattr(layer, setting.key))
    values[setting.position or 0] = count
    return tuple(values)


def _set_weights(layer: Any, copied: Any, cut: LayerCut | None, units: Labels, kept: Mask) -> None:
    names = weight_names(layer)
    source = dict(zip(names, layer.weights, strict=True)) if len(set(names)) == len(names) else None
    if source is None or cut is None:
        copied.set_weights(layer.get_weights())
        settle(copied)
        return
    for name, variable in zip(weight_names(copied), copied.weights, strict=True):
        variable.assign(_sliced(np.asarray(source[name].numpy()), cut.weights.get(name, {}), units, kept))


def _sliced(array: npt.NDArray[Any], axes: Mapping[int, Labels], units: Labels, kept: Mask) -> npt.NDArray[Any]:
    for axis, labels in axes.items():
        array = np.compress(kept[units[labels]], array, axis=axis)
    return array
