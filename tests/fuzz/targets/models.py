"""Model files: which Keras wrote them, what HDF5 holds, and loading them with Keras or TensorFlow.

edgeopt opens HDF5 here only after a small process has read all of it. To be affordable the reading is done in this
process, which may die of it; every hundredth file goes through the small process too.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import shutil
import signal
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np

from edgeopt.errors import FileFormatError
from edgeopt.models import detect, hdf5, load

from ..mutator import change, mutate
from ..readers import Reader, scratch

CONFIG = {
    "module": "keras",
    "class_name": "Sequential",
    "registered_name": None,
    "config": {
        "name": "s",
        "trainable": True,
        "layers": [
            {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "i"}},
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {"name": "d", "units": 2, "activation": "relu", "use_bias": True},
                "registered_name": None,
                "build_config": {"input_shape": [None, 4]},
            },
        ],
    },
}


def _here(path: Path) -> dict[str, Any]:
    """What the small process says of a file, from this process, which ends where that one does."""
    handler = signal.signal(signal.SIGPROF, signal.SIG_DFL)
    left, _ = signal.setitimer(signal.ITIMER_PROF, 0.5)
    try:
        return hdf5.read_through(path)
    except hdf5.DAMAGE as error:
        raise FileFormatError(f"{path} is damaged ({str(error)[:200]}).") from error
    finally:
        signal.signal(signal.SIGPROF, handler)
        signal.setitimer(signal.ITIMER_PROF, left)


def _write(data: bytes, name: str) -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


def _detect(data: bytes) -> None:
    path = _write(data, "model.bin")
    with mock.patch.object(hdf5, "_probe", _here) if zlib.crc32(data) % 100 else contextlib.nullcontext():
        found = detect.detect(path)
        json.dumps(found.config_text)
        detect.wrappers_in(found.config_text)
        if found.suffix == ".keras":
            hdf5.check_members(path)


def _load(data: bytes) -> None:
    path = _write(data, "model.bin")
    with mock.patch.object(hdf5, "_probe", _here):
        found = load.load_model(path)
    _ = [(tensor.name, tensor.shape) for tensor in found.spec.inputs]


def _h5(weights: bool = True) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
        file.attrs["keras_version"] = "2.19.0"
        group = file.create_group("model_weights/dense/dense")
        group.attrs["weight_names"] = np.array([b"dense/kernel:0"])
        group.create_dataset("kernel:0", data=np.arange(12, dtype=np.float32).reshape(4, 3))
        group.create_dataset("packed", data=np.zeros((8, 8)), chunks=(4, 4), compression="gzip", shuffle=True)
        group["link"] = h5py.SoftLink("/model_weights")
    return stream.getvalue()


def _weights() -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        values = file.create_group("layers/dense/vars")
        values.create_dataset("0", data=np.arange(8, dtype=np.float32).reshape(4, 2))
        values.create_dataset("1", data=np.zeros(2, np.float32))
        file.create_group("layers/input_layer/vars")
    return stream.getvalue()


def _keras(config: Any = CONFIG, method: int = zipfile.ZIP_STORED, weights: bytes | None = None) -> bytes:
    stream = io.BytesIO()
    members = {
        "metadata.json": json.dumps({"keras_version": "3.5.0", "date_saved": ""}).encode(),
        "config.json": config if isinstance(config, bytes) else json.dumps(config).encode(),
        "model.weights.h5": _weights() if weights is None else weights,
    }
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def _detect_seeds() -> Mapping[str, bytes]:
    return {"h5": _h5(), "keras": _keras(), "deflated": _keras(method=zipfile.ZIP_DEFLATED)}


def _mutate_inside(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Damage a `.keras` file, two times in three what is in its members, so that the archive is whole."""
    kind = rng.randrange(3)
    if kind == 0 or not zipfile.is_zipfile(io.BytesIO(data)):
        return mutate(data, others, rng)
    if kind == 1:
        return _keras(weights=mutate(_weights(), [], rng))
    return _keras(config=json.dumps(change(json.loads(json.dumps(CONFIG)), rng)).encode())


@functools.cache
def _legacy() -> bytes:
    """A whole model as tf_keras writes it."""
    import tf_keras

    path = scratch() / "legacy.h5"
    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(2)])
    model.save(path)
    return path.read_bytes()


def _load_seeds() -> Mapping[str, bytes]:
    return {"keras": _keras(), "h5": _legacy()}


@functools.cache
def _saved_folder() -> Path:
    import tensorflow as tf

    class Doubled(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([1, 4], name="x")])
        def serve(self, x: Any) -> Any:
            return {"y": tf.nn.relu(x * self.factor)}

    folder = scratch() / "saved"
    module = Doubled()
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    return folder


_PARTS = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")


def _saved_seeds() -> Mapping[str, bytes]:
    """Each file of a SavedModel that is read, behind its number."""
    folder = _saved_folder()
    seeds = {name: bytes([place]) + (folder / name).read_bytes() for place, name in enumerate(_PARTS)}
    no_map = seeds[_PARTS[0]].replace(b"signature_map", b"signature_mat")  # its signatures are any object
    return {**seeds, "no_map": no_map}


def _mutate_part(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return data[:1] + mutate(data[1:], [other[1:] for other in others], rng)


def _saved(data: bytes) -> None:
    folder = scratch() / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_saved_folder(), folder)
    (folder / _PARTS[data[0] % len(_PARTS)]).write_bytes(data[1:])
    load.load_model(folder)


os.environ["KERAS_BACKEND"] = "tensorflow"
_LOADING = (
    "edgeopt/models/load.py",
    "edgeopt/models/hdf5.py",
    "edgeopt/models/trust/*.py",
    "edgeopt/models/keras_spec.py",
)

READERS = {
    "detect": Reader(
        _detect,
        _detect_seeds,
        ("edgeopt/models/detect.py", "edgeopt/models/hdf5.py"),
        ("repro/hostile/detect/*.bin", "repro/hostile/*.h5"),
        cases=100,
        in_child=True,
    ),
    "keras": Reader(_load, _load_seeds, _LOADING, mutate=_mutate_inside, cases=20, in_child=True),
    "saved_model": Reader(
        _saved,
        _saved_seeds,
        ("edgeopt/models/saved_model.py", "edgeopt/models/trust/graphs.py"),
        mutate=_mutate_part,
        cases=20,
        in_child=True,
    ),
}
