"""How samples go to a device: quantised where the file's input is, and piece by piece where they are not in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..errors import DataError, nearest
from ..flatbuffer.specs import TensorSpec
from .agent.arith import quantize
from .agent.arrays import Extent
from .agent.protocol import AgentError
from .agent.records import Evaluated, Quantised, TensorFacts

Array = npt.NDArray[Any]

# How much of one input, as it was given, is on disk here, and on the device, at a time.
PIECE_BYTES = 1 << 28
# How much of it is in memory while it is written.
_CHUNK_BYTES = 1 << 25


def as_rows(samples: Any) -> Array:
    """Return arrays as they are, and so what is indexed like one but read where it is looked at; else an array."""
    indexed = all(hasattr(samples, name) for name in ("shape", "ndim", "__getitem__", "__len__"))
    if indexed and isinstance(getattr(samples, "dtype", None), np.dtype):
        return samples  # type: ignore[no-any-return]
    return np.asarray(samples)


def in_pieces(bound: Mapping[TensorSpec, Array]) -> bool:
    """Whether some of the samples are not in memory."""
    return not all(isinstance(array, np.ndarray) for array in bound.values())


def pieces(bound: Mapping[TensorSpec, Array] | None) -> Iterator[Mapping[TensorSpec, Array] | None]:
    """Split samples by input into parts of at most `PIECE_BYTES` an input; arrays in memory stay whole."""
    if bound is None or not in_pieces(bound):
        yield bound
        return
    count = len(next(iter(bound.values())))
    rows = min(max(1, PIECE_BYTES // max(1, _row_bytes(array))) for array in bound.values())
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        yield {spec: cast(Array, _Rows(array, start, stop)) for spec, array in bound.items()}


def write(path: Path, samples: Any, spec: TensorSpec) -> Quantised | None:
    """Write the samples of one input as a .npy file, a part at a time; what the device would quantise is quantised.

    Returns:
        What they were quantised for; None if they are as they were given.

    Raises:
        DataError: A value that would have to be quantised is not finite.
        OSError: The disk is full.
    """
    scale = _scale_to_use(samples, spec)
    if scale is None and isinstance(samples, np.ndarray):
        np.save(path, samples, allow_pickle=False)
        return None
    rows = max(1, _CHUNK_BYTES // max(1, _row_bytes(samples)))
    dtype, zero_point = samples.dtype if scale is None else np.dtype(spec.dtype), spec.zero_point or 0
    header = {"descr": dtype.str, "fortran_order": False, "shape": tuple(samples.shape)}
    extent = Extent(spec.name)
    with path.open("wb") as stream:
        write_header: Any = np.lib.format.write_array_header_1_0
        write_header(stream, header)
        for start in range(0, len(samples), rows):
            part = np.asarray(samples[start : start + rows], samples.dtype)
            if scale is not None:
                _see(extent, part, start)
                part = quantize(part, scale, zero_point, dtype)
            stream.write(np.ascontiguousarray(part).data)
    if scale is None:
        return None
    return {"dtype": dtype.name, "scale": scale, "zero_point": zero_point, "low": extent.low, "high": extent.high}


def _scale_to_use(samples: Any, spec: TensorSpec) -> float | None:
    """Return the scale of an input whose samples get smaller by being quantised, None for others, right or wrong."""
    if spec.dtype not in ("int8", "uint8", "int16") or spec.scale is None or not 0 < spec.scale < math.inf:
        return None
    smaller = np.dtype(spec.dtype).itemsize < samples.dtype.itemsize
    return spec.scale if smaller and samples.dtype.kind in "biuf" and _row_bytes(samples) > 0 else None


def _see(extent: Extent, real: Array, first: int) -> None:
    try:
        extent.add(real, first)
    except AgentError as error:
        raise DataError(f"{error.message[:1].upper()}{error.message[1:]}; leave it out, or repair it.") from error


def joined(replies: Sequence[Evaluated], stored: Sequence[Sequence[Array]]) -> tuple[Evaluated, list[Array]]:
    """Return the replies of all pieces as the one that the samples would have had as a whole, and their outputs."""
    first = replies[0]
    inputs = [
        cast(
            TensorFacts,
            {**same[0], "low": min(item["low"] for item in same), "high": max(item["high"] for item in same)},
        )
        for same in zip(*(reply["inputs"] for reply in replies), strict=True)
    ]
    reply: Evaluated = {
        **first,
        "samples": sum(reply["samples"] for reply in replies),
        "seconds": sum(reply["seconds"] for reply in replies),
        "reasons": list(dict.fromkeys(chain.from_iterable(reply["reasons"] for reply in replies))),
        "inputs": inputs,
    }
    return reply, [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*stored, strict=True)]


class _Rows:
    """Some rows of samples that are read where they are looked at."""

    def __init__(self, samples: Any, start: int, stop: int) -> None:
        self._samples, self._start, self._stop = samples, start, stop
        self.dtype, self.ndim = samples.dtype, samples.ndim
        self.shape = (stop - start, *samples.shape[1:])

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, rows: slice) -> Any:
        start, stop, _ = rows.indices(len(self))
        return self._samples[self._start + start : self._start + stop]


def _row_bytes(samples: Any) -> int:
    return int(np.prod(samples.shape[1:], dtype=np.int64)) * int(samples.dtype.itemsize)


def bind(specs: Sequence[TensorSpec], inputs: Mapping[str, npt.NDArray[Any]]) -> dict[TensorSpec, npt.NDArray[Any]]:
    """Return the samples by input, after checking names, numbers and counts.

    Raises:
        DataError: An input without data, data without an input, or inputs of different lengths.
    """
    names = [spec.name for spec in specs]
    for name in inputs:
        if name not in names and name not in [spec.tensor_name for spec in specs]:
            raise DataError(f"The data name {name!r}, which is no input of the model{nearest(name, names)}")
    bound = {}
    for spec in specs:
        found = inputs.get(spec.name, inputs.get(spec.tensor_name))
        if found is None:
            raise DataError(f"No data for input {spec.name!r}; pass one array for each of {', '.join(names)}.")
        bound[spec] = as_rows(found)
    counts = {len(array) if array.ndim else 0 for array in bound.values()}
    if len(counts) != 1 or counts == {0}:
        raise DataError(f"The inputs hold {sorted(counts)} samples; expected the same number, at least 1, for each.")
    return bound
