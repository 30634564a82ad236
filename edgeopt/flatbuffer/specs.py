"""What goes in and what comes out of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .describe import plain
from .model import Model, Signature, Tensor


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model.

    Attributes:
        name: The argument name of the signature, or the tensor's own name in a file without one.
        dtype: "int8", "float32", ...
        shape: What an interpreter starts with: dynamic dimensions stand here as 1.
        signature: The shape with -1 for dynamic dimensions.
        scale: The `scale` of ``real = scale * (stored - zero_point)``; None when the tensor is not quantised.
        zero_point: The stored value that means 0; None when the tensor is not quantised.
        tensor_name: The name inside the file, as interpreters report it.
        index: Tensor index in the main subgraph, as interpreters report it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    tensor_name: str
    index: int

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them; a scale that is not finite becomes "inf" or "nan"."""
        return {name: plain(value) for name, value in vars(self).items()}


def input_specs(model: Model) -> tuple[TensorSpec, ...]:
    """Return the inputs of the main subgraph, in its order."""
    names = _names([signature.inputs for signature in _main_signatures(model)])
    return tuple(spec_of(model.main.tensors[index], names) for index in model.main.inputs)


def output_specs(model: Model) -> tuple[TensorSpec, ...]:
    """Return the outputs of the main subgraph, in its order."""
    names = _names([signature.outputs for signature in _main_signatures(model)])
    return tuple(spec_of(model.main.tensors[index], names) for index in model.main.outputs)


def _main_signatures(model: Model) -> list[Signature]:
    return [signature for signature in model.signatures if signature.subgraph_index == 0]


def _names(maps: list[dict[str, int]]) -> dict[int, str]:
    """Return tensor index to argument name; the first signature wins."""
    return {index: name for arguments in reversed(maps) for name, index in reversed(arguments.items())}


def spec_of(tensor: Tensor, names: Mapping[int, str] = MappingProxyType({})) -> TensorSpec:
    """Return what is known of a tensor, under the name that `names` has for its index."""
    quantization = tensor.quantization
    return TensorSpec(
        name=names.get(tensor.index, tensor.name),
        dtype=tensor.dtype,
        shape=tensor.shape,
        signature=tensor.signature,
        scale=None if quantization is None else float(quantization.scales[0]),
        zero_point=None if quantization is None else int(quantization.zero_points[0]),
        tensor_name=tensor.name,
        index=tensor.index,
    )
