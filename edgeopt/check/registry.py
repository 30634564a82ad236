"""Which checkers there are, by the name that ``--for`` takes, and what a checker is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..converters.accelerator import ACCELERATORS
from ..converters.gpu import GPU
from ..errors import UsageError, nearest
from ..process.isolation import OnEvent
from .items import CheckResult


@dataclass(frozen=True)
class Loading:
    """How a Keras model is loaded, and converted for the check: arguments of `edgeopt.convert`.

    Attributes:
        calibration: Samples for the conversion; None, the default, makes some up.
        custom_objects: ``module:NAME`` for what a model file needs; none by default.
        unsafe_load: Whether Python code stored in a model file may run; by default not.
        input_shapes: Input name -> its shape, for inputs of open shapes; none by default.
    """

    calibration: Any = None
    custom_objects: Sequence[str] = ()
    unsafe_load: bool = False
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """What a Keras model became as int8: the file, or why it could not be converted; neither where nobody asked."""

    file: bytes | None = field(repr=False)
    refused: str = ""


@dataclass(frozen=True)
class Subject:
    """The model that is checked.

    Attributes:
        name: What to call it in messages: its path, or the model's own name.
        tflite: The bytes of a .tflite file; None for a Keras model.
        keras: A Keras model or the path of one; None for a .tflite file.
        loading: How to load and convert `keras`.
        on_event: Told which stage looks at the model, and what its conversion says of itself.
        conversion: What came of converting it, where that was done before.
    """

    name: str
    tflite: bytes | None = field(default=None, repr=False)
    keras: Any = None
    loading: Loading = field(default_factory=Loading)
    on_event: OnEvent = field(default=lambda _event: None)
    conversion: Conversion | None = None


class Checker(Protocol):
    """Looks at a model and says what one stage would do with each part of it.

    The contract: nothing is trained and nothing is written; each part gets one item; an item that is not "ok" carries
    a rule, a reason and a remedy.
    """

    @property
    def stage(self) -> str:
        """The name of the stage."""

    def check(self, subject: Subject) -> CheckResult:
        """Check a model.

        Raises:
            UsageError: The subject is not of a kind that the stage takes.
            ModelError: A Keras model cannot be converted for the check.
        """


# name -> "module:function", which takes the name and the caller's options and returns the Checker; loaded on use
STAGES = ("prune", "channels", "cluster", "qat", "convert")
CHECKERS: dict[str, str] = {
    **{name: ".accelerator:checker" for name in (*ACCELERATORS, GPU)},
    **{name: ".stages:checker" for name in STAGES},
}
EVERY_STAGE = ".every:checker"


def checker(name: str | None, options: Mapping[str, object] | None = None) -> Checker:
    """Return the checker `name`.

    Args:
        name: "edgetpu", "gpu", "ethos-u55-128", ..., or a stage: "prune", "channels", "cluster", "qat", "convert";
            None for all the stages.
        options: What the caller set, for the checker to take; see each checker.

    Raises:
        UsageError: There is none of that name, or an option does not go with it.
    """
    if name is not None and name not in CHECKERS:
        raise UsageError(f"Unknown target {name!r} for check{nearest(name, CHECKERS)}")
    module, function = (EVERY_STAGE if name is None else CHECKERS[name]).split(":")
    make: Callable[..., Checker] = getattr(importlib.import_module(module, __package__), function)
    return make(name or "all", dict(options or {}))
