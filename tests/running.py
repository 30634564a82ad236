"""A .tflite file in an interpreter: real values in and out, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeopt.devices.agent.arith import dequantize, quantize

Array = npt.NDArray[Any]


class RunningFile:
    """Runs a .tflite file with the reference kernels' quantisation, and without delegates."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.interpreter = Interpreter(
            model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        self.interpreter.allocate_tensors()
        self.inputs = {item["name"]: item for item in self.interpreter.get_input_details()}
        self.outputs = self.interpreter.get_output_details()

    @property
    def input_names(self) -> list[str]:
        return list(self.inputs)

    @property
    def output_names(self) -> list[str]:
        return [item["name"] for item in self.outputs]

    def stored(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs as the file stores them, in its order."""
        self.interpreter.reset_all_variables()
        for name, real in feeds.items():
            item = self.inputs[name]
            scale, zero_point = item["quantization"]
            value = quantize(np.asarray(real), scale, zero_point, item["dtype"]) if scale else np.asarray(real)
            self.interpreter.set_tensor(item["index"], value.astype(item["dtype"]))
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(item["index"]) for item in self.outputs]

    def real(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs as real values, in the file's order."""
        result = []
        for item, stored in zip(self.outputs, self.stored(feeds), strict=True):
            scale, zero_point = item["quantization"]
            result.append(dequantize(stored, scale, zero_point) if scale else stored)
        return result

    def steps(self) -> list[float]:
        """The quantisation step of each output; 0 for float ones."""
        return [float(item["quantization"][0]) for item in self.outputs]
