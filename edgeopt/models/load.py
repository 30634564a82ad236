"""Load a model of any flavour, and say what its inputs and outputs are called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EdgeoptError, FileFormatError, ModelError, UsageError
from .detect import Flavour, ModelFile, detect
from .spec import InputSpec, ModelSpec


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, its flavour, and its inputs and outputs by name (outputs may be unknown until traced)."""

    model: Any
    flavour: Flavour
    spec: ModelSpec
    source: str = ""
    warnings: tuple[str, ...] = field(default=())

    @property
    def layers(self) -> list[tuple[str, str]]:
        """Name and class of each layer, nested ones included; empty for a SavedModel."""
        if self.flavour is Flavour.SAVED_MODEL:
            return []
        return [(layer.name, type(layer).__name__) for layer in self.model._flatten_layers(include_self=False)]


def load_model(
    path: str | Path, *, custom_objects: Sequence[str] = (), unsafe_load: bool = False, input_names: Sequence[str] = ()
) -> LoadedModel:
    """Load a .keras or .h5 file or a SavedModel folder with the flavour that wrote it.

    Args:
        path: The model file or folder.
        custom_objects: ``module:NAME`` or ``ALIAS=module:NAME`` for each custom layer or function in the file.
        unsafe_load: Allow Python code (Lambda layers) stored in a .keras file to run.
        input_names: Names for the inputs of a model that has none of its own (subclassed).

    Raises:
        UsageError: The path or a custom object does not exist.
        FileFormatError: Not a model, weights only, or a SavedModel without a serving signature.
        ModelError: The model needs custom objects, or cannot be rebuilt.
    """
    file = detect(path)
    objects = resolve_custom_objects(custom_objects)
    if file.flavour is Flavour.SAVED_MODEL:
        return _load_saved_model(file)
    keras = import_keras(file.flavour)
    try:
        if file.flavour is Flavour.KERAS3:
            with keras.saving.custom_object_scope(objects):
                model = keras.models.load_model(file.path, compile=False, safe_mode=not unsafe_load)
        else:
            with keras.utils.custom_object_scope(objects):
                model = _load_tf_keras(keras, file, unsafe_load)
    except EdgeoptError:
        raise
    except Exception as error:
        raise _explain(file, error) from error
    return describe(model, source=str(path), input_names=input_names)


def describe(model: Any, *, source: str = "", input_names: Sequence[str] = ()) -> LoadedModel:
    """Wrap a Keras model object of either flavour.

    Raises:
        UsageError: `model` is no Keras model.
    """
    flavour = flavour_of(model)
    if flavour is None:
        raise UsageError(
            f"Received a model of type {type(model).__module__}.{type(model).__name__}; expected a Keras model."
        )
    return LoadedModel(model, flavour, _keras_spec(model, flavour, list(input_names)), source or str(model.name))


def flavour_of(model: Any) -> Flavour | None:
    """Return the flavour of a model object, or None if it is no Keras model. Imports nothing."""
    for module_name, flavour in (("tf_keras", Flavour.TF_KERAS), ("keras", Flavour.KERAS3)):
        module = sys.modules.get(module_name)
        base = getattr(module, "Model", None)
        if isinstance(base, type) and isinstance(model, base):
            return flavour
    return None


def import_keras(flavour: Flavour) -> Any:
    """Import and return `keras` (3) or `tf_keras`: the only place that does."""
    return importlib.import_module("keras" if flavour is Flavour.KERAS3 else "tf_keras")


def resolve_custom_objects(references: Sequence[str]) -> dict[str, Any]:
    """Import each ``module:NAME`` or ``ALIAS=module:NAME``.

    Raises:
        UsageError: The form is wrong, or the module or name does not exist.
    """
    return dict(_resolve(reference) for reference in references)


