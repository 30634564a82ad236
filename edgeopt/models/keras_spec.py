"""What the inputs and outputs of a Keras model object are called, and in which structure it takes them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import UsageError
from .detect import Flavour
from .spec import InputSpec, ModelSpec

Call = Callable[[list[Any]], Any]


def keras_spec(model: Any, flavour: Flavour, names: Sequence[str]) -> tuple[ModelSpec, Call]:
    """Return the model's specification, and a function that calls it on one tensor per input.

    Functional and Sequential models know their inputs and outputs. A subclassed model, or a Sequential one without
    `Input`, knows those that it was last called or built with, if any.

    Args:
        model: A Keras model of either flavour.
        flavour: Which one.
        names: Input names that the user stated, for models that have none of their own.

    Raises:
        UsageError: The inputs are unknown, or in which structure the model takes them.
    """
    tree = tree_of(flavour)
    inputs = _symbolic(model)
    if inputs:
        structure = _first_attribute(model, "_inputs_struct", "_nested_inputs")
        specs = [
            InputSpec(name, tuple(tensor.shape), _dtype(tensor))
            for name, tensor in zip(_names(structure, inputs, tree), inputs, strict=True)
        ]
        outputs = _names(_first_attribute(model, "_outputs_struct", "_nested_outputs"), model.outputs, tree)
        nest = 0 if structure is None else tree.pack_sequence_as(structure, list(range(len(inputs))))
        return ModelSpec(tuple(specs), tuple(outputs)), _caller(model, (nest,), tree)
    specs, arguments = _recorded(model)
    complete = bool(specs) and len(specs) >= len(arguments)
    if names and not (complete and set(names) <= {item.name for item in specs}):
        if complete and len(names) == len(specs):
            ordered = _in_call_order(names, _parameters(model))
            specs = [InputSpec(name, item.shape, item.dtype) for name, item in zip(ordered, specs, strict=True)]
        else:
            specs, arguments = _stated(model, names)
    elif not complete:
        example = " and ".join(f"--input-shape {name}=1,..." for name in _parameters(model))
        raise UsageError(
            f"The {flavour.value} model {model.name!r} does not know its inputs, because it was never built; "
            f"state them: {example} (input_shapes={{...}} in Python)."
        )
    return ModelSpec(tuple(specs), (), firm=False), _caller(model, arguments, tree)


def tree_of(flavour: Flavour) -> Any:
    """Return the module that flattens and packs structures as the flavour does."""
    if flavour is Flavour.KERAS3:
        return importlib.import_module("keras").tree
    return importlib.import_module("tensorflow").nest


def unique(names: Sequence[str]) -> list[str]:
    """Return `names` with ``_1``, ``_2``... put behind repeated ones, as Keras does.

    Example:
        >>> unique(["out", "out"])
        ['out', 'out_1']
    """
    result: list[str] = []
    for name in names:
        word, number = name, 0
        while word in result:
            number += 1
            word = f"{name}_{number}"
        result.append(word)
    return result


def _symbolic(model: Any) -> list[Any]:
    """The input tensors of a Functional or built Sequential model."""
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        return []
    if not inputs or not outputs or any(getattr(tensor, "shape", None) is None for tensor in inputs):
        return []
    return list(inputs)


def _names(structure: Any, tensors: Sequence[Any], tree: Any) -> list[str]:
    """The keys of a flat dict, in the flavour's order; else the names of the layers that the tensors come from."""
    if isinstance(structure, Mapping) and len(structure) == len(tensors):
        keys = {id(value): str(key) for key, value in structure.items()}
        flat = tree.flatten(structure)
        if len(keys) == len(flat) and all(id(value) in keys for value in flat):
            return [keys[id(value)] for value in flat]
        return sorted(map(str, structure))  # one tensor under several keys
    return unique([_layer_name(tensor) for tensor in tensors])


def _layer_name(tensor: Any) -> str:
    history = getattr(tensor, "_keras_history", None)
    layer = getattr(history, "layer", None) or getattr(history, "operation", None)
    return str(getattr(layer, "name", None) or tensor.name.split(":")[0])


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _first_attribute(model: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(model, name, None)) is not None), None)


