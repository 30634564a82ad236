"""The nodes of one Functional or Sequential model, either flavour's, in the order in which they run.

Both flavours keep them in `_nodes_by_depth`; what differs is how a node holds its arguments, and what the flavour adds
to them on its own: Keras 3 records the masks that it propagates and the default of `training` as if the user had
passed them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ModelError
from ..detect import Flavour
from .structure import flatten_structure


@dataclass(frozen=True)
class Node:
    """One call of a layer or operation; arguments and outputs hold the model's own symbolic tensors."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, object]
    outputs: list[Any]


@dataclass(frozen=True)
class Layout:
    """A model's nodes, and its inputs and outputs as the user nested them."""

    nodes: list[Node]
    inputs: Any
    outputs: Any


def is_graph(model: Any) -> bool:
    """Whether the model is a graph of layers: Functional or Sequential, built, with Keras' own `call`."""
    if type(model).call.__module__.split(".")[0] not in ("keras", "tf_keras"):
        return False
    return bool(getattr(model, "_is_graph_network", False)) or hasattr(_functional(model), "_nodes_by_depth")


def layout(model: Any, flavour: Flavour) -> Layout:
    """Return the nodes of a model for which `is_graph` holds."""
    if flavour is Flavour.KERAS3:
        graph = _functional(model)
        nodes = [_keras_node(node) for node in _in_order(graph) if not node.is_input and node.operation]
        return Layout(nodes, graph._inputs_struct, graph._outputs_struct)
    nodes = [_tf_keras_node(node) for node in _in_order(model) if not node.is_input]
    return Layout(nodes, model._nested_inputs, model._nested_outputs)


def new_input(keras: Any, flavour: Flavour, shape: Sequence[int | None], dtype: str, name: str | None = None) -> Any:
    """Return a symbolic input of the full `shape`, the batch included."""
    if flavour is Flavour.KERAS3:
        return keras.Input(batch_shape=tuple(shape), dtype=dtype, name=name)
    return keras.Input(shape=tuple(shape[1:]), batch_size=shape[0], dtype=dtype, name=name)


def is_symbolic(value: Any) -> bool:
    """Whether `value` is a symbolic tensor of either flavour."""
    return hasattr(value, "_keras_history")


def _functional(model: Any) -> Any:
    return getattr(model, "_functional", None) or model


def _in_order(graph: Any) -> Iterator[Any]:
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from graph._nodes_by_depth[depth]


def _keras_node(node: Any) -> Node:
    args, kwargs = node.arguments.args, dict(node.arguments.kwargs)
    for key in [key for key in kwargs if key.endswith("mask")]:
        if _is_propagated(key, args, kwargs):
            del kwargs[key]
    if "training" in kwargs and kwargs["training"] == _default_training(node.operation):
        # Keras 3 writes the default of Dropout (False), of augmentation (True)... into the node as if it were passed.
        del kwargs["training"]
    return Node(node.operation, tuple(args), _checked(node.operation, kwargs), list(node.outputs))


def _is_propagated(key: str, args: tuple[Any, ...], kwargs: Mapping[str, object]) -> bool:
    """Whether Keras 3 put in the mask itself: ``mask`` for a layer with one argument, ``query_mask``... for others."""
    arguments = [*args, *(value for name, value in kwargs.items() if not name.endswith("mask"))]
    tensors = [[leaf for leaf in flatten_structure(argument) if is_symbolic(leaf)] for argument in arguments]
    if key == "mask" and sum(bool(leaves) for leaves in tensors) > 1:
        return False
    own = {
        id(leaf._keras_mask) for leaves in tensors for leaf in leaves if getattr(leaf, "_keras_mask", None) is not None
    }
    return all(leaf is None or id(leaf) in own for leaf in flatten_structure(kwargs[key]))


def _tf_keras_node(node: Any) -> Node:
    args, kwargs = tuple(node.call_args), dict(node.call_kwargs)
    recurrent = hasattr(node.layer, "cell") or hasattr(node.layer, "forward_layer")
    if recurrent and args and isinstance(args[0], (list, tuple)):
        # tf_keras packs the initial state with the inputs.
        if getattr(node.layer, "_num_constants", None):
            raise ModelError(
                f"Layer {node.layer.name!r} takes constants beside its inputs, which Keras 3 layers cannot; make them "
                "inputs of the model."
            )
        kwargs["initial_state"] = list(args[0][1:])
        args = (args[0][0], *args[1:])
    return Node(node.layer, args, _checked(node.layer, kwargs), flatten_structure(node.outputs))


def _checked(operation: Any, kwargs: Mapping[str, object]) -> dict[str, object]:
    if kwargs.get("training") is True:
        raise ModelError(
            f"Layer {operation.name!r} is called with training=True, so its outputs are random or depend on the batch "
            "even at inference; build the model without it."
        )
    return {key: value for key, value in kwargs.items() if value is not None}


def _default_training(operation: Any) -> Any:
    parameter = inspect.signature(type(operation).call).parameters.get("training")
    return None if parameter is None else parameter.default
