"""The form of a QDQ file that TensorRT reads: activations around a zero point of 0, biases as floats.

TensorRT takes symmetric quantisation only ("zeroPt must be all zeros"), and no DequantizeLinear of 32-bit integers.
The ranges stay those of the .tflite file: the greater side of each is mapped to 127, so that a range of one sign gets
half of the steps. Weights are symmetric already, and stay the same integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_LOWEST, _GREATEST = -128, 127


def symmetric(proto: Any) -> None:
    """Give the activations of a QDQ model (an ``onnx.ModelProto``) zero points of 0, and make its biases floats.

    Constants whose zero point is not 0 become floats, too.
    """
    from onnx import numpy_helper

    graph = proto.graph
    values: dict[str, npt.NDArray[Any]] = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    made: dict[str, npt.NDArray[Any]] = {}
    folded: list[Any] = []
    for node in graph.node:
        if node.op_type not in (_QUANTIZE, _DEQUANTIZE):
            continue
        scale, zero_point = values[node.input[1]], values[node.input[2]]
        stored = values.get(node.input[0])
        if stored is not None and node.op_type == _DEQUANTIZE:
            if stored.dtype == np.int32 or np.any(zero_point):
                axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
                made[node.output[0]] = _real(stored, scale, zero_point, axis)
                folded.append(node)
            continue
        if np.any(zero_point):
            reach = np.maximum(zero_point.astype(np.float64) - _LOWEST, _GREATEST - zero_point.astype(np.float64))
            name = f"{node.input[1]}/{node.input[2]}"
            made[f"{name}/scale"] = (scale * reach / _GREATEST).astype(np.float32)
            made[f"{name}/zero"] = np.zeros_like(zero_point)
            node.input[1], node.input[2] = f"{name}/scale", f"{name}/zero"
    for node in folded:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    kept += [numpy_helper.from_array(array, name) for name, array in made.items() if name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _real(
    stored: npt.NDArray[Any], scale: npt.NDArray[Any], zero_point: npt.NDArray[Any], axis: int
) -> npt.NDArray[np.float32]:
    """Return what DequantizeLinear gives."""
    shape = [1] * stored.ndim
    if scale.ndim:
        shape[axis] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    return np.asarray((stored.astype(np.float64) - zero_point) * scale, np.float32)
