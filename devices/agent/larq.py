"""Larq Compute Engine's interpreter, with those methods of TFLite's that a session calls.

It runs files with binary layers (LceQuantize, LceBconv2d, LceBMaxPool2d). It does not tell the names of inputs and
outputs, which are read from the file here.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import struct
from typing import Any, Dict, List, Sequence, Tuple

PACKAGE = "larq_compute_engine"
_LIBRARY = ("tflite", "python", "interpreter_wrapper_lite.so")
# Numbers of fields in TFLite's schema.
_SUBGRAPHS, _SIGNATURES = 2, 7
_TENSORS, _INPUTS, _OUTPUTS = 0, 1, 2
_TENSOR_NAME = 3
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _KEY = 0, 1, 2
_ARGUMENT_NAME, _ARGUMENT_TENSOR = 0, 1


def import_library() -> Any:
    """Return the compiled part of the package; the package itself would import TensorFlow.

    Raises:
        ImportError: It is not there, or does not load.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = os.path.join(folder, *_LIBRARY)
        if os.path.exists(path):
            name = os.path.splitext(_LIBRARY[-1])[0]
            loader = importlib.machinery.ExtensionFileLoader(name, path)
            found = importlib.util.spec_from_file_location(name, path, loader=loader)
            module = importlib.util.module_from_spec(found)  # type: ignore[arg-type]
            loader.exec_module(module)
            return module
    raise ImportError("there is no %s with %s" % (PACKAGE, _LIBRARY[-1]))


class LarqInterpreter:
    """One model.

    Args:
        library: See `import_library`.
        content: The file.
        threads: Of one invocation.
        kernels: A key of `runtimes.KERNELS`: "default" gives what is not binary to XNNPACK.
    """

    def __init__(self, library: Any, content: bytes, threads: int, kernels: str) -> None:
        try:
            self._inner = library.LiteInterpreter(content, threads, kernels == "reference", False, kernels == "default")
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        self._ends = _Ends(content)
        self._given: Dict[int, Any] = {}
        self._made: Dict[int, Any] = {}

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        """Take the shape that the input has already; no other, because the interpreter keeps the file's."""
        own = dict(zip(self._ends.inputs, self._inner.input_shapes))[index]
        if tuple(shape) != tuple(own):
            raise ValueError("%s keeps the shapes that the file states" % PACKAGE)

    def allocate_tensors(self) -> None:
        """Do nothing: making the interpreter did it."""

    def get_input_details(self) -> List[Dict[str, Any]]:
        """Return what TFLite's interpreter tells of the inputs."""
        inner = self._inner
        return self._details(
            "inputs", inner.input_types, inner.input_shapes, inner.input_scales, inner.input_zero_points
        )

    def get_output_details(self) -> List[Dict[str, Any]]:
        """Return the same of the outputs."""
        inner = self._inner
        return self._details(
            "outputs", inner.output_types, inner.output_shapes, inner.output_scales, inner.output_zero_points
        )

    def _get_full_signature_list(self) -> Dict[str, Dict[str, Dict[str, int]]]:
        return self._ends.signatures

    def _get_ops_details(self) -> List[Dict[str, Any]]:
        return []  # it does not tell; its binary operators keep no state

    def set_tensor(self, index: int, values: Any) -> None:
        """Set an input."""
        self._given[index] = values

    def invoke(self) -> None:
        """Run the model."""
        results = self._inner.predict([self._given[index] for index in self._ends.inputs])
        self._made = dict(zip(self._ends.outputs, results))

    def get_tensor(self, index: int) -> Any:
        """Return an output of the last run."""
        return self._made[index]

    def reset_all_variables(self) -> None:
        """Do nothing: there are none."""

    def _details(self, side: str, types: Any, shapes: Any, scales: Any, points: Any) -> List[Dict[str, Any]]:
        indices = getattr(self._ends, side)
        return [
            {
                "index": index,
                "name": self._ends.names[index],
                "dtype": dtype.type,
                "shape": shape,
                "shape_signature": shape,
                "quantization": (scale or 0.0, point or 0),
            }
            for index, dtype, shape, scale, point in zip(indices, types, shapes, scales, points)
        ]


class _Ends:
    """Inputs and outputs of a file's first graph, and its signatures: the few fields of the schema that hold them.

    Attributes:
        inputs: Indices of tensors.
        outputs: The same.
        names: Index of a tensor to its name.
        signatures: As TFLite's interpreter tells them.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        try:
            self._read()
        except (struct.error, IndexError) as error:
            raise ValueError("the file is damaged: %s" % error) from error

    def _read(self) -> None:
        model = self._number(0)
        graph = self._follow(self._items(self._field(model, _SUBGRAPHS))[0])
        self.inputs, self.outputs = (
            [self._number(place) for place in self._items(self._field(graph, side))] for side in (_INPUTS, _OUTPUTS)
        )
        tensors = [self._follow(place) for place in self._items(self._field(graph, _TENSORS))]
        self.names = {index: self._text(tensors[index], _TENSOR_NAME) for index in self.inputs + self.outputs}
        self.signatures: Dict[str, Dict[str, Dict[str, int]]] = {}
        for place in self._items(self._field(model, _SIGNATURES)):
            signature = self._follow(place)
            sides = {"inputs": _SIGNATURE_INPUTS, "outputs": _SIGNATURE_OUTPUTS}
            self.signatures[self._text(signature, _KEY)] = {
                side: dict(map(self._argument, self._items(self._field(signature, number))))
                for side, number in sides.items()
            }

    def _argument(self, place: int) -> Tuple[str, int]:
        table = self._follow(place)
        index = self._field(table, _ARGUMENT_TENSOR)
        return self._text(table, _ARGUMENT_NAME), self._number(index) if index else 0

    def _field(self, table: int, number: int) -> int:
        """Return where a field of a table lies; 0 for one that is not there."""
        places = table - struct.unpack_from("<i", self._content, table)[0]
        size = struct.unpack_from("<H", self._content, places)[0]
        entry = 4 + 2 * number
        offset = struct.unpack_from("<H", self._content, places + entry)[0] if entry < size else 0
        return table + offset if offset else 0

    def _items(self, place: int) -> List[int]:
        """Return where the elements of a vector of 4-byte values lie; none of one that is not there."""
        if not place:
            return []
        start = self._follow(place)
        count = self._number(start)
        if 4 * count > len(self._content):
            raise IndexError("a vector of %d values" % count)
        return [start + 4 + 4 * item for item in range(count)]

    def _text(self, table: int, number: int) -> str:
        place = self._field(table, number)
        if not place:
            return ""
        start = self._follow(place)
        return self._content[start + 4 : start + 4 + self._number(start)].decode("utf-8", "replace")

    def _follow(self, place: int) -> int:
        return place + self._number(place)

    def _number(self, place: int) -> int:
        return int(struct.unpack_from("<I", self._content, place)[0])
