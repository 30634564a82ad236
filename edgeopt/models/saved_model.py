"""Load a SavedModel folder, with its inputs and outputs in the order of the Keras model that wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, UsageError, one_line
from .detect import Flavour, ModelFile
from .spec import InputSpec, LoadedModel, ModelSpec
from .trust import check_graphs

_DEFAULT = "serving_default"


def load_saved_model(file: ModelFile, *, unsafe_load: bool = False) -> LoadedModel:
    """Load the serving signature of a SavedModel.

    Args:
        file: The folder.
        unsafe_load: Trust it: operators that touch files, processes or Python may run.

    Raises:
        UnsafeModelError: It holds such an operator.
        FileFormatError: It cannot be loaded, or has no serving signature.
        UsageError: It has several signatures and none is the default.
    """
    import tensorflow as tf

    if not unsafe_load:
        check_graphs(file.path)
    try:
        loaded = tf.saved_model.load(str(file.path))
        signatures = dict(loaded.signatures)  # a damaged one has something else there
    except Exception as error:
        text = one_line(error, 300)
        raise FileFormatError(f"The SavedModel {file.path} cannot be loaded ({text}); save it again.") from error
    key = _signature_key(list(signatures), file.path)
    signature: Any = signatures[key]
    specs = signature.structured_input_signature[1]
    order_in, order_out = _keras2_order(file.path)
    names = _ordered(list(specs), order_in or _call_order(loaded, set(specs)))
    inputs = tuple(InputSpec(name, _shape(specs[name]), specs[name].dtype.name) for name in names)
    outputs = _ordered(list(signature.structured_outputs), order_out)

    def call(tensors: list[Any]) -> Any:
        return signature(**dict(zip(names, tensors, strict=True)))

    spec = ModelSpec(inputs, tuple(outputs), fixed_batch=True)
    warnings = () if key == _DEFAULT else (f"signature: the only signature, {key!r}, was used",)
    return LoadedModel(loaded, Flavour.SAVED_MODEL, spec, call, str(file.path), warnings)


def _signature_key(keys: Sequence[str], path: Path) -> str:
    usable = [key for key in keys if key != "__saved_model_init_op"]
    if _DEFAULT in usable or len(usable) == 1:
        return _DEFAULT if _DEFAULT in usable else usable[0]
    if usable:
        raise UsageError(
            f"The SavedModel {path} has the signatures {', '.join(sorted(usable))}, but no {_DEFAULT!r}; "
            "save it again with the one to convert under that name."
        )
    raise FileFormatError(
        f"The SavedModel {path} has no serving signature; save it again with tf.saved_model.save(..., signatures=...)."
    )


def _shape(spec: Any) -> tuple[int | None, ...]:
    if spec.shape.rank is None:
        raise FileFormatError(
            f"Input {spec.name!r} of the SavedModel has no known rank; save it with an input signature that states it."
        )
    return tuple(spec.shape)


def _ordered(names: list[str], order: Sequence[str]) -> list[str]:
    """Put `names` into `order` if they are the same; else into the natural order, ``output_2`` before ``output_10``.

    TensorFlow gives the outputs of a signature in an order that differs from run to run.
    """
    if sorted(order) == sorted(names):
        return list(order)
    return sorted(names, key=lambda name: [(part.isdigit(), part.zfill(9)) for part in re.split(r"(\d+)", name)])


def _call_order(loaded: Any, names: set[str]) -> list[str]:
    """Order of the inputs in the function that a Keras 3 export (or an early Keras 2) keeps beside the signature."""
    import tensorflow as tf

    for attribute in ("serve", "_default_save_signature"):
        functions: Iterable[Callable[..., Any]] = getattr(getattr(loaded, attribute, None), "concrete_functions", ())
        for function in functions:
            leaves = tf.nest.flatten(function.structured_input_signature)  # type: ignore[attr-defined]
            found = [str(getattr(leaf, "name", "")) for leaf in leaves]
            if set(found) == names:
                return found
    return []


def keras2_objects(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return what Keras 2 wrote beside a SavedModel of each of its objects: identifier and configuration, root first.

    Raises:
        FileFormatError: The metadata are damaged.
    """
    metadata_file = folder / "keras_metadata.pb"
    if not metadata_file.is_file():
        return []
    from tf_keras.protobuf import saved_metadata_pb2

    metadata = saved_metadata_pb2.SavedMetadata()
    try:
        metadata.ParseFromString(metadata_file.read_bytes())
        nodes = sorted(metadata.nodes, key=lambda node: node.node_path != "root")
        return [(str(node.identifier), json.loads(node.metadata)) for node in nodes]
    except Exception as error:  # protobuf's DecodeError has no common base, JSON's is a ValueError
        raise FileFormatError(f"{metadata_file} is damaged ({error}); save the model again.") from error


def _keras2_order(folder: Path) -> tuple[list[str], list[str]]:
    """Order of inputs and outputs in the Keras 2 model that wrote the folder; signatures are sorted by name."""
    objects = keras2_objects(folder)
    config = objects[0][1].get("config") or {} if objects else {}
    return list(_layer_names(config.get("input_layers"))), list(_layer_names(config.get("output_layers")))


def _layer_names(nest: Any) -> Iterable[str]:
    """Names in a nest of ``[layer name, node index, tensor index]``, dicts in key order."""
    if isinstance(nest, Mapping):
        for key in sorted(nest):
            yield from _layer_names(nest[key])
    elif isinstance(nest, list) and len(nest) >= 3 and isinstance(nest[0], str) and isinstance(nest[1], int):
        yield nest[0]
    elif isinstance(nest, list):
        for item in nest:
            yield from _layer_names(item)
