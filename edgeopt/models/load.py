"""Load a model of any flavour: the only place that picks a Keras."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..artifact.scratch import scratch_folder
from ..errors import EdgeoptError, FileFormatError, ModelError, UsageError
from ..process.user_code import import_user_object
from .detect import Flavour, ModelFile, detect
from .hdf5 import check_members
from .keras_spec import keras_spec
from .larq import is_in_file, larq_objects
from .saved_model import keras2_objects, load_saved_model
from .spec import LoadedModel
from .trust import check_file

# How the Keras versions say that they do not know a class or function.
_UNKNOWN = re.compile(
    r"(?:Unknown (?:layer|object|activation \w*|activation|\w+ function)|Could not locate (?:class|function|object)|"
    r"Cannot deserialize object of type|must be an instance of class Layer. Received: layer=)[:\s]*['`\"]?([\w<>]+)"
)


def load_model(
    path: str | Path | ModelFile,
    *,
    custom_objects: Sequence[str] = (),
    unsafe_load: bool = False,
    input_names: Sequence[str] = (),
) -> LoadedModel:
    """Load a .keras or .h5 file or a SavedModel folder with the flavour that wrote it.

    Args:
        path: The model file or folder, or what `detect` said of it.
        custom_objects: ``module:NAME`` or ``ALIAS=module:NAME`` for each custom layer or function in the file.
        unsafe_load: Trust the file: whatever code it holds or names may run.
        input_names: Names for the inputs of a model that has none of its own (subclassed).

    Raises:
        UsageError: The path or a custom object does not exist.
        FileFormatError: Not a model, weights only, or a SavedModel without a serving signature.
        UnsafeModelError: It holds or names code that is neither Keras's nor among the custom objects.
        ModelError: The model cannot be rebuilt.
    """
    file = _with_layers(path if isinstance(path, ModelFile) else detect(path))
    if file.flavour is Flavour.SAVED_MODEL:
        return load_saved_model(file, unsafe_load=unsafe_load)
    return describe(_load_keras(file, custom_objects, unsafe_load), source=str(file.path), input_names=input_names)


def load_layers(path: str | Path, *, custom_objects: Sequence[str] = (), unsafe_load: bool = False) -> Any:
    """Load the Keras model object of a .keras or .h5 file; nothing need be known of its inputs.

    Args:
        path: The model file.
        custom_objects: ``module:NAME`` for what the file needs.
        unsafe_load: Allow Python code stored in the file to run; by default it may not.

    Raises:
        UsageError: The path or a custom object does not exist.
        FileFormatError: Not a model, or weights only.
        UnsafeModelError: As for `load_model`.
        ModelError: A SavedModel, or as for `load_model`.
    """
    file = detect(path)
    if file.flavour is Flavour.SAVED_MODEL:
        raise ModelError(
            f"{file.path} is a SavedModel, which holds no layers to work on; give the .keras or .h5 file of the model. "
            "`edgeopt convert`, `validate` and `bench` take it as it is."
        )
    return _load_keras(file, custom_objects, unsafe_load)


def _load_keras(file: ModelFile, custom_objects: Sequence[str], unsafe_load: bool) -> Any:
    try:
        own = larq_objects() if is_in_file(file.config_text) else {}
        return load_checked(file, {**own, **resolve_custom_objects(custom_objects)}, unsafe_load)
    except EdgeoptError:
        raise
    except Exception as error:
        raise _explain(file, error) from error


def load_checked(file: ModelFile, objects: Mapping[str, Any], trusted: bool) -> Any:
    """Let Keras load a file, unless it names code that is neither Keras's own nor the user's.

    Args:
        file: The file, which Keras can load.
        objects: Custom layers and functions, by the names that the file gives them.
        trusted: Whether any code may run that the file holds or names.

    Raises:
        UnsafeModelError: It is not trusted, and names such code.
        Exception: Whatever Keras raises.
    """
    keras = import_keras(file.flavour)
    if file.suffix == ".keras":
        check_members(file.path)  # of an .h5 file, all has been read where it was detected
    with _named_by_content(file) as named, keras.utils.custom_object_scope(dict(objects)):
        if not trusted:
            check_file(file, keras)
        return keras.models.load_model(named, compile=False, safe_mode=not trusted)


def describe(model: Any, *, source: str = "", input_names: Sequence[str] = ()) -> LoadedModel:
    """Wrap a Keras model object of either flavour.

    Raises:
        UsageError: `model` is no Keras model, or one whose inputs are unknown.
        ModelError: A Keras 3 model of another backend than TensorFlow.
    """
    flavour = flavour_of(model)
    if flavour is None:
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise UsageError(f"Received a model of type {kind}; expected a Keras model, or the path of one.")
    if flavour is Flavour.KERAS3 and (backend := import_keras(flavour).backend.backend()) != "tensorflow":
        raise ModelError(
            f"Keras runs on the {backend} backend, but conversion needs TensorFlow; set KERAS_BACKEND=tensorflow."
        )
    spec, call = keras_spec(model, flavour, input_names)
    return LoadedModel(model, flavour, spec, call, source or str(model.name))


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


def resolve_custom_objects(references: Sequence[str]) -> dict[str, object]:
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
    return (alias if equals else name), import_user_object(target, "the custom object")


def _with_layers(file: ModelFile) -> ModelFile:
    """A Keras 2 SavedModel with recurrent layers is a matter for tf_keras: their loops must be seen to be unrolled."""
    objects = keras2_objects(file.path) if file.flavour is Flavour.SAVED_MODEL else []
    if not any(identifier == "_tf_keras_rnn_layer" for identifier, _ in objects):
        return file
    return ModelFile(file.path, Flavour.TF_KERAS, json.dumps([config for _, config in objects]), file.path.suffix)


@contextlib.contextmanager
def _named_by_content(file: ModelFile) -> Iterator[Path]:
    """Give the file the suffix of what it holds, by which Keras decides how to read it."""
    if file.path.suffix == file.suffix:
        yield file.path
        return
    with scratch_folder("load") as folder:
        link = folder / f"model{file.suffix}"
        link.symlink_to(file.path.resolve())
        yield link


def _explain(file: ModelFile, error: Exception) -> EdgeoptError:
    text = " ".join(str(error).split())
    if isinstance(error, (zipfile.BadZipFile, zlib.error, OSError)):
        return FileFormatError(f"{file.path} is damaged ({text[:200]}); save the model again.")
    unknown = _UNKNOWN.search(text)
    if "{'value': ['" in text:
        return ModelError(
            f"{file.path} holds an activation that is bare Python code (a lambda), which Keras cannot load back; "
            "save the model again with a named function."
        )
    if "<lambda>" in text:
        return ModelError(
            f"{file.path} names an activation '<lambda>' whose code the file does not hold; "
            "give the function with --custom-objects '<lambda>=module:NAME'."
        )
    if unknown:
        name = unknown.group(1)
        return ModelError(
            f"{file.path} needs the custom object {name!r}; "
            f"say where it is defined with --custom-objects module:{name}."
        )
    gist = text.rpartition("Exception encountered: ")[2]  # behind a dump of the configuration
    return ModelError(f"{file.path} cannot be loaded by {file.flavour.value}: {gist[:300]}")
