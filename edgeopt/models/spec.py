"""Names, shapes and types of a model's inputs and outputs: what calibration, data and the file are bound by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError, nearest
from .detect import Flavour

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class InputSpec:
    """One model input; the batch dimension and every unknown dimension are None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class ModelSpec:
    """The inputs and outputs of a model, in its order.

    Attributes:
        inputs: Each input.
        output_names: Name of each output; empty when they are known only once the model is traced.
        firm: Whether the shapes are the model's own. Those of a subclassed model are of one call, or unknown (an empty
            shape): what the user states wins.
        fixed_batch: Whether static batch dimensions cannot be changed any more (a SavedModel's).
    """

    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    firm: bool = True
    fixed_batch: bool = False


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
    return tuple(_fixed(item, input_shapes.get(item.name), spec, batch_size) for item in spec.inputs)


def _fixed(item: InputSpec, stated: Sequence[int | None] | None, spec: ModelSpec, batch_size: int | None) -> InputSpec:
    if stated is None and not item.shape:
        if spec.firm:
            return item  # a scalar
        raise UsageError(
            f"The shape of input {item.name!r} is unknown; state it with --input-shape {item.name}=1,96,96,3"
        )
    shape = item.shape if stated is None else _merged(item, stated, spec.firm)
    rest = shape[1:]
    if None in rest:
        example = ",".join(str(size or "N") for size in (batch_size or 1, *rest))
        raise UsageError(
            f"Input {item.name!r} has the open shape {shape}; state it with --input-shape {item.name}={example}"
        )
    if spec.fixed_batch and item.shape[0] is not None:
        return item
    return InputSpec(item.name, (_batch(item.name, stated, batch_size), *rest), item.dtype)


def _merged(item: InputSpec, stated: Sequence[int | None], firm: bool) -> Shape:
    """Put the stated sizes into the model's shape."""
    if not firm:
        return tuple(stated)
    if len(stated) != len(item.shape):
        raise UsageError(
            f"--input-shape {item.name} has {len(stated)} dimensions, but the model expects {item.shape}; "
            "give them all, the batch dimension first."
        )
    for wanted, known in zip(stated[1:], item.shape[1:], strict=True):
        if known is not None and wanted is not None and wanted != known:
            raise UsageError(
                f"--input-shape {item.name} is {tuple(stated)}, which contradicts the model's shape {item.shape}; "
                "state only what the model leaves open."
            )
    return (item.shape[0], *(wanted or known for wanted, known in zip(stated[1:], item.shape[1:], strict=True)))


def _batch(name: str, stated: Sequence[int | None] | None, batch_size: int | None) -> int | None:
    """The batch dimension: `batch_size`, unless that is the default of 1 and the user stated another."""
    first = stated[0] if stated else None
    if batch_size is None or first is None or first == batch_size:
        return batch_size
    if batch_size == 1:
        return first
    if first == 1:
        return batch_size
    raise UsageError(
        f"--input-shape gives input {name!r} the batch size {first}, but --batch-size is {batch_size}; give one."
    )


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        model: The Keras model, or what ``tf.saved_model.load`` gave.
        flavour: Who made it.
        spec: Its inputs and outputs by name (outputs may be unknown until it is traced).
        call: Runs it in inference mode on one tensor per input, in the order of `spec`, and returns its own structure.
        source: The path it came from, or its name.
        warnings: What is odd about it but usable.
    """

    model: Any
    flavour: Flavour
    spec: ModelSpec
    call: Callable[[list[Any]], Any]
    source: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def layer_objects(self) -> list[Any]:
        """The layers, nested ones and those inside wrappers included; empty for a SavedModel."""
        flatten = getattr(self.model, "_flatten_layers", None)
        return [] if flatten is None else list(flatten(include_self=False, recursive=True))

    @property
    def layers(self) -> list[tuple[str, str]]:
        """Name and class of each layer."""
        return [(layer.name, type(layer).__name__) for layer in self.layer_objects]
