"""Export the leanest SavedModel that holds one inference function, with its inputs and outputs in a known order.

A `tf.Module` with the variables and one `tf.function` of fixed input signature, without debug info, converts several
times faster than what ``TFLiteConverter.from_keras_model`` saves for itself, to the same bytes of weights and ops.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConversionError
from .detect import Flavour
from .load import LoadedModel, input_structure, unique
from .recurrent import unrolled
from .spec import InputSpec


@dataclass(frozen=True)
class LeanModel:
    """A SavedModel folder whose signature keys are ``in000``... and ``out000``... in the Keras model's order."""

    folder: Path
    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    unrolled_layers: tuple[str, ...]


def input_key(index: int) -> str:
    """Return the signature key of the input at `index`."""
    return f"in{index:03d}"


def output_key(index: int) -> str:
    """Return the signature key of the output at `index`."""
    return f"out{index:03d}"


def export_lean(loaded: LoadedModel, inputs: Sequence[InputSpec], folder: Path, *, unroll: bool) -> LeanModel:
    """Trace the model in inference mode with the shapes of `inputs` and save it to `folder`.

    Args:
        loaded: The model.
        inputs: Its inputs in order, with the batch dimension fixed, or None for a dynamic batch.
        folder: Where the SavedModel goes.
        unroll: Unroll the recurrent layers that cannot be quantised otherwise.

    Raises:
        ConversionError: The model cannot be traced with these shapes.
    """
    import tensorflow as tf

    names: list[str] = []
    call = caller(loaded, inputs)

    @tf.function(
        input_signature=[tf.TensorSpec(item.shape, item.dtype, name=input_key(i)) for i, item in enumerate(inputs)]
    )
    def infer(*tensors: Any) -> dict[str, Any]:
        outputs = call(list(tensors))
        found, flat = flat_outputs(outputs, loaded.spec.output_names)
        names[:] = found
        # Identity keeps an output that is an input, or that is returned twice, a tensor of its own.
        return {output_key(i): tf.identity(tensor) for i, tensor in enumerate(flat)}

    module = tf.Module()
    module.kept = _variables(loaded)
    steps = inputs[0].shape[1] if inputs and len(inputs[0].shape) > 1 else None
    with unrolled(loaded.model if unroll else None, steps) as layer_names:
        try:
            module.infer = infer
            tf.saved_model.save(
                module,
                str(folder),
                signatures={"serving_default": infer.get_concrete_function()},
                options=tf.saved_model.SaveOptions(save_debug_info=False),
            )
        except (ValueError, TypeError, RuntimeError, NotImplementedError, tf.errors.OpError) as error:
            shapes = {item.name: item.shape for item in inputs}
            raise ConversionError(
                f"The model cannot be traced with inputs {shapes}: {' '.join(str(error).split())[:400]}"
            ) from error
    return LeanModel(folder, tuple(inputs), tuple(names), tuple(layer_names))


def _variables(loaded: LoadedModel) -> Any:
    if loaded.flavour is Flavour.SAVED_MODEL:
        return loaded.model._edgeopt_owner
    if loaded.flavour is Flavour.KERAS3:
        return [variable.value for variable in loaded.model.variables]
    return list(loaded.model.variables)


def caller(loaded: LoadedModel, inputs: Sequence[InputSpec]) -> Callable[[list[Any]], Any]:
    """Return a function that feeds the tensors to the model in the structure that it expects."""
    model = loaded.model
    if loaded.flavour is Flavour.SAVED_MODEL:
        return lambda tensors: model(**{item.name: tensor for item, tensor in zip(inputs, tensors, strict=True)})
    structure = input_structure(model)
    if isinstance(structure, Mapping):
        keys = sorted(structure)
        return lambda tensors: model(dict(zip(keys, tensors, strict=True)), training=False)
    if len(inputs) == 1:
        return lambda tensors: model(tensors[0], training=False)
    if not hasattr(model, "outputs") and _parameters(model) >= len(inputs):
        return lambda tensors: model(*tensors, training=False)
    return lambda tensors: model(tensors, training=False)


def _parameters(model: Any) -> int:
    """How many tensors the `call` of a subclassed model takes."""
    skipped = {"self", "training", "mask", "args", "kwargs"}
    return len([name for name in inspect.signature(model.call).parameters if name not in skipped])


def flat_outputs(outputs: Any, known: Sequence[str]) -> tuple[list[str], list[Any]]:
    """Return the names and tensors of whatever structure a model returned, in the order of `known` where it applies."""
    import tensorflow as tf

    if isinstance(outputs, Mapping):
        order = list(known) if sorted(known) == sorted(outputs) else sorted(outputs)
        return order, [outputs[name] for name in order]
    flat = tf.nest.flatten(outputs)
    if len(known) == len(flat):
        return unique(known), flat
    return (["output"] if len(flat) == 1 else [f"output_{i}" for i in range(len(flat))]), flat
