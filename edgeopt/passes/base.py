"""What every pass looks like from outside: a name, what it needs, `apply`, and a report.

A pass is a small frozen dataclass of options that checks itself in ``__post_init__``, so that a bad option is refused
before TensorFlow loads. It takes a Keras model of either flavour and returns a new one of the same flavour; the model
that it was given is left as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..errors import DataError, RecipeError, UsageError
from ..training.context import PassContext, Skipped


@runtime_checkable
class PassReport(Protocol):
    """What a pass did, and what it did not do and why."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left as it was."""

    def to_dict(self) -> Mapping[str, Any]:
        """Return the report as JSON values."""


@dataclass(frozen=True)
class PassResult:
    """A compressed model and the account of it.

    Attributes:
        model: The new model, of the flavour that was given, uncompiled.
        report: What was done. A pass that makes more than one model returns a subclass with further fields.
    """

    model: Any
    report: PassReport


@runtime_checkable
class Pass(Protocol):
    """One technique with its options."""

    @property
    def name(self) -> str:
        """The `kind` of the pass in a recipe."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of `PassContext` that must be given for these options."""

    def apply(self, model: Any, context: PassContext) -> PassResult:
        """Return the compressed model; `model` is not changed.

        Raises:
            UsageError: The context lacks something in `needs`, or an option names a layer that does not exist.
            ModelError: The model is of a kind that the technique cannot take.
        """


_REMEDIES = {
    "train": "training data",
    "validation": "validation data",
    "loss": "a loss",
    "finetune": "a function that trains the model between steps",
    "convert": "a function that converts the model to .tflite bytes",
    "measure": "a function that measures .tflite bytes on the device",
}


def check_needs(one_pass: Pass, context: PassContext) -> None:
    """Raise unless the context holds all that the pass needs.

    Raises:
        DataError: Data is missing.
        UsageError: Something else is missing.

    Example:
        >>> check_needs(ChannelPruning(fraction=0.5, importance="taylor"), PassContext())
        DataError: Pass 'channels' needs training data with these options, and got none; give it as train=...
    """
    for need in one_pass.needs:
        if getattr(context, need) is None:
            error = DataError if need in ("train", "validation") else UsageError
            wanted = f"needs {_REMEDIES[need]} with these options"
            raise error(f"Pass {one_pass.name!r} {wanted}, and got none; give it as {need}=...")


def check_layers(layers: Any, example: str) -> None:
    """Raise unless the option `layers` is a table of layer names and values, such as `example`.

    Raises:
        RecipeError: It is of another kind.
    """
    if not isinstance(layers, Mapping):
        raise RecipeError(
            f"Received layers={layers!r}; expected a table of layer names, such as {{dense = {example}}}."
        )


def skipped_names(skip: Any) -> tuple[str, ...]:
    """Return the option `skip`, a list of layer names, as a tuple.

    Raises:
        RecipeError: It is of another kind.
    """
    if isinstance(skip, str) or not isinstance(skip, Sequence):
        raise RecipeError(f"Received skip={skip!r}; expected a list of layer names.")
    return tuple(skip)


def refuse_half_precision(kind: str, mixed_precision: str | None) -> None:
    """Raise if a pass whose layers compute in float32 only is asked to train in half precision.

    Raises:
        RecipeError: It is.
    """
    if mixed_precision is not None:
        raise RecipeError(
            f"Pass {kind!r} cannot train with {mixed_precision}: its layers compute in float32 only; leave "
            "mixed_precision out of this pass."
        )
