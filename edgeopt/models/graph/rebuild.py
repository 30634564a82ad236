"""Run a flattened graph step by step, or rebuild it in its own flavour with some of its layers changed.

`read_native` gives the flat graph of a model of either flavour. What is here stays in that flavour: every
layer is copied from its own class and configuration, custom ones included, and bare operations stay bare operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...errors import ModelError, one_line
from ..detect import Flavour
from ..load import import_keras
from .nodes import new_input
from .read import Graph, Step, read_graph, run_step
from .structure import Ref, flatten_structure, map_structure

# Called with the index of a step, one of its inputs, and that input's value; returns the value to use instead.
InputHook = Callable[[int, Ref, Any], Any]
# Called with a step and its outputs; returns the outputs to go on with.
OutputHook = Callable[[Step, list[Any]], list[Any]]
# Called with each layer object once, and with the first step that calls it.
LayerCopier = Callable[[Any, Step], Any]

_KERAS = ("keras", "tf_keras")


def read_native(model: Any) -> Graph:
    """Flatten a model that is to stay in its flavour: `read_graph`, with the names that the user gave.

    `read_graph` gives names that are legal in both flavours (tf_keras allows slashes, Keras 3 does not). Here a layer
    keeps its own name unless another layer of the flat graph has it too.

    Raises:
        ModelError: The model is no graph of layers, as `read_graph` says it.
    """
    graph = read_graph(model)
    owners: dict[str, set[int]] = {}
    for step in graph.steps:
        if step.layer is not None:
            owners.setdefault(str(step.layer.name), set()).add(id(step.layer))
    # Names that read_graph made are taken as well: a clash with one of them keeps the made name.
    made = {step.name: id(step.layer) for step in graph.steps}
    steps = []
    for step in graph.steps:
        own = step.name if step.layer is None else str(step.layer.name)
        free = len(owners.get(own, ())) <= 1 and made.get(own, id(step.layer)) == id(step.layer)
        steps.append(replace(step, name=own) if free else step)
    graph.steps = steps
    tensors = getattr(model, "inputs", None) or ()
    if len(tensors) == len(graph.input_names):
        inputs = [str(_owner_name(tensor)) for tensor in tensors]
        graph.input_names = dict(zip(graph.input_names, inputs, strict=True))
    graph.name = str(model.name)
    return graph


def _owner_name(tensor: Any) -> Any:
    history = tensor._keras_history
    return history.operation.name if hasattr(history, "operation") else history.layer.name


def run(
    graph: Graph, inputs: Mapping[Ref, Any], before: InputHook | None = None, after: OutputHook | None = None
) -> dict[Ref, Any]:
    """Compute every tensor of the graph, eagerly, at inference.

    Args:
        graph: A flattened model.
        inputs: TensorFlow tensors for the graph's inputs.
        before: Replaces what a step is given, for this step only.
        after: Replaces what a step has put out, for all steps behind it.

    Returns:
        The value of each tensor, inputs included.
    """
    tensors: dict[Ref, Any] = dict(inputs)
    for index, step in enumerate(graph.steps):

        def value(ref: Ref, index: int = index) -> Any:
            return tensors[ref] if before is None else before(index, ref, tensors[ref])

        outputs = run_step(step, value)
        tensors.update(zip(step.outputs, outputs if after is None else after(step, outputs), strict=True))
    return tensors


def rebuild(graph: Graph, model: Any, copy: LayerCopier) -> Any:
    """Return a new model of the graph's flavour: each layer as `copy` makes it, called as often as it was.

    Args:
        graph: `read_native(model)`, possibly with changed arguments.
        model: The model itself: a chain of layers comes back as Sequential when it is Sequential.
        copy: Makes the layer that takes the place of a layer of `model`; weights are the caller's business.

    Raises:
        ModelError: A layer or operation cannot be called in the new model.
    """
    keras = import_keras(graph.flavour)
    tensors: dict[Ref, Any] = {
        ref: new_input(keras, graph.flavour, ref.shape, ref.dtype, name) for ref, name in graph.input_names.items()
    }
    layers: dict[int, Any] = {}

    def resolve(structure: Any) -> Any:
        return map_structure(lambda leaf: tensors[leaf] if isinstance(leaf, Ref) else leaf, structure)

    for step in graph.steps:
        args, kwargs = resolve(step.args), resolve(step.kwargs)
        try:
            if step.layer is None:
                outputs = _operation(keras, graph.flavour, step, args, kwargs)
            else:
                if id(step.layer) not in layers:
                    layers[id(step.layer)] = copy(step.layer, step)
                outputs = layers[id(step.layer)](*args, **kwargs)
        except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
            if isinstance(error, ModelError):
                raise
            text = one_line(error, 300)
            raise ModelError(f"Layer {step.name!r} ({step.kind}) cannot be copied into a new model: {text}.") from error
        tensors.update(zip(step.outputs, flatten_structure(outputs), strict=True))
    if isinstance(model, keras.Sequential) and _is_chain(graph):
        inputs = next(iter(tensors.values()))
        return keras.Sequential([inputs, *layers.values()], name=graph.name) if layers else model
    return keras.Model(resolve(graph.inputs), resolve(graph.outputs), name=graph.name)


def copy_layer(layer: Any, step: Step, settings: Mapping[str, object]) -> Any:
    """Return an unbuilt layer of the same class and configuration, with some settings changed.

    Args:
        layer: The layer to copy.
        step: A step that calls it: gives the name in the flat graph, and whether it is frozen.
        settings: Configuration entries to replace.

    Raises:
        ModelError: The layer gives no configuration that it can be made from again.
    """
    if type(layer).__name__ == "Lambda":
        return type(layer)(layer.function, arguments=dict(layer.arguments or {}), name=step.name)
    keras = import_keras(Flavour.TF_KERAS if _is_tf_keras(layer) else Flavour.KERAS3)
    scope = getattr(keras.utils, "custom_object_scope", None) or keras.saving.custom_object_scope
    try:
        config = {**layer.get_config(), "name": step.name, **settings}
        with scope(own_objects(layer)):
            copied = type(layer).from_config(config)
    except Exception as error:
        raise ModelError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be made again from its configuration: "
            f"{one_line(error, 300)}; give it a get_config that returns its constructor's arguments."
        ) from error
    copied.trainable = step.trainable
    return copied


def _is_tf_keras(layer: Any) -> bool:
    return any(_package(base) == "tf_keras" for base in type(layer).__mro__)


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", "")).split(".")[0]


def own_objects(layer: Any) -> dict[str, object]:
    """Return the user's own classes and functions in a layer, its own class included: a configuration names them."""
    found: dict[str, object] = {type(layer).__name__: type(layer)}
    for key in ("activation", "recurrent_activation"):
        function = getattr(layer, key, None)
        if callable(function) and hasattr(function, "__name__"):
            found[function.__name__] = function
    for key in ("layer", "forward_layer", "backward_layer", "cell"):
        inner = getattr(layer, key, None)
        if inner is not None:
            found[type(inner).__name__] = type(inner)
    return {name: value for name, value in found.items() if _package(value) not in _KERAS}


