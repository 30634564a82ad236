"""Data of every kind that edgeopt takes -> one `Dataset`, bound to the model's inputs by name.

Accepted: ``.npz`` (``x`` and optionally ``y``, or one array per input name), ``.npy``, a folder of images with a
sub-folder per class, ``module:callable`` (a TFLite ``representative_dataset``, or a function returning arrays); in
Python also an ndarray, a tuple ``(x, y)`` or ``(x, y, sample_weight)``, a list with one array per input, a dict by
input name, a ``tf.data.Dataset`` and any generator or callable that yields what ``representative_dataset`` yields. The
first axis counts samples. Labels of a model with several outputs are a list of arrays or a dict by output name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..artifact.npz import read_npz
from ..devices.agent.npy import NotAnArray, map_npy
from ..errors import DataError, nearest
from ..process.user_code import import_user_object
from .folder import Pictures, Preparation
from .images import Choose, load_image_folder, require_images
from .labels import Labels, leaves, map_labels, read_labels
from .streams import is_endless, read_stream

Array = npt.NDArray[Any]

_LABEL_KEYS = ("y", "labels", "label")
_KINDS = "expected .npz, .npy, a folder of images, or module:callable"


@dataclass(frozen=True)
class Dataset:
    """Samples by input name, or by position when the source has no names, and their labels if there are any.

    Attributes:
        arrays: Each of shape (samples, ...), all of one length. A folder of images is a `Pictures`, which is decoded
            where it is looked at.
        names: The input name of each array; empty when the source gives none.
        labels: Shape (samples, ...); for several outputs a dict by output name, or a tuple in the model's order;
            or None.
        weights: What each sample counts in training, of shape (samples,), or in the structure of `labels`; or None.
        source: Where it came from, for messages.
        note: How inputs were prepared (image size and scaling), if edgeopt did it.
        class_names: Of a folder of images, by class number.
        label_name: What the source calls the labels; a model may have an input of that name.
        streamed: Whether the samples are the first that a stream gave.
    """

    arrays: tuple[Array, ...]
    names: tuple[str, ...] = ()
    labels: Labels | None = None
    source: str = "data"
    note: str = ""
    label_name: str = ""
    weights: Labels | None = None
    class_names: tuple[str, ...] = ()
    streamed: bool = False

    def __post_init__(self) -> None:
        if not self.arrays:
            raise DataError(f"{self.source} holds no input array; expected 'x', or one array per model input.")
        if any(array.ndim == 0 for array in self.arrays):
            raise DataError(f"{self.source} holds a scalar; expected arrays whose first axis counts samples.")
        lengths = sorted({len(array) for array in self.arrays})
        if len(lengths) > 1:
            raise DataError(f"{self.source} holds inputs of different lengths {lengths}; each needs one row a sample.")
        if self.count == 0:
            raise DataError(f"{self.source} holds zero samples; expected at least one.")
        for word, given in (("label", self.labels), ("sample weight", self.weights)):
            for array in leaves(given):
                if array.ndim == 0 or len(array) != self.count:
                    number = len(np.atleast_1d(array))
                    raise DataError(
                        f"{self.source} has {number} {word}(s) for {self.count} samples; expected one {word} a sample."
                    )

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.arrays[0])

    @property
    def pictures(self) -> Pictures | None:
        """The images, where it is a folder of them."""
        first: Any = self.arrays[0]
        return first if isinstance(first, Pictures) else None

    def image_record(self, shape: Sequence[int | None]) -> dict[str, Any] | None:
        """Say how the images of a folder become an input of this full shape; None for data of another kind."""
        if (pictures := self.pictures) is None:
            return None
        found = pictures.with_channels(shape[-1] if shape else None)
        return {**found.record(), "classes": list(self.class_names)}

    def bind(
        self, names: Sequence[str], shapes: Sequence[Sequence[int | None]], strings: Collection[str] = ()
    ) -> dict[str, Array]:
        """Return the arrays by input name, in the order of `names`, checked against the inputs' shapes.

        Args:
            names: The model's input names.
            shapes: Each input's full shape; the batch dimension and open ones (None or -1) match anything.
            strings: Names of the inputs that take text.

        Raises:
            DataError: Names that do not match, or a shape or type that does not fit its input.
        """
        arrays = self._in_order(names)
        return {
            name: self._fit(array, tuple(shape), name, text=name in strings)
            for name, array, shape in zip(names, arrays, shapes, strict=True)
        }

    def take(self, indices: npt.NDArray[np.int64]) -> Dataset:
        """Return the samples at `indices`, in that order."""
        labels, weights = (
            None if given is None else map_labels(lambda array: array[indices], given)
            for given in (self.labels, self.weights)
        )
        arrays = tuple(_rows(array, indices) for array in self.arrays)
        return replace(self, arrays=arrays, labels=labels, weights=weights)

    def labels_of(self, output: str | None, names: Sequence[str]) -> Array | Mapping[str, Array] | None:
        """Return the labels of one output; of all by name where several are scored together.

        Args:
            output: The output's name; None for the only one, or for all.
            names: The model's output names, in its order.

        Raises:
            DataError: There are labels for several outputs, and none for this one.
        """
        labels = self.labels
        if isinstance(labels, tuple):
            if len(labels) != len(names):
                raise DataError(
                    f"{self.source} has labels for {len(labels)} outputs, but the model has {len(names)}: "
                    f"{', '.join(names)}; give one array for each, or a dict by output name."
                )
            labels = dict(zip(names, labels, strict=True))
        if not isinstance(labels, Mapping):
            return labels
        wanted = names[0] if output is None and len(names) == 1 else output
        if wanted is None:
            return labels
        if wanted not in labels:
            raise DataError(f"{self.source} has no labels for the output {wanted!r}{nearest(wanted, labels)}")
        return labels[wanted]

    def _in_order(self, names: Sequence[str]) -> list[Array]:
        known = dict(zip(self.names, self.arrays, strict=True)) if self.names else {}
        if isinstance(self.labels, np.ndarray) and self.label_name in names and self.label_name not in known and known:
            known[self.label_name] = self.labels  # a model input that happens to be called 'y'
        elif len(self.arrays) != len(names):
            raise DataError(
                f"{self.source} holds {len(self.arrays)} input array(s) ({', '.join(self.names) or 'unnamed'}), "
                f"but the model has {len(names)} input(s): {', '.join(names)}; give one array for each."
            )
        elif len(names) == 1:
            return list(self.arrays)
        elif not known:
            if len({array.shape for array in self.arrays}) < len(names):
                raise DataError(
                    f"{self.source} gives {len(names)} arrays without names, of which some have one shape and would be "
                    f"bound by guess; name them after the model's inputs: {', '.join(names)}."
                )
            return list(self.arrays)
        for name in names:
            if name not in known:
                raise DataError(f"{self.source} has no array for the model input {name!r}{nearest(name, known)}")
        return [known[name] for name in names]

    def _fit(self, array: Array, shape: tuple[int | None, ...], name: str, *, text: bool = False) -> Array:
        """Check one array against its input's shape; a missing channel axis of size 1 is put in."""
        real = (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_) and array.dtype.kind != "c"
        if not (array.dtype.kind in "US" if text else real):
            wanted_kind = "text (a NumPy array of str)" if text else "real numbers"
            raise DataError(f"{self.source} gives dtype {array.dtype} for input {name!r}; expected {wanted_kind}.")
        expected = tuple(None if size in (None, -1) else size for size in shape[1:])
        if array.shape[1:] != expected and expected and expected[-1] == 1 and array.ndim == len(shape) - 1:
            array = array[..., np.newaxis]
        pictures: Any = array
        if isinstance(pictures, Pictures) and len(shape) == pictures.ndim:
            array = cast(Array, pictures.with_channels(expected[-1]))
        if array.ndim == len(shape) and all(
            size in (None, own) for size, own in zip(expected, array.shape[1:], strict=True)
        ):
            return _small_in_memory(array)
        wanted = "".join(f", {'?' if size is None else size}" for size in expected)
        remedy = "reshape or resize the data"
        if self.note:
            remedy = "state the size with --image-size (in a recipe: image_size under [convert])"
        elif array.ndim == len(expected) and array.shape[1:] == expected[1:]:
            remedy = (
                "put the samples along a first axis of their own: x[np.newaxis] for one sample, also in a generator"
            )
        raise DataError(
            f"{self.source} gives shape {tuple(array.shape)} for input {name!r}; "
            f"expected (samples{wanted or ','}); {remedy}."
        )


