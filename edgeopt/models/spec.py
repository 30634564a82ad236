"""Names, shapes and types of a model's inputs and outputs: what calibration, data and the file are bound by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import UsageError, nearest


@dataclass(frozen=True)
class InputSpec:
    """One model input; the batch dimension and every unknown dimension are None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class ModelSpec:
    """The inputs, in the model's order, and the names of the outputs, in the model's order."""

    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]


def fix_shapes(
    spec: ModelSpec, input_shapes: Mapping[str, Sequence[int | None]], batch_size: int | None
) -> tuple[InputSpec, ...]:
    """Return the inputs with `batch_size` (None: dynamic) and the shapes that the user stated put in.

    Args:
        spec: The model's inputs as loaded.
        input_shapes: Input name -> full shape with the batch dimension, for models whose shapes are open.
        batch_size: The batch dimension of the file, or None to leave it open.

    Raises:
        UsageError: An unknown input name, a shape that contradicts the model, or a dimension left open.
    """
    names = [item.name for item in spec.inputs]
    for name in input_shapes:
        if name not in names:
            raise UsageError(f"--input-shape names {name!r}, which is no input of the model{nearest(name, names)}")
    fixed = []
    for item in spec.inputs:
        shape = _merge(item, input_shapes.get(item.name))
        rest = tuple(shape[1:])
        if None in rest:
            example = ",".join(str(size or "N") for size in (batch_size or 1, *rest))
            raise UsageError(
                f"Input {item.name!r} has the open shape {shape}; state it with --input-shape {item.name}={example}"
            )
        stated = input_shapes.get(item.name)
        batch = batch_size if stated is None or batch_size is None else (stated[0] or batch_size)
        fixed.append(InputSpec(item.name, (batch, *rest), item.dtype))
    return tuple(fixed)


def _merge(item: InputSpec, stated: Sequence[int | None] | None) -> tuple[int | None, ...]:
    if stated is None:
        return item.shape
    if len(stated) != len(item.shape):
        raise UsageError(f"--input-shape {item.name} has {len(stated)} dimensions, but the model expects {item.shape}")
    for wanted, known in zip(stated[1:], item.shape[1:], strict=True):
        if known is not None and wanted is not None and wanted != known:
            raise UsageError(f"--input-shape {item.name}={tuple(stated)} contradicts the model's shape {item.shape}")
    return (item.shape[0], *(wanted or known for wanted, known in zip(stated[1:], item.shape[1:], strict=True)))