def _is_chain(graph: Graph) -> bool:
    """Whether each step takes nothing but what the one before it gave, and no layer is called twice."""
    if len(graph.input_names) != 1 or not graph.steps:
        return False
    last: Any = next(iter(graph.input_names))
    for step in graph.steps:
        if step.layer is None or step.args != (last,) or step.kwargs or len(step.outputs) != 1:
            return False
        last = step.outputs[0]
    return len({id(step.layer) for step in graph.steps}) == len(graph.steps) and graph.outputs == last


def _operation(keras: Any, flavour: Flavour, step: Step, args: tuple[Any, ...], kwargs: dict[str, object]) -> Any:
    if step.operation == "activations.linear":
        return keras.layers.Activation("linear", name=step.name)(*args)
    if flavour is Flavour.KERAS3:
        from . import operations

        outputs = operations.run(step.operation, args, kwargs)
        flatten_structure(outputs)[0]._keras_history.operation.name = step.name
        return outputs
    from . import tf_functions

    if not tf_functions.is_known(step.operation):
        return _keras_operation(step, args, kwargs)
    outputs = tf_functions.call(step.operation, args, kwargs)
    flatten_structure(outputs)[0]._keras_history.layer._name = step.name
    return outputs


def _keras_operation(step: Step, args: tuple[Any, ...], kwargs: dict[str, object]) -> Any:
    """An operation that the bridge once carried to tf_keras stays the layer that carries it."""
    from .template import encode
    from .tf_objects import KerasOperation

    template, refs = encode(step.args, step.kwargs)
    pairs = zip(flatten_structure((step.args, step.kwargs)), flatten_structure((args, kwargs)), strict=True)
    given = {leaf: value for leaf, value in pairs if isinstance(leaf, Ref)}
    tensors = [given[ref] for ref in refs]
    return KerasOperation(step.operation, template, name=step.name)(tensors[0] if len(tensors) == 1 else tensors)
