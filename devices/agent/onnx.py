"""onnxruntime behind the interface of TFLite's interpreters, so that all that measures those measures it, too."""

from __future__ import annotations

import importlib
from typing import Any, Dict, List, Sequence

import numpy as np

from .arith import Array

NAME = "onnxruntime"
# The types that onnxruntime names -> NumPy's; an input of any other is refused.
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class Onnx:
    """A session on the CPU. Tensors are numbered: the inputs first, then the outputs."""

    def __init__(self, path: str, threads: int) -> None:
        """Load the file at `path`.

        Raises:
            ValueError: onnxruntime cannot read or run it.
        """
        module: Any = importlib.import_module(NAME)
        options = module.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors
        try:
            self._session = module.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # each of its own classes derives from Exception alone
            raise ValueError(str(error)) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._inputs = [_detail(index, item) for index, item in enumerate(inputs)]
        self._outputs = [_detail(len(inputs) + index, item) for index, item in enumerate(outputs)]
        self._values: Dict[int, Array] = {}

    def get_input_details(self) -> List[Dict[str, Any]]:
        """Return what TFLite's interpreters return."""
        return self._inputs

    def get_output_details(self) -> List[Dict[str, Any]]:
        """Return what TFLite's interpreters return."""
        return self._outputs

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        """Let an input have another shape.

        Raises:
            ValueError: The file states the size.
        """
        detail = self._inputs[index]
        if any(own not in (-1, size) for own, size in zip(detail["shape_signature"], shape)):
            raise ValueError("the file fixes the shape of input %r" % detail["name"])
        detail["shape"] = np.array(shape)

    def allocate_tensors(self) -> None:
        """Do nothing: onnxruntime allocates as it runs."""

    def set_tensor(self, index: int, value: Array) -> None:
        """Keep the value of an input for the next run."""
        self._values[index] = value

    def invoke(self) -> None:
        """Run the file.

        Raises:
            RuntimeError: It fails.
        """
        feed = {detail["name"]: self._values[detail["index"]] for detail in self._inputs}
        names = [detail["name"] for detail in self._outputs]
        try:
            found = self._session.run(names, feed)
        except Exception as error:
            raise RuntimeError(str(error)) from error
        self._values.update(zip((detail["index"] for detail in self._outputs), found))

    def get_tensor(self, index: int) -> Array:
        """Return the value of an output, which no later run changes."""
        return self._values[index]

    def reset_all_variables(self) -> None:
        """Do nothing: an .onnx file keeps nothing between runs."""

    def _get_ops_details(self) -> List[Dict[str, Any]]:
        return []

    def _get_full_signature_list(self) -> Dict[str, Any]:
        return {}


def _detail(index: int, item: Any) -> Dict[str, Any]:
    if item.type not in _TYPES:
        raise ValueError("%r has the type %s, which edgeopt does not feed" % (item.name, item.type))
    signature = [size if isinstance(size, int) else -1 for size in item.shape]
    return {
        "name": item.name,
        "index": index,
        "dtype": _TYPES[item.type],
        "shape": np.array([max(1, size) for size in signature]),
        "shape_signature": np.array(signature),
        "quantization": (0.0, 0),
    }
