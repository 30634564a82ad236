"""The trained weights back in a float model of the user's flavour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...models.graph.read import Step, read_graph
from ...models.graph.rebuild import copy_layer, read_native, rebuild
from ...models.graph.weights import copy_weights

Weights = list[npt.NDArray[Any]]


def put_back(bridged: Any, sources: Mapping[str, Callable[[], Weights]]) -> None:
    """Give the float tf_keras model that was lowered the weights that the QAT model has now."""
    for name, weights in sources.items():
        for weight, array in zip(bridged.get_layer(name).weights, weights(), strict=True):
            weight.assign(np.asarray(array))


def in_original_flavour(model: Any, bridged: Any) -> Any:
    """Return a copy of the user's model, flattened, with the weights of its tf_keras counterpart.

    Args:
        model: The model as the user gave it.
        bridged: `to_tf_keras(model)` or `flatten(model)`, trained.
    """
    graph = read_native(model)
    # The bridge named the layers; both read the same steps in the same order.
    bridge_names = [step.name for step in read_graph(model).steps]
    names = {id(step.layer): name for step, name in zip(graph.steps, bridge_names, strict=True)}
    copies: list[tuple[Any, Any]] = []

    def copy(layer: Any, step: Step) -> Any:
        copied = copy_layer(layer, step, {})
        copies.append((copied, layer))
        return copied

    rebuilt = rebuild(graph, model, copy)
    for copied, layer in copies:
        if layer.weights:
            copy_weights(bridged.get_layer(names[id(layer)]), copied)
    return rebuilt