def _resolve(reference: str) -> tuple[str, Any]:
    alias, equals, target = reference.rpartition("=")
    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
        raise UsageError(f"Received {reference!r} as a custom object; expected module:NAME or ALIAS=module:NAME.")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise UsageError(f"Cannot import {module_name!r} for the custom object {reference!r}: {error}.") from error
    except AttributeError as error:
        raise UsageError(f"Module {module_name!r} has no {name!r}, asked for by {reference!r}.") from error
    return (alias if equals else name), found


def _load_tf_keras(keras: Any, file: ModelFile, unsafe_load: bool) -> Any:
    if file.path.suffix == ".keras":
        return keras.models.load_model(file.path, compile=False, safe_mode=not unsafe_load)
    if '"class_name": "Lambda"' in file.config_text and not unsafe_load:
        raise ModelError(
            f"{file.path} holds a Lambda layer, whose Python code would run on loading; pass --unsafe-load if you trust the file."
        )
    import h5py

    # An open file, so that the suffix (.hdf5, none at all) does not decide the format.
    with h5py.File(file.path, "r") as archive:
        return keras.models.load_model(archive, compile=False)


def _explain(file: ModelFile, error: Exception) -> EdgeoptError:
    text = " ".join(str(error).split())
    if "safe_mode" in text or "lambda" in text.lower() and "unsafe" in text.lower():
        return ModelError(
            f"{file.path} holds Python code (a Lambda layer) that loading would run; pass --unsafe-load if you trust the file."
        )
    if "<lambda>" in text:
        return ModelError(
            f"{file.path} names an activation '<lambda>' whose code the file does not hold; "
            "give the function with --custom-objects '<lambda>=module:NAME'."
        )
    markers = (
        "Unknown layer",
        "Could not locate",
        "Unknown object",
        "Unknown activation",
        "Could not deserialize",
        "custom_objects",
    )
    if any(marker in text for marker in markers):
        return ModelError(
            f"{file.path} needs custom objects ({text[:200]}); name each with --custom-objects module:NAME."
        )
    return ModelError(f"{file.path} cannot be loaded by {file.flavour.value}: {text[:300]}")


def _keras_spec(model: Any, flavour: Flavour, names: list[str]) -> ModelSpec:
    """Read inputs and outputs off a Functional or Sequential model; off the recorded build shapes otherwise."""
    inputs = _symbolic_inputs(model)
    if inputs:
        structure = input_structure(model)
        own = sorted(structure) if isinstance(structure, Mapping) else None  # Keras flattens dicts in key order
        taken = own if own is not None and len(own) == len(inputs) else [_input_name(tensor) for tensor in inputs]
        specs = tuple(
            InputSpec(name, tuple(tensor.shape), _dtype(tensor)) for name, tensor in zip(taken, inputs, strict=True)
        )
        return ModelSpec(specs, tuple(_output_names(model)))
    recorded = _recorded_inputs(model)
    if not recorded and names:
        recorded = [InputSpec(name, (), "float32") for name in names]
    if not recorded:
        raise UsageError(
            f"The {flavour.value} model {model.name!r} was never built, so its input shape is unknown; "
            "state it with --input-shape NAME=1,96,96,3 (input_shapes={...} in Python)."
        )
    return ModelSpec(tuple(recorded), ())


def input_structure(model: Any) -> Any:
    """Return the nest of symbolic inputs that a Functional model of either flavour was built on, or None."""
    return _first_attribute(model, "_inputs_struct", "_nested_inputs")


def _first_attribute(model: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(model, name, None)) is not None), None)


def _symbolic_inputs(model: Any) -> list[Any]:
    try:
        inputs = model.inputs
    except (AttributeError, ValueError):
        return []
    if not inputs or any(not hasattr(tensor, "shape") or tensor.shape is None for tensor in inputs):
        return []
    if not hasattr(model, "outputs") or not model.outputs:
        return []
    return list(inputs)


