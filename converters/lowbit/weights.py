"""How 4-bit weights are stored, which operators have them, and the versions that keep runtimes from misreading them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

KINDS = ("CONV_2D", "FULLY_CONNECTED")
MOST = 7  # a symmetric grid: -7 to 7
WEIGHTS, BIAS = 1, 2
# LiteRT's tools/versioning/op_version.cc gives CONV_2D 7 and FULLY_CONNECTED 10 to int8 activations, 1 to float ones.
# Only the 7 tells a runtime what it needs to know: tflite-runtime 2.14 has a FULLY_CONNECTED 10 without 4-bit weights,
# and takes those of version 1 for 8-bit ones, which gives garbage. The others are of a version that it does not have.
_VERSIONS = {
    ("CONV_2D", "int8"): 7,
    ("CONV_2D", "float32"): 8,
    ("FULLY_CONNECTED", "int8"): 12,
    ("FULLY_CONNECTED", "float32"): 12,
}


def pack(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return integers of 4 bits, -8 to 7, two in a byte, the first in its lower half.

    Example:
        >>> pack(np.array([1, -1, 7])).tolist()
        [241, 7]
    """
    halves = np.asarray(values, np.int8).reshape(-1).astype(np.uint8) & 0x0F
    halves = np.append(halves, np.zeros(len(halves) % 2, np.uint8))
    return np.asarray(halves[0::2] | (halves[1::2] << 4), np.uint8)


def mark_versions(tree: Any) -> None:
    """Give the operators with 4-bit weights of an unpacked file the version that their kernels came with."""
    from ai_edge_litert import schema_py_generated as schema

    kinds = {getattr(schema.BuiltinOperator, name): name for name in KINDS}
    types = {schema.TensorType.INT8: "int8", schema.TensorType.FLOAT32: "float32"}
    for graph in tree.subgraphs:
        for operator in graph.operators:
            kind = kinds.get(tree.operatorCodes[operator.opcodeIndex].builtinCode)
            if kind is None or graph.tensors[operator.inputs[WEIGHTS]].type != schema.TensorType.INT4:
                continue
            version = _VERSIONS[kind, types[graph.tensors[operator.inputs[0]].type]]
            operator.opcodeIndex = _code(tree, operator.opcodeIndex, version)


def _code(tree: Any, index: int, version: int) -> int:
    """Return the place of an operator code of another version, which is added where there is none."""
    wanted = tree.operatorCodes[index]
    for place, code in enumerate(tree.operatorCodes):
        if (code.builtinCode, code.customCode, code.version) == (wanted.builtinCode, wanted.customCode, version):
            return place
    fresh = type(wanted)()
    vars(fresh).update(vars(wanted))
    fresh.version = version
    tree.operatorCodes.append(fresh)
    return len(tree.operatorCodes) - 1
