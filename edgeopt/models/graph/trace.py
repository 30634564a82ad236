"""Subclassed models: replay their `call` on symbolic inputs, where that says everything about them."""

from __future__ import annotations

from typing import Any

from ...errors import ModelError, one_line
from ..detect import Flavour
from ..load import import_keras
from .nodes import new_input
from .structure import map_structure

_REMEDY = (
    "`edgeopt convert`, `validate` and `bench` take it as it is; pruning, clustering, quantisation-aware training and "
    "channel removal need it rebuilt with the Functional API"
)


def trace(model: Any, flavour: Flavour, args: Any = None) -> Any:
    """Return a Functional model over the very layers of a subclassed one.

    Args:
        model: The subclassed model, called or built before.
        flavour: Its flavour.
        args: The symbolic arguments that a model around it calls it with; None to take the shapes it was built for.

    Raises:
        ModelError: `call` does something else than compose layers, or the model was never called.
    """
    keras = import_keras(flavour)
    if type(model).__module__.split(".")[0] in ("keras", "tf_keras"):
        raise ModelError(
            f"{type(model).__name__} {model.name!r} was never built, so it has no graph yet; call it on a batch, or "
            "start it with an Input."
        )
    known = _recorded_inputs(model, flavour) if args is None else map_structure(_described, tuple(args))
    inputs = map_structure(lambda spec: new_input(keras, flavour, spec.shape, spec.dtype), known)
    try:
        outputs = model.call(*inputs)
        functional = keras.Model(inputs[0] if len(inputs) == 1 else list(inputs), outputs, name=model.name)
    except Exception as error:
        raise _refusal(model, f"its call does more than compose layers ({one_line(error)})") from error
    used = {id(weight) for weight in functional.weights}
    lost = [getattr(weight, "path", weight.name) for weight in model.weights if id(weight) not in used]
    if lost:
        raise _refusal(model, f"its call does not use the weight {lost[0]!r} through a layer")
    return functional


class _Spec:
    """Shape and type of an input; a class of its own, so that it is a leaf."""

    def __init__(self, shape: Any, dtype: str) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype


def _described(tensor: Any) -> _Spec:
    return _Spec(tensor.shape, str(getattr(tensor.dtype, "name", tensor.dtype)))


def _recorded_inputs(model: Any, flavour: Flavour) -> tuple[Any, ...]:
    """Return the shapes of the model's first call (tf_keras keeps the types as well), the batch left open."""
    if flavour is Flavour.TF_KERAS and getattr(model, "_saved_model_inputs_spec", None) is not None:
        return (
            map_structure(lambda spec: _Spec((None, *spec.shape[1:]), spec.dtype.name), model._saved_model_inputs_spec),
        )
    shapes: Any = getattr(model, "_build_shapes_dict", None)
    if flavour is Flavour.TF_KERAS:
        built = getattr(model, "_build_input_shape", None)
        shapes = None if built is None else {"inputs": built}
    if not shapes and getattr(model, "built", False):
        raise _refusal(model, "its call does more than compose layers, so that Keras itself could not trace it")
    if not shapes:
        raise _refusal(model, "it was never called, so its input shape is unknown (call it on a batch first)")
    return tuple(_shapes_to_specs(shape) for shape in shapes.values())


def _shapes_to_specs(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {key: _shapes_to_specs(value) for key, value in shape.items()}
    sizes = list(shape)
    if all(size is None or isinstance(size, int) for size in sizes):
        return _Spec((None, *sizes[1:]), "float32")
    return [_shapes_to_specs(value) for value in sizes]


def _refusal(model: Any, why: str) -> ModelError:
    return ModelError(
        f"{type(model).__name__} {model.name!r} is a subclassed model that cannot be replayed as a graph: {why}; "
        f"{_REMEDY}."
    )