def _input_name(tensor: Any) -> str:
    history = getattr(tensor, "_keras_history", None)
    layer = getattr(history, "layer", None) or getattr(history, "operation", None)
    return str(getattr(layer, "name", None) or tensor.name.split(":")[0])


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _output_names(model: Any) -> list[str]:
    structure = _first_attribute(model, "_outputs_struct", "_nested_outputs")
    if isinstance(structure, Mapping) and len(structure) == len(model.outputs):
        return sorted(structure)
    producers = [_input_name(tensor) for tensor in model.outputs]
    return unique(producers)


def unique(names: Sequence[str]) -> list[str]:
    """Return `names` with ``_1``, ``_2``... put behind repeated ones, as Keras does.

    Example:
        >>> unique(["out", "out"])
        ['out', 'out_1']
    """
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        result.append(f"{name}_{count}" if count else name)
    return result


def _recorded_inputs(model: Any) -> list[InputSpec]:
    """Inputs of a subclassed model from its first call (tf_keras) or from its recorded build shapes (Keras 3)."""
    saved = getattr(model, "_saved_model_inputs_spec", None)
    if saved is not None:
        import tensorflow as tf

        return [
            InputSpec(str(spec.name or f"input_{index + 1}"), tuple(spec.shape), spec.dtype.name)
            for index, spec in enumerate(tf.nest.flatten(saved))
        ]
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    return [
        InputSpec(str(name).removesuffix("_shape"), tuple(shape), "float32")
        for name, shape in shapes.items()
        if isinstance(shape, (tuple, list)) and all(size is None or isinstance(size, int) for size in shape)
    ]


def _load_saved_model(file: ModelFile) -> LoadedModel:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(file.path))
    except Exception as error:
        raise FileFormatError(
            f"The SavedModel {file.path} cannot be loaded: {' '.join(str(error).split())[:300]}"
        ) from error
    signatures: Mapping[str, Callable[..., Any]] = loaded.signatures
    if not signatures:
        raise FileFormatError(
            f"The SavedModel {file.path} has no serving signature; save it again with tf.saved_model.save(..., signatures=...)."
        )
    key = "serving_default" if "serving_default" in signatures else next(iter(signatures))
    signature: Any = signatures[key]
    specs = signature.structured_input_signature[1]
    order_in, order_out = _keras_order(file.path)
    names = _ordered(list(specs), order_in)
    inputs = tuple(InputSpec(name, _shape(specs[name]), specs[name].dtype.name) for name in names)
    outputs = _ordered(list(signature.structured_outputs), order_out)
    # The signature does not keep the object that owns its variables alive.
    signature._edgeopt_owner = loaded
    warnings = (
        () if key == "serving_default" else (f"signature {key!r} was used: the SavedModel has no serving_default",)
    )
    return LoadedModel(signature, Flavour.SAVED_MODEL, ModelSpec(inputs, tuple(outputs)), str(file.path), warnings)


def _shape(spec: Any) -> tuple[int | None, ...]:
    if spec.shape.rank is None:
        raise FileFormatError(
            f"Input {spec.name!r} of the SavedModel has no known rank; save it with an input signature."
        )
    return tuple(spec.shape)


def _ordered(names: list[str], order: Sequence[str]) -> list[str]:
    return list(order) if sorted(order) == sorted(names) else names


def _keras_order(folder: Path) -> tuple[list[str], list[str]]:
    """Order of inputs and outputs in the Keras 2 model that wrote the folder; signatures are sorted by name."""
    import json

    metadata_file = folder / "keras_metadata.pb"
    if not metadata_file.is_file():
        return [], []
    from tf_keras.protobuf import saved_metadata_pb2

    metadata = saved_metadata_pb2.SavedMetadata()
    metadata.ParseFromString(metadata_file.read_bytes())
    for node in metadata.nodes:
        if node.node_path == "root":
            config = json.loads(node.metadata).get("config", {})
            return [entry[0] for entry in config.get("input_layers", [])], [
                entry[0] for entry in config.get("output_layers", [])
            ]
    return [], []
