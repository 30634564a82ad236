"""``edgeopt.inspect``: what is inside a .tflite file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..artifact.envelope import envelope
from ..artifact.shown import Shown
from ..converters.edgetpu.package import Package, packages
from ..flatbuffer import Model
from ..flatbuffer import describe as rows
from ..flatbuffer.binary import binary_macs
from ..flatbuffer.integer import DynamicTensor, FloatOperator, dynamic_dimensions, float_ops, fully_int8, granularity
from ..flatbuffer.low_bits import LowBits, low_bits
from ..flatbuffer.macs import macs, unknown_macs
from ..flatbuffer.memory import MemoryUse, memory_use
from ..flatbuffer.specs import TensorSpec, input_specs, output_specs
from ..flatbuffer.totals import gzip_bytes, op_histogram, parameters
from .reading import HasModel, read_tflite, readable


@dataclass(frozen=True, repr=False)
class Inspection(Shown):
    """What `inspect` found.

    Attributes:
        file: The path that was given, None for bytes and artifacts.
        model: Every subgraph, tensor and operator.
        size_bytes: Size of the file.
        gzip_bytes: Size after gzip, level 9.
        fully_int8: No float tensor, and every quantised input and output has 8 bits.
        float_ops: The operators that read or write float tensors.
        dynamic_dimensions: The tensors whose shape is not fixed.
        inputs: The inputs of the main subgraph, in its order.
        outputs: The outputs of the main subgraph, in its order.
        ops: Operator name to count, most frequent first.
        macs: Multiply-accumulates of one invocation.
        macs_unknown: Names of the operators whose MACs the file does not tell; `macs` is a lower bound if any.
        parameters: Number of weights (see `edgeopt.flatbuffer.totals.parameters` for what counts).
        memory: Activation memory.
        granularity: Operator name to "per-tensor", "per-channel" or "mixed".
        edgetpu: In a file compiled for the Edge TPU, what each of its custom operators holds for the chip.
        binary_macs: Multiply-accumulates of one bit, by Larq's operators, which `macs` leaves out.
        low_bits: Weights of fewer than 8 bits, by type.
    """

    file: str | None
    model: Model = field(repr=False)
    size_bytes: int
    gzip_bytes: int
    fully_int8: bool
    float_ops: tuple[FloatOperator, ...]
    dynamic_dimensions: tuple[DynamicTensor, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: dict[str, int]
    macs: int
    macs_unknown: tuple[str, ...]
    parameters: int
    memory: MemoryUse
    granularity: dict[str, str]
    edgetpu: tuple[Package, ...] = ()
    low_bits: tuple[LowBits, ...] = ()
    binary_macs: int = 0

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        return {
            "file": self.file,
            "size_bytes": self.size_bytes,
            "fully_int8": self.fully_int8,
            "macs": self.macs,
            "parameters": self.parameters,
            "peak_activation_bytes": self.peak_activation_bytes,
            "ops": ", ".join(f"{count} {op}" for op, count in self.ops.items()),
        }

    @property
    def peak_activation_bytes(self) -> int:
        """The largest sum of activations that are live together."""
        return self.memory.peak_bytes

    def to_dict(self) -> dict[str, object]:
        """Return the result in the JSON envelope of all verbs."""
        return envelope(
            "inspect",
            "ok",
            {
                "file": self.file,
                "size_bytes": self.size_bytes,
                "gzip_bytes": self.gzip_bytes,
                "fully_int8": self.fully_int8,
                "float_ops": [found.to_dict() for found in self.float_ops],
                "dynamic_dimensions": [found.to_dict() for found in self.dynamic_dimensions],
                "granularity": dict(self.granularity),
                "low_bits": [item.to_dict() for item in self.low_bits],
                "edgetpu": [package.to_dict() for package in self.edgetpu],
                "inputs": [spec.to_dict() for spec in self.inputs],
                "outputs": [spec.to_dict() for spec in self.outputs],
                "ops": dict(self.ops),
                "macs": self.macs,
                "macs_unknown": list(self.macs_unknown),
                "binary_macs": self.binary_macs,
                "parameters": self.parameters,
                "peak_activation_bytes": self.peak_activation_bytes,
                "memory": self.memory.to_dict(),
                "description": self.model.description,
                "subgraphs": rows.subgraph_rows(self.model),
                "signatures": rows.signature_rows(self.model),
                "metadata": rows.metadata_rows(self.model),
                "operators": rows.operator_rows(self.model),
                "tensors": rows.tensor_rows(self.model),
            },
        )


def inspect(file: str | os.PathLike[str] | bytes | HasModel) -> Inspection:
    """Read a .tflite file and sum up what is in it; imports no TensorFlow.

    Args:
        file: A path, the bytes of a file, or an artifact.

    Raises:
        UsageError: The path cannot be read, or `file` is something else.
        FileFormatError: It is corrupt, or not a .tflite file.

    Example:
        >>> edgeopt.inspect("model_int8.tflite").macs
        12501632
    """
    found = read_tflite(file)
    model, name = found.model, None if found.path is None else readable(found.path)
    return Inspection(
        file=name,
        model=model,
        size_bytes=len(found.data),
        gzip_bytes=gzip_bytes(found.data),
        fully_int8=fully_int8(model),
        float_ops=tuple(float_ops(model)),
        dynamic_dimensions=tuple(dynamic_dimensions(model)),
        inputs=input_specs(model),
        outputs=output_specs(model),
        ops=op_histogram(model),
        macs=macs(model),
        macs_unknown=unknown_macs(model),
        binary_macs=binary_macs(model),
        parameters=parameters(model),
        memory=memory_use(model),
        granularity=granularity(model),
        low_bits=tuple(low_bits(model)),
        edgetpu=packages(model, name or "The model"),
    )
