"""Read an .onnx file with the package ``onnx``, which is imported only when there is one to be read."""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ..errors import FileFormatError, UsageError
from ..flatbuffer.specs import TensorSpec

EXTRA = ("onnx", "onnxruntime", "tf2onnx")
_IR_VERSION = 0x08  # the tag of a ModelProto's first field, with which every writer begins
_TFLITE = b"TFL3"  # at offset 4; a .tflite file may begin with any byte


@dataclass(frozen=True)
class OnnxModel:
    """What is in an .onnx file.

    Attributes:
        inputs: Its inputs, in its order; their `index` is their place.
        outputs: Its outputs, in its order; their `index` goes on from the inputs'.
        ops: Operator name to count, most frequent first.
        opset: Version of ONNX's own operators.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: dict[str, int]
    opset: int


def is_onnx(data: bytes) -> bool:
    """Return whether bytes begin as an .onnx file does; that says nothing of the rest."""
    return data[:1] == bytes([_IR_VERSION]) and data[4:8] != _TFLITE


def require_onnx(packages: tuple[str, ...] = EXTRA) -> None:
    """Return if the packages of the extra ``onnx`` are there.

    Raises:
        UsageError: One is not installed.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}, not installed here: pip install 'edgeopt[onnx]'.")


def read_onnx(data: bytes, name: str = "The model") -> OnnxModel:
    """Return what is in an .onnx file.

    Args:
        data: The file.
        name: What messages call it.

    Raises:
        UsageError: The package ``onnx`` is not installed.
        FileFormatError: It is no .onnx file, or is corrupt.
    """
    require_onnx(("onnx",))
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load_model_from_string(data)
        onnx.checker.check_model(proto)
        graph = proto.graph
        constants = {item.name for item in graph.initializer}
        given = [item for item in graph.input if item.name not in constants]
        specs = tuple(_spec(item, index) for index, item in enumerate((*given, *graph.output)))
    except (DecodeError, onnx.checker.ValidationError, ValueError, KeyError) as error:  # KeyError: an unknown type
        reason = " ".join(str(error).split())[:200]
        raise FileFormatError(f"{name} is not a whole .onnx file ({reason}); convert or copy it again.") from error
    return OnnxModel(
        specs[: len(given)],
        specs[len(given) :],
        dict(Counter(node.op_type for node in graph.node).most_common()),
        max((item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")), default=0),
    )


def _spec(item: Any, index: int) -> TensorSpec:
    import onnx

    kind = item.type.tensor_type
    signature = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name if kind.elem_type else "float32"
    shape = tuple(max(1, size) for size in signature)
    return TensorSpec(item.name, dtype, shape, signature, None, None, item.name, index)
