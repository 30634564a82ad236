"""What every pass looks like from outside: a name, what it needs and asks of its driver, `apply`, and a report.

A pass is a small frozen dataclass of options that checks itself in ``__post_init__``, so that a bad option is refused
before TensorFlow loads. It takes a Keras model of either flavour and returns a new one of the same flavour; the model
that it was given is left as it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from ..errors import DataError, RecipeError, UsageError
from ..recipes.values import require_number
from ..training.context import PassContext, Skipped
from ..training.options import Training

__all__ = ["Pass", "PassContext", "PassReport", "PassResult", "Skipped"]


@runtime_checkable
class PassReport(Protocol):
    """What a pass did, and what it did not do and why."""

    @property
    def note(self) -> str:
        """What the technique buys of the file's cost, and what it does not, in words."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left as it was."""

    def to_dict(self) -> Mapping[str, object]:
        """Return the report as JSON values."""


@dataclass(frozen=True)
class PassResult:
    """A compressed model and the account of it.

    Attributes:
        model: The new model, of the flavour that was given, uncompiled.
        report: What was done.
        exported: The model that `edgeopt.convert` is to make the file of; `model` itself, unless the pass says
            otherwise: of `Qat` it is the tf_keras model that was trained quantised.
    """

    model: Any
    report: PassReport
    exported: Any = None

    def __post_init__(self) -> None:
        if self.exported is None:
            object.__setattr__(self, "exported", self.model)


class Pass(ABC):
    """One technique with its options, and what it asks of the driver of a recipe.

    Attributes:
        name: The `kind` of the pass in a recipe.
        training: Its own training; None, the default, where it does not train by itself, so that the driver trains
            behind it.
        wants_teacher: Whether the driver should give it the original model as teacher where the run has none; by
            default not.
        old_options: Earlier spelling of an option in recipes -> the option's name.
        leaves: What the note of its report says that the technique leaves as it is: "size_bytes", "macs", "latency_ms".
        changes: What the note says that it changes, of the same. Where the figures differ, the note is not told.
    """

    name: ClassVar[str]
    training: Training | None = None
    wants_teacher: ClassVar[bool] = False
    old_options: ClassVar[Mapping[str, str]] = {"schedule": "learning_rate_schedule"}
    leaves: ClassVar[tuple[str, ...]] = ()
    changes: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of `PassContext` that must be given for these options: by default the data of its own training."""
        return ("train",) if self.training is not None and self.training.epochs else ()

    def check(self) -> None:  # noqa: B027 (most passes have nothing of the kind)
        """Look at what only shows outside of the options, such as a function that is to be imported; before a run.

        Raises:
            UsageError: It is not there.
        """

    @abstractmethod
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


def check_fractions(named: Mapping[str, float | None], layers: Mapping[str, float], of: str) -> None:
    """Raise unless each option that is given, and each value of the option `layers`, is a fraction in [0, 1).

    Args:
        named: Options by name; what is None was not given.
        layers: The option `layers`.
        of: What the fraction is of, as the message says it.

    Raises:
        RecipeError: One is not.
    """
    for name, value in {**{f"layers[{key!r}]": value for key, value in layers.items()}, **named}.items():
        if value is not None:
            require_number(name, value, f"the fraction {of}, in [0, 1)", lambda number: 0.0 <= number < 1.0)


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
