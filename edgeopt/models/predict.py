"""Run a Keras model or SavedModel on arrays, in a child process: the float baseline that a file is compared with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artifact.scratch import scratch_folder
from ..data.folder import Pictures
from ..errors import DataError, EdgeoptError, InvokeError, one_line
from ..process.isolation import ChildCrash, OnEvent, run_isolated
from ..process.request import Request
from .detect import detect

_BATCH = 64


def predict_isolated(
    model: Any,
    inputs: Mapping[str, npt.NDArray[Any]],
    *,
    custom_objects: Sequence[str] = (),
    unsafe_load: bool = False,
    on_event: OnEvent | None = None,
) -> list[npt.NDArray[np.float32]]:
    """Return the model's outputs, in its order, each of shape (samples, ...), in inference mode.

    Args:
        model: Path of a model file or SavedModel folder (run in a child process), or a Keras model object (run here).
        inputs: Input name -> array of shape (samples, ...).
        custom_objects: ``module:NAME`` for what the file needs.
        unsafe_load: Allow Python code stored in the file to run.
        on_event: Called with {``stage``, ``done``, ``total``} as the samples go through.

    Raises:
        UsageError: The model cannot be read.
        DataError: The inputs do not fit the model.
        InvokeError: The model fails on them.
    """
    tell = on_event or (lambda _event: None)
    if not isinstance(model, (str, os.PathLike)):
        from .load import describe

        loaded = describe(model, input_names=list(inputs))
        return _predict(loaded, inputs, tell)
    with scratch_folder("predict") as folder:
        files = {key: _written(array, folder / f"in{place:03d}") for place, (key, array) in enumerate(inputs.items())}
        request = PredictRequest(os.fspath(model), files, tuple(custom_objects), unsafe_load, str(folder))
        try:
            modules = detect(os.fspath(model)).flavour.modules
            count = run_isolated("edgeopt.models.predict:serve", request.to_dict(), tell, modules=modules)
        except ChildCrash as crash:
            how = crash.signal_name or "no reply"
            raise InvokeError(
                f"Running {model} ended the child process ({how}); try fewer samples, or another model."
            ) from crash
        return [np.load(folder / f"out{i:03d}.npy", allow_pickle=False) for i in range(count)]


@dataclass(frozen=True)
class PredictRequest(Request):
    """A model to be run on arrays.

    Attributes:
        model: Path of the model.
        inputs: Input name -> .npy file, or the .json of images that the child decodes (`Pictures.to_dict`).
        custom_objects: ``module:NAME`` for what the model needs.
        unsafe_load: Whether Python code stored in it may run.
        folder: Where the outputs go, one .npy file each.
    """

    model: str
    inputs: Mapping[str, str]
    custom_objects: Sequence[str]
    unsafe_load: bool
    folder: str


def serve(fields: Mapping[str, Any], emit: OnEvent) -> int:
    """Child's side: write each output to the folder and reply with their number."""
    from .load import load_model

    request = PredictRequest.from_dict(fields)
    inputs = {name: _read(Path(file)) for name, file in request.inputs.items()}
    emit({"stage": "load"})
    loaded = load_model(
        request.model,
        custom_objects=request.custom_objects,
        unsafe_load=request.unsafe_load,
        input_names=list(inputs),
    )
    outputs = _predict(loaded, inputs, emit)
    for i, output in enumerate(outputs):
        np.save(Path(request.folder) / f"out{i:03d}.npy", output)
    return len(outputs)


def _written(array: Any, path: Path) -> str:
    if isinstance(array, Pictures):
        path = path.with_suffix(".json")
        path.write_text(json.dumps(array.to_dict()), "utf-8")
        return str(path)
    path = path.with_suffix(".npy")
    np.save(path, array)
    return str(path)


def _read(path: Path) -> Any:
    if path.suffix == ".json":
        return Pictures.from_dict(json.loads(path.read_text("utf-8")))
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _predict(loaded: Any, inputs: Mapping[str, npt.NDArray[Any]], tell: OnEvent) -> list[npt.NDArray[np.float32]]:
    import tensorflow as tf

    from .export.export import flat_outputs

    specs = loaded.spec.inputs
    names = [item.name for item in specs]
    arrays = _in_order(names, inputs)
    batch = specs[0].shape[0] or _BATCH if specs[0].shape else _BATCH
    # AutoGraph is for the user's layers; our own function only makes it warn.
    flatten = tf.autograph.experimental.do_not_convert(flat_outputs)
    run = tf.function(lambda *tensors: flatten(loaded.call(list(tensors)), loaded)[1], reduce_retracing=True)
    columns: list[list[Any]] = []
    count = len(arrays[0])
    try:
        for start in range(0, count, batch):
            tell({"stage": "baseline", "done": start, "total": count})
            rows = (
                np.arange(start, start + batch) % count
                if specs[0].shape and specs[0].shape[0]
                else slice(start, start + batch)
            )
            tensors = [
                tf.constant(np.asarray(array[rows]), item.dtype) for array, item in zip(arrays, specs, strict=True)
            ]
            columns.append([np.asarray(tensor) for tensor in run(*tensors)])
    except EdgeoptError:
        raise
    except Exception as error:
        raise InvokeError(f"The baseline model fails on the data: {one_line(error, 300)}") from error
    return [np.concatenate(column)[:count] for column in zip(*columns, strict=True)]


def _in_order(names: list[str], inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    if len(inputs) == len(names) == 1:
        return list(inputs.values())
    if set(names) != set(inputs):
        raise DataError(
            f"The baseline has the inputs {', '.join(names)}, but the data were bound to {', '.join(inputs)}; "
            "rename them."
        )
    return [inputs[name] for name in names]