def load_dataset(
    source: Any,
    *,
    image_size: tuple[int, int] | None = None,
    image_scaling: str = "0..255",
    image_resize: str = "bilinear",
    limit: int | None = None,
    choose: Choose | None = None,
) -> Dataset:
    """Turn any accepted source into a `Dataset`.

    Args:
        source: See the module's docstring.
        image_size: (height, width) for a folder of images; None takes the size of the first image.
        image_scaling: What pixel values become: ``0..255``, ``0..1`` or ``-1..1``.
        image_resize: How images are resized: a key of `edgeopt.recipes.convert.IMAGE_RESIZES`.
        limit: Read at most so many samples from a stream (generator, ``tf.data``, callable).
        choose: Which images of a folder to read, from their number and labels; None reads all.

    Raises:
        DataError: The source does not exist, is pickled, empty, or of a kind that is not accepted.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        if os.path.isdir(name):
            found = load_image_folder(Path(name), Preparation(image_size, image_scaling, image_resize), choose)
            return of_pictures(found.pictures, found.labels, found.classes, name)
        return _load_named(name, limit)
    if isinstance(source, np.ndarray):
        return Dataset((source,), source="the array")
    if isinstance(source, Mapping):
        return _from_mapping(source, "the dict")
    if _is_labelled(source):
        return _from_tuple(source)
    if isinstance(source, (list, tuple)):
        return Dataset(tuple(np.asarray(array) for array in source), source="the list of arrays")
    if callable(source):
        return _from_callable(source, limit, getattr(source, "__name__", "the callable"))
    if isinstance(source, Iterable):
        return _from_stream(source, limit, f"the {type(source).__name__}")
    raise DataError(
        f"Received data of type {type(source).__name__}; "
        "expected a path, arrays, a dict, a tf.data.Dataset or a generator."
    )


def of_pictures(pictures: Pictures, labels: Labels | None, class_names: Sequence[str], source: str) -> Dataset:
    """Return pictures, with their labels and what these mean, as a `Dataset`."""
    # `Pictures` do what the users of `arrays` ask of one: shape, dtype, len, rows.
    arrays = (cast(Array, pictures),)
    return Dataset(arrays, labels=labels, source=source, note=pictures.note(), class_names=tuple(class_names))


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


def _rows(array: Any, indices: npt.NDArray[np.int64]) -> Array:
    return cast(Array, array.take(indices)) if isinstance(array, Pictures) else array[indices]


def _small_in_memory(array: Any) -> Array:
    return cast(Array, array.loaded() if isinstance(array, Pictures) else array)


def _is_labelled(source: Any) -> bool:
    """Whether it is ``(x, y)`` or ``(x, y, sample_weight)``; a list holds inputs."""
    return isinstance(source, tuple) and len(source) in (2, 3) and not isinstance(source[0], str)


def _from_tuple(source: tuple[Any, ...]) -> Dataset:
    x, y, *weights = source
    if isinstance(x, tuple):
        x = list(x)  # several inputs, as tf.data gives them
    base = load_dataset(x if isinstance(x, (Mapping, list, Dataset)) else np.asarray(x))
    name = "the (x, y) pair" if not weights else "the tuple (x, y, sample_weight)"
    return replace(
        base,
        labels=read_labels(y, base.count, name),
        source=name,
        weights=read_labels(weights[0], base.count, name) if weights else None,
    )


def check_named(name: str) -> None:
    """Refuse a path that cannot be data, at next to no cost: of files of arrays the headers are read.

    Raises:
        DataError: It does not exist, is damaged or empty, is of a kind that is not accepted, has labels for other
            samples than it holds, or is a folder without an image.
    """
    if not os.path.exists(name) and not _is_reference(name):
        raise DataError(f"Data {name} does not exist; {_KINDS}.")
    if os.path.isfile(name) and not name.endswith((".npz", ".npy")):
        raise DataError(f"Data {name} is of an unknown kind; {_KINDS}.")
    if os.path.isdir(name):
        require_images(Path(name))
    elif os.path.isfile(name):
        _load_numpy(Path(name), contents=False)


def _is_reference(name: str) -> bool:
    module_name, colon, attribute = name.partition(":")
    return bool(colon and attribute) and all(word.isidentifier() for word in module_name.split("."))


def _load_named(name: str, limit: int | None) -> Dataset:
    check_named(name)
    if os.path.isfile(name):
        return _load_numpy(Path(name))
    return _from_callable(_import_callable(name), limit, name)


def _load_numpy(path: Path, *, contents: bool = True) -> Dataset:
    try:
        if path.suffix == ".npy":
            return Dataset((map_npy(path),), source=str(path))
        return _from_mapping(read_npz(path, contents=contents), str(path))
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    except NotAnArray as error:
        raise DataError(
            f"{path} is not a readable NumPy file ({error}); save it again with numpy.save or numpy.savez."
        ) from error
    except MemoryError as error:
        raise DataError(f"{path} holds more than the memory; give fewer samples, or a .npy file.") from error


def _from_mapping(values: Mapping[Any, Any], source: str) -> Dataset:
    given = {str(key): array for key, array in values.items()}
    label_name = next((key for key in _LABEL_KEYS if key in given and len(given) > 1), "")
    unread = given.pop(label_name) if label_name else None
    arrays = {key: np.asarray(array) for key, array in given.items()}
    first = next(iter(arrays.values()), np.zeros(0))
    labels = read_labels(unread, len(first) if first.ndim else None, source)
    if any(array.dtype == object for array in leaves(labels)):
        raise DataError(f"{source} holds labels of mixed type; expected numbers.")
    return Dataset(tuple(arrays.values()), tuple(arrays), labels, source, label_name=label_name)


def _import_callable(reference: str) -> Callable[[], Any]:
    found = import_user_object(reference, "the data", DataError)
    if not callable(found):
        raise DataError(f"{reference!r} is a {type(found).__name__}; expected a callable that yields samples.")
    return found  # type: ignore[no-any-return]


def _from_callable(function: Callable[[], Any], limit: int | None, source: str) -> Dataset:
    try:
        result = function()
        if isinstance(result, (np.ndarray, Mapping, Dataset)) or _is_labelled(result):
            return load_dataset(result)  # arrays at once
        return _from_stream(result, limit, source)
    except DataError:
        raise
    except Exception as error:  # the user's own code
        raise DataError(f"{source} failed with {type(error).__name__}: {error}; correct it.") from error


def _from_stream(stream: Any, limit: int | None, source: str) -> Dataset:
    if not isinstance(stream, Iterable):
        raise DataError(
            f"{source} returned {type(stream).__name__}; "
            "expected it to yield lists of arrays, as representative_dataset does."
        )
    if limit is None and is_endless(stream):
        raise DataError(f"{source} never ends; give a part of it, as take(n) does.")
    arrays, names, labels, weights = read_stream(stream, limit, source)
    return Dataset(arrays, names, labels, source, weights=weights, streamed=True)