def _caller(model: Any, arguments: Sequence[Any], tree: Any) -> Call:
    """Return a function that calls the model, `arguments` being nests of input positions."""

    def call(tensors: list[Any]) -> Any:
        return model(*(tree.map_structure(tensors.__getitem__, nest) for nest in arguments), training=False)

    return call


def _parameters(model: Any) -> list[str]:
    """Names of the tensors that the `call` of a model requires."""
    parameters = inspect.signature(model.call).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [item.name for item in parameters if item.kind in kinds and item.default is inspect.Parameter.empty]
    return [name for name in required if name not in ("self", "training", "mask")] or ["inputs"]


def _stated(model: Any, names: Sequence[str]) -> tuple[list[InputSpec], list[Any]]:
    """Inputs of which only the names are known yet, in the order of the parameters of `call`."""
    parameters = _parameters(model)
    if len(names) > 1 and len(names) != len(parameters):
        raise UsageError(
            f"The model {model.name!r} takes {', '.join(parameters)}, but {len(names)} inputs were stated "
            f"({', '.join(names)}); call it once on real data, so that it knows how they go in."
        )
    return [InputSpec(name, (), "float32") for name in _in_call_order(names, parameters)], list(range(len(names)))


def _in_call_order(names: Sequence[str], parameters: Sequence[str]) -> Sequence[str]:
    return parameters if set(names) == set(parameters) else names


def _recorded(model: Any) -> tuple[list[InputSpec], list[Any]]:
    """Inputs of the last call (tf_keras) or of the recorded build shapes (Keras 3), and the nests they go in as."""
    specs: list[InputSpec] = []
    saved = getattr(model, "_saved_model_arg_spec", None)
    if saved is not None:
        nests = [_collect(argument, specs, "") for argument in saved[0] if _holds_tensors(argument)]
        return _named(specs, _parameters(model)), nests
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    parameters = _parameters(model)
    if len(shapes) > 1:  # build(self, left_shape, right_shape): in the order of call's parameters
        known = {str(name).removesuffix("_shape"): shape for name, shape in shapes.items()}
        if set(known) != set(parameters):
            return [], parameters
        return specs, [_collect(known[name], specs, name) for name in parameters]
    nests = [_collect(shape, specs, "") for shape in shapes.values()]
    missing = parameters[len(nests) :]
    return _named(specs, parameters), [*nests, *missing]


def _collect(nest: Any, specs: list[InputSpec], name: str) -> Any:
    """Append each leaf (a tensor specification, or a shape) to `specs`; return the nest of their positions."""
    if isinstance(nest, Mapping):
        return {key: _collect(nest[key], specs, str(key)) for key in sorted(nest)}
    if hasattr(nest, "shape"):
        specs.append(InputSpec(str(nest.name or name), tuple(nest.shape), _dtype(nest)))
        return len(specs) - 1
    if _is_shape(nest):
        specs.append(InputSpec(name, tuple(nest), "float32"))
        return len(specs) - 1
    return [_collect(item, specs, "") for item in nest]


def _holds_tensors(nest: Any) -> bool:
    values = nest.values() if isinstance(nest, Mapping) else nest
    return hasattr(nest, "shape") or (isinstance(nest, (list, tuple, Mapping)) and any(map(_holds_tensors, values)))


def _is_shape(nest: Any) -> bool:
    return isinstance(nest, (list, tuple)) and all(size is None or isinstance(size, int) for size in nest)


def _named(specs: list[InputSpec], parameters: Sequence[str]) -> list[InputSpec]:
    """Name the inputs after the parameters of `call` if those are as many; else ``input_1``, ``input_2``...

    tf_keras gives the first one the name ``input_1``, and the others none.
    """
    if len(parameters) == len(specs) > 1:
        return [InputSpec(name, item.shape, item.dtype) for name, item in zip(parameters, specs, strict=True)]
    invented = parameters[:1] if len(specs) == 1 else [f"input_{index + 1}" for index in range(len(specs))]
    return [InputSpec(item.name or name, item.shape, item.dtype) for name, item in zip(invented, specs, strict=True)]
