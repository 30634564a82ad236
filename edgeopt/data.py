"""Data of every kind that edgeopt takes -> one `Dataset`, bound to the model's inputs by name.

Accepted: ``.npz`` (``x`` and optionally ``y``, or one array per input name), ``.npy``, a folder of images with a
sub-folder per class, ``module:callable`` (a TFLite ``representative_dataset``, or a function returning arrays); in
Python also an ndarray, a tuple ``(x, y)``, a dict by input name, a ``tf.data.Dataset`` and any generator or callable that
yields what ``representative_dataset`` yields. The first axis counts samples.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DataError, nearest
from .images import load_image_folder

Array = npt.NDArray[Any]

_LABEL_KEYS = ("y", "labels", "label")


@dataclass(frozen=True)
class Dataset:
    """Samples by input name, or by position when the source has no names, and their labels if there are any.

    Attributes:
        arrays: Each of shape (samples, ...), all of one length.
        names: The input name of each array; empty when the source gives none.
        labels: Shape (samples, ...), or None.
        source: Where it came from, for messages.
        note: How inputs were prepared (image size and scaling), if edgeopt did it.
    """

    arrays: tuple[Array, ...]
    names: tuple[str, ...] = ()
    labels: Array | None = None
    source: str = "data"
    note: str = ""

    def __post_init__(self) -> None:
        if not self.arrays:
            raise DataError(f"{self.source} holds no input array; expected 'x', or one array per model input.")
        lengths = {len(array) if array.ndim else -1 for array in self.arrays}
        if -1 in lengths:
            raise DataError(f"{self.source} holds a scalar; expected arrays whose first axis counts samples.")
        if len(lengths) > 1:
            raise DataError(
                f"{self.source} holds inputs of different lengths {sorted(lengths)}; each needs one row a sample."
            )
        if self.count == 0:
            raise DataError(f"{self.source} holds zero samples; expected at least one.")
        if self.labels is not None and len(self.labels) != self.count:
            raise DataError(
                f"{self.source} has {len(self.labels)} labels for {self.count} samples; expected one label a sample."
            )

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.arrays[0])

    def bind(self, names: Sequence[str], shapes: Sequence[Sequence[int | None]]) -> dict[str, Array]:
        """Return the arrays by input name, in the order of `names`, checked against the inputs' shapes.

        Args:
            names: The model's input names.
            shapes: Each input's full shape; the batch dimension and open ones (None or -1) match anything.

        Raises:
            DataError: Names that do not match, or a shape that does not fit its input.
        """
        bound = dict(zip(names, self._in_order(names), strict=True))
        for name, shape in zip(names, shapes, strict=True):
            bound[name] = _fit(bound[name], tuple(shape), name, self.source)
        return bound

    def _in_order(self, names: Sequence[str]) -> list[Array]:
        if len(self.arrays) != len(names):
            raise DataError(
                f"{self.source} holds {len(self.arrays)} input array(s) ({', '.join(self.names) or 'unnamed'}), "
                f"but the model has {len(names)} input(s): {', '.join(names)}."
            )
        if len(names) == 1 or not self.names:
            if len(names) > 1 and len({array.shape for array in self.arrays}) == 1:
                raise DataError(
                    f"{self.source} gives {len(names)} arrays of one shape without names, which would be bound by guess; "
                    f"name them after the model's inputs: {', '.join(names)}."
                )
            return list(self.arrays)
        known = dict(zip(self.names, self.arrays, strict=True))
        for name in names:
            if name not in known:
                raise DataError(f"{self.source} has no array for the model input {name!r}{nearest(name, known)}")
        return [known[name] for name in names]

    def take(self, indices: npt.NDArray[np.int64]) -> Dataset:
        """Return the samples at `indices`, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        return Dataset(tuple(array[indices] for array in self.arrays), self.names, labels, self.source, self.note)


