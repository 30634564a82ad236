"""How constant values lie in a buffer: bits per element, and the decoding to NumPy arrays."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError

# Bits per element of each fixed-size type; string, resource and variant have none.
BITS = {
    **dict.fromkeys(("int2",), 2),
    **dict.fromkeys(("int4", "uint4"), 4),
    **dict.fromkeys(("bool", "int8", "uint8", "float8_e4m3fn", "float8_e5m2"), 8),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
    **dict.fromkeys(("int32", "uint32", "float32"), 32),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 64),
    **dict.fromkeys(("complex128",), 128),
}


def decode(raw: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """Return the buffer `raw` as a read-only array of `shape`, or None for a type that NumPy does not hold.

    Raises:
        FileFormatError: The buffer is too short for the shape, or is not a string table.
    """
    if dtype == "string":
        return _read_only(np.array(_strings(raw), dtype=object).reshape(-1))
    if dtype not in BITS or dtype.startswith("float8"):
        return None
    shape = tuple(max(size, 1) if size < 0 else size for size in shape)
    elements = math.prod(shape)
    needed = (elements * BITS[dtype] + 7) // 8
    if raw.size < needed:
        raise FileFormatError(
            f"A constant of type {dtype} and shape {shape} has {raw.size} bytes, expected {needed}; "
            "the .tflite file is corrupt: convert or download it again."
        )
    raw = raw[:needed]
    if BITS[dtype] < 8:
        flat = _unpack(raw, BITS[dtype], signed=not dtype.startswith("u"))[:elements]
    elif dtype == "bfloat16":
        flat = (raw.view("<u2").astype("<u4") << np.uint32(16)).view("<f4")
    else:
        flat = raw.view(np.dtype(dtype).newbyteorder("<"))
    return _read_only(flat.reshape(shape))


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _unpack(raw: npt.NDArray[np.uint8], bits: int, signed: bool) -> npt.NDArray[Any]:
    """Unpack values of 2 or 4 bits, least significant first, as the TFLite kernels do."""
    mask = np.uint8(2**bits - 1)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values: npt.NDArray[Any] = ((raw[:, None] >> shifts) & mask).reshape(-1)
    if signed:
        sign = np.int8(2 ** (bits - 1))
        values = (values.astype(np.int8) ^ sign) - sign
    return values


def _strings(raw: npt.NDArray[np.uint8]) -> list[bytes]:
    """Read a TFLite string table: int32 count, count + 1 int32 offsets from the start, then the characters."""
    data = raw.tobytes()
    count = int.from_bytes(data[:4], "little", signed=True)
    fits = count >= 0 and 4 * (count + 2) <= len(data)
    offsets = np.frombuffer(data, "<i4", count=count + 1, offset=4).tolist() if fits else [-1]
    if offsets[0] < 0 or offsets != sorted(offsets) or offsets[-1] > len(data):
        raise FileFormatError("A string constant has a broken table of offsets: the file is corrupt; get it again.")
    return [data[start:end] for start, end in itertools.pairwise(offsets)]
