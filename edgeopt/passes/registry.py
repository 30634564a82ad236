"""From a recipe's ``[[pass]]`` table to the pass: kinds by name, each imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import RecipeError, nearest
from ..recipes.optimize import KINDS, PASSES
from ..training.options import Training
from .base import Pass

# Fields that a recipe cannot hold: the training's options stand among the pass's own, a teacher is the run's.
_NOT_IN_TOML = ("training", "teacher")
_TRAINING = tuple(item.name for item in fields(Training))


@dataclass(frozen=True)
class Planned:
    """A pass of a recipe.

    Attributes:
        step: The pass.
        finetune: The training behind a pass that does not train by itself; None where the pass does, or has no epochs.
    """

    step: Pass
    finetune: Training | None = None

    @property
    def training(self) -> Training:
        """The pass's own training, or the one behind it; one without epochs where there is neither."""
        return self.finetune or self.step.training or Training(epochs=0)


def pass_class(kind: str) -> type[Any]:
    """Return the class of a kind of pass: a `Pass`, and a dataclass.

    Raises:
        RecipeError: There is no such kind.
    """
    if kind not in KINDS:
        raise RecipeError(f"Unknown kind of pass {kind!r}{nearest(kind, KINDS)}")
    module, name = PASSES[kind].split(":")
    found: type[Any] = getattr(importlib.import_module(f".{module}", __package__), name)
    return found


def plan(table: Mapping[str, object]) -> Planned:
    """Return the pass that a ``[[pass]]`` table asks for.

    Args:
        table: Its ``kind``, and options of the pass and of its training.

    Raises:
        RecipeError: An unknown kind or option (the nearest valid one is named), or a value that is not allowed.

    Example:
        >>> plan({"kind": "channels", "fraction": 0.5, "epochs": 3}).finetune.epochs
        3
    """
    kind = str(table.get("kind"))
    made = pass_class(kind)
    flags = [item.name for item in fields(made) if item.type in ("bool", bool)]
    names = {item.name for item in fields(made)}
    own = names - set(_NOT_IN_TOML)
    given: dict[str, Any] = {}
    for key, value in table.items():
        name = made.old_options.get(key, key)
        if name not in own and name not in _TRAINING and key != "kind":
            raise RecipeError(f"Unknown option {key!r} of the pass {kind!r}{nearest(key, (*own, *_TRAINING))}")
        if name in flags and not isinstance(value, bool):
            raise RecipeError(f"The pass {kind!r} has {key} = {value!r}; expected true or false.")
        given[name] = tuple(value) if isinstance(value, list) else value
    try:
        training = Training(**{name: value for name, value in given.items() if name in _TRAINING})
        options = {name: value for name, value in given.items() if name in own}
        if "training" in names:
            return Planned(made(training=training, **options))
        return Planned(made(**options), training if training.epochs else None)
    except TypeError as error:
        raise RecipeError(f"An option of the pass {kind!r} has a value of the wrong type: {error}.") from error


def resolved(planned: Planned) -> dict[str, object]:
    """Return the ``[[pass]]`` table of a pass with every option that has a value, its training's included.

    What cannot stand in a table, such as a function as the student, is left out.
    """
    options = {name: value for name, value in vars(planned.step).items() if name not in _NOT_IN_TOML}
    trains = asdict(planned.training)
    if not isinstance(planned.training.strategy, str):
        trains["strategy"] = None
    given = {**options, **trains}.items()
    kept = {key: value for key, value in given if value is not None and not callable(value) and value != {}}
    return {"kind": planned.step.name, **kept}