def load_dataset(
    source: Any, *, image_size: tuple[int, int] | None = None, image_scaling: str = "0..255", limit: int | None = None
) -> Dataset:
    """Turn any accepted source into a `Dataset`.

    Args:
        source: See the module's docstring.
        image_size: (height, width) for a folder of images; None takes the size of the first image.
        image_scaling: What pixel values become: ``0..255``, ``0..1`` or ``-1..1``.
        limit: Read at most so many samples from a stream (generator, ``tf.data``, callable).

    Raises:
        DataError: The source does not exist, is pickled, empty, or of a kind that is not accepted.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, (str, Path)):
        return _load_named(str(source), image_size, image_scaling, limit)
    if isinstance(source, np.ndarray):
        return Dataset((source,), source="the array")
    if isinstance(source, Mapping):
        return _from_mapping(dict(source), "the dict")
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str):
        return _with_labels(source[0], source[1])
    if isinstance(source, (list, tuple)):
        return Dataset(tuple(np.asarray(array) for array in source), source="the list of arrays")
    if callable(source):
        return _from_stream(source(), limit, getattr(source, "__name__", "the callable"))
    if isinstance(source, Iterable):
        return _from_stream(source, limit, type(source).__name__)
    raise DataError(
        f"Received data of type {type(source).__name__}; expected a path, arrays, a dict, a tf.data.Dataset or a generator."
    )


def sample_hashes(arrays: Sequence[Array]) -> list[str]:
    """Return one SHA-256 per sample over all its inputs as float32, so that any dtype of the same values agrees.

    Args:
        arrays: One array per input, in the model's order, each of shape (samples, ...).
    """
    digests = []
    for index in range(len(arrays[0])):
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(np.ascontiguousarray(array[index], dtype="<f4").tobytes())
        digests.append(digest.hexdigest())
    return digests


def _load_named(name: str, image_size: tuple[int, int] | None, scaling: str, limit: int | None) -> Dataset:
    path = Path(name)
    if path.is_dir():
        arrays, labels, note = load_image_folder(path, image_size, scaling)
        return Dataset((arrays,), labels=labels, source=name, note=note)
    if path.suffix in (".npz", ".npy"):
        return _load_numpy(path)
    module_name, colon, attribute = name.partition(":")
    if colon and module_name.replace(".", "").replace("_", "").isalnum():
        return load_dataset(_import_callable(module_name, attribute, name), limit=limit)
    if not path.exists():
        raise DataError(f"Data {name} does not exist; expected .npz, .npy, a folder of images, or module:callable.")
    raise DataError(f"Data {name} is of an unknown kind; expected .npz, .npy, a folder of images, or module:callable.")


def _load_numpy(path: Path) -> Dataset:
    if not path.is_file():
        raise DataError(f"Data {path} does not exist; expected .npz, .npy, a folder of images, or module:callable.")
    try:
        if path.suffix == ".npy":
            return Dataset((np.load(path, mmap_mode="r", allow_pickle=False),), source=str(path))
        with np.load(path, allow_pickle=False) as archive:
            return _from_mapping({key: archive[key] for key in archive.files}, str(path))
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, DataError):
            raise
        if "pickle" in str(error).lower() or "Object arrays" in str(error):
            raise DataError(
                f"{path} holds pickled objects, which are never loaded; save plain numeric arrays instead."
            ) from error
        raise DataError(
            f"{path} is not a readable NumPy file ({error}); save it again with numpy.save or numpy.savez."
        ) from error


def _from_mapping(arrays: dict[str, Any], source: str) -> Dataset:
    label_key = next((key for key in _LABEL_KEYS if key in arrays and len(arrays) > 1), None)
    labels = None if label_key is None else np.asarray(arrays.pop(label_key))
    if labels is not None and labels.dtype == object:
        raise DataError(f"{source} holds labels of mixed type; expected numbers.")
    names = () if list(arrays) == ["x"] else tuple(arrays)
    return Dataset(tuple(np.asarray(array) for array in arrays.values()), names, labels, source)


def _with_labels(inputs: Any, labels: Any) -> Dataset:
    base = load_dataset(inputs if isinstance(inputs, (np.ndarray, Mapping, list)) else np.asarray(inputs))
    return Dataset(base.arrays, base.names, np.asarray(labels), "the (x, y) pair")


def _import_callable(module_name: str, attribute: str, reference: str) -> Callable[[], Any]:
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise DataError(f"Cannot import {module_name!r} for the data {reference!r}: {error}.") from error
    except AttributeError as error:
        raise DataError(f"Module {module_name!r} has no {attribute!r}, asked for by the data {reference!r}.") from error
    if not callable(found):
        raise DataError(f"{reference!r} is a {type(found).__name__}; expected a callable that yields samples.")
    return found  # type: ignore[no-any-return]


def _from_stream(stream: Any, limit: int | None, source: str) -> Dataset:
    """Read batches (`representative_dataset` lists, dicts, (x, y) pairs of tf.data) until `limit` samples are there."""
    if isinstance(stream, (np.ndarray, Mapping, Dataset)) or (isinstance(stream, tuple) and len(stream) == 2):
        return load_dataset(stream)  # a callable that returns arrays at once
    if not isinstance(stream, Iterable):
        raise DataError(
            f"{source} returned {type(stream).__name__}; expected it to yield lists of arrays, as representative_dataset does."
        )
    unbatched = hasattr(stream, "element_spec") and not _is_batched(stream)
    rows: list[list[Array]] = []
    labels: list[Array] = []
    names: tuple[str, ...] = ()
    count = 0
    for element in _bounded(stream):
        names, arrays, label = _split_element(element, source)
        if unbatched:
            arrays = [array[np.newaxis] for array in arrays]
        if any(array.ndim == 0 for array in arrays):
            raise DataError(f"{source} yields scalars; expected arrays whose first axis counts samples.")
        rows.append(arrays)
        if label is not None:
            labels.append(np.atleast_1d(label) if not unbatched else label[np.newaxis])
        count += len(arrays[0])
        if limit is not None and count >= limit:
            break
    if not rows:
        raise DataError(f"{source} yields zero samples; expected at least one.")
    if len({tuple(array.shape[1:] for array in row) for row in rows}) > 1:
        shapes = sorted({str([array.shape for array in row]) for row in rows})[:2]
        raise DataError(f"{source} yields samples of different shapes ({' and '.join(shapes)}); expected one shape.")
    joined = tuple(np.concatenate(column)[:limit] for column in zip(*rows, strict=True))
    labelled = len(labels) == len(rows)
    return Dataset(joined, names, np.concatenate(labels)[:limit] if labelled else None, source)


def _bounded(stream: Iterable[Any]) -> Iterator[Any]:
    return itertools.islice(iter(stream), 1_000_000)


def _is_batched(stream: Any) -> bool:
    """A tf.data.Dataset is batched when the first axis of each component is open, or its last step was `batch`."""
    import tensorflow as tf

    if "Batch" in type(stream).__name__:
        return True
    specs = tf.nest.flatten(stream.element_spec)
    return bool(specs) and all(spec.shape.rank and spec.shape[0] is None for spec in specs)


def _split_element(element: Any, source: str) -> tuple[tuple[str, ...], list[Array], Array | None]:
    """Split one yielded element into input names, arrays and labels."""
    label = None
    if isinstance(element, tuple) and len(element) in (2, 3):
        if isinstance(element[0], str):  # (signature_key, {name: array}) of representative_dataset
            element = element[1]
        else:
            element, label = element[0], np.asarray(element[1])
    if isinstance(element, Mapping):
        return tuple(element), [np.asarray(array) for array in element.values()], label
    if isinstance(element, (list, tuple)):
        return (), [np.asarray(array) for array in element], label
    if hasattr(element, "__array__"):
        return (), [np.asarray(element)], label
    raise DataError(
        f"{source} yields {type(element).__name__}; expected a list of arrays, as representative_dataset yields."
    )


def _fit(array: Array, shape: tuple[int | None, ...], name: str, source: str) -> Array:
    """Check one array against its input's shape; a missing channel axis of size 1 is put in."""
    expected = tuple(None if size in (None, -1) else size for size in shape[1:])
    if array.shape[1:] != expected and expected and expected[-1] == 1 and array.ndim == len(shape) - 1:
        array = array[..., np.newaxis]
    matches = array.ndim == len(shape) and all(
        e is None or e == a for e, a in zip(expected, array.shape[1:], strict=True)
    )
    if not matches:
        wanted = ", ".join("?" if size is None else str(size) for size in expected)
        raise DataError(
            f"{source} gives shape {tuple(array.shape)} for input {name!r}; expected (samples, {wanted}); reshape or resize the data."
        )
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise DataError(f"{source} gives dtype {array.dtype} for input {name!r}; expected numbers.")
    return array
