"""Sample arrays on disk: inputs mapped into memory, outputs written piece by piece, so that size is no matter."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from .arith import Array
from .npy import NotAnArray, map_npy
from .protocol import AgentError
from .records import Quantised
from .session import Tensor, stored_values


def open_samples(tensor: Tensor, path: str) -> Array:
    """Map the samples of one input, shape (n, ...), and check that they fit it.

    Raises:
        AgentError: No .npy file, a type that is not real, or a shape that the input does not take.
    """
    try:
        samples = map_npy(path)
    except (OSError, NotAnArray) as error:
        message = "%s is no array of numbers in .npy format (%s)" % (path, error)
        raise AgentError("data", message) from error
    if samples.dtype.kind not in "biuf":
        raise AgentError("data", "%s holds %s; expected real numbers in .npy format" % (path, samples.dtype))
    wanted = tensor.signature
    fits = samples.ndim == len(wanted) and all(
        known in (-1, size) for size, known in zip(samples.shape[1:], wanted[1:])
    )
    if not wanted or not fits or not len(samples):
        shape = "(n, %s)" % ", ".join("any" if size == -1 else str(size) for size in wanted[1:])
        message = "the data for input %r have the shape %s; expected %s with n >= 1"
        raise AgentError("data", message % (tensor.name, tuple(samples.shape), shape))
    return samples


class Extent:
    """The smallest and the largest real value of one input that has been seen; refuses what is not finite."""

    def __init__(self, name: str, low: float = math.inf, high: float = -math.inf) -> None:
        """Start with what was seen elsewhere of the input `name`, or with nothing."""
        self._name = name
        self._lock = threading.Lock()
        self.low = low
        self.high = high

    def add(self, real: Array, first: int) -> None:
        """Take samples into account; `first` is the number of the first of them.

        Raises:
            AgentError: NaN or infinity, with the number of the sample.
        """
        low, high = float(real.min()), float(real.max())  # NaN propagates through both
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = np.isfinite(real).reshape(len(real), -1).all(axis=1)
            number = first + int(np.argmin(finite))
            raise AgentError("data", "sample %d of input %r holds NaN or infinity" % (number, self._name))
        with self._lock:
            self.low, self.high = min(self.low, low), max(self.high, high)


@dataclass(frozen=True)
class Samples:
    """The inputs of all samples, in the model's order, each of shape (n, ...), with what was seen of their values.

    `stored` tells which of them are stored values already, quantised by the host.
    """

    arrays: List[Array]
    extents: List[Extent]
    stored: List[bool]

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.arrays[0])

    def shapes(self, tensors: Sequence[Tensor], batch: int) -> Dict[int, Sequence[int]]:
        """Return the shape of every input for `batch` samples at a time, by tensor index."""
        return {tensor.index: (batch, *data.shape[1:]) for tensor, data in zip(tensors, self.arrays)}

    def feed(self, tensors: Sequence[Tensor], first: int, batch: int) -> List[Array]:
        """Return what `tensors` store of `batch` samples from number `first` on; the last one fills up a short batch.

        Raises:
            AgentError: A value is not finite, or does not fit an integer input.
        """
        feed = []
        for tensor, data, extent, is_stored in zip(tensors, self.arrays, self.extents, self.stored):
            stored = np.asarray(data[first : first + batch])
            if not is_stored:
                extent.add(stored, first)
                stored = stored_values(tensor, stored)
            if len(stored) < batch:
                stored = np.concatenate([stored, np.repeat(stored[-1:], batch - len(stored), axis=0)])
            feed.append(stored)
        return feed


def paths_in_order(tensors: Sequence[Tensor], inputs: Dict[str, str]) -> List[str]:
    """Return the data files in the order of the model's inputs; they are keyed by name or by "#" + tensor index.

    Raises:
        AgentError: An input without data, or data without an input.
    """
    paths, unused = [], dict(inputs)
    names = ", ".join(repr(item.name) for item in tensors)
    if list(unused) == [""] and len(tensors) == 1:  # by hand: the one file for the one input
        return [unused[""]]
    for tensor in tensors:
        keys = ["#%d" % tensor.index, tensor.name, tensor.tensor_name]
        found = [key for key in keys if key in unused]
        if not found:
            raise AgentError("data", "no data for input %r; the model's inputs are %s" % (tensor.name, names))
        paths.append(unused.pop(found[0]))
    if unused:
        message = "data for %r, which is no input; the model's inputs are %s"
        raise AgentError("data", message % (min(unused), names))
    return paths


def open_all(tensors: Sequence[Tensor], paths: Sequence[str], stored: Optional[Dict[str, Quantised]] = None) -> Samples:
    """Map the samples of all inputs, which must agree in their number; `stored` is that of the request.

    Raises:
        AgentError: As in `open_samples`; different numbers of samples; inputs of different batch sizes.
    """
    arrays = [open_samples(tensor, path) for tensor, path in zip(tensors, paths)]
    counts = ", ".join("%d for %r" % (len(array), tensor.name) for tensor, array in zip(tensors, arrays))
    if len({len(array) for array in arrays}) > 1:
        raise AgentError("data", "the inputs have different numbers of samples: " + counts)
    if len({tensor.shape[0] for tensor in tensors}) > 1:
        shapes = ", ".join("%r %s" % (tensor.name, tensor.shape) for tensor in tensors)
        raise AgentError("unsupported", "the inputs have different batch sizes: " + shapes)
    quantised = [(stored or {}).get("#%d" % tensor.index) for tensor in tensors]
    extents = [_extent(*each) for each in zip(tensors, arrays, quantised)]
    return Samples(arrays, extents, [facts is not None for facts in quantised])


def _extent(tensor: Tensor, samples: Array, quantised: Optional[Quantised]) -> Extent:
    """Return what is known of an input's real values: of stored ones, what the host has seen.

    Raises:
        AgentError: They were quantised for another input than this.
    """
    if quantised is None:
        return Extent(tensor.name)
    wanted = (np.dtype(tensor.dtype).name, tensor.scale, tensor.zero_point)
    found = (quantised["dtype"], quantised["scale"], quantised["zero_point"])
    if found != wanted or samples.dtype != tensor.dtype:
        message = "the data for input %r are %s, quantised for %s; the model's input is %s"
        raise AgentError("data", message % (tensor.name, samples.dtype, found, wanted))
    return Extent(tensor.name, quantised["low"], quantised["high"])


class OutputFile:
    """A .npy file of stored outputs, shape (n, ...), that several threads fill.

    Written with ``pwrite``, not through a memory map: a full disk is then an error, and not SIGBUS.
    """

    def __init__(self, path: str, dtype: Any, shape: Sequence[int]) -> None:
        """Create it.

        Raises:
            OSError: It cannot be written.
        """
        self.path = path
        self._row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:], dtype=np.int64))
        with open(path, "wb") as stream:
            header: Dict[str, Any] = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(shape)}
            write_header: Any = np.lib.format.write_array_header_1_0
            write_header(stream, header)
            self._start = stream.tell()
        self._descriptor = os.open(path, os.O_WRONLY)

    def write(self, first: int, rows: Array) -> None:
        """Write `rows` as the samples from number `first` on.

        Raises:
            OSError: The disk is full.
        """
        view = memoryview(rows.tobytes())
        offset = self._start + first * self._row_bytes
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def close(self) -> None:
        """Close it; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
