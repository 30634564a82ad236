"""From a recipe's ``[[pass]]`` table to the pass: kinds by name, each imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import RecipeError, nearest
from ..training.options import Training
from .base import Pass

# kind -> (module, class)
_PASSES = {
    "channels": ("channels", "ChannelPruning"),
    "cluster": ("cluster.cluster", "Cluster"),
    "distil": ("distil", "Distil"),
    "finetune": ("finetune", "FineTune"),
    "prune": ("prune.prune", "Prune"),
    "qat": ("qat", "Qat"),
}
KINDS = tuple(_PASSES)
# Fields that a recipe cannot hold: the training's options stand among the pass's own, a teacher is the run's.
_NOT_IN_TOML = ("training", "teacher")
# Spelling in a recipe -> option of `Training`: `prune` has a schedule of its own, of its sparsity.
_TRAINING = {**{name: name for name in Training.keys()}, "learning_rate_schedule": "schedule"}  # noqa: SIM118


@dataclass(frozen=True)
class Planned:
    """A pass of a recipe.

    Attributes:
        step: The pass.
        finetune: The training behind a pass that does not train by itself; None where the pass does, or has no epochs.
    """

    step: Pass
    finetune: Training | None = None


def pass_class(kind: str) -> Any:
    """Return the class of a kind of pass.

    Raises:
        RecipeError: There is no such kind.
    """
    if kind not in _PASSES:
        raise RecipeError(f"Unknown kind of pass {kind!r}{nearest(kind, KINDS)}")
    module, name = _PASSES[kind]
    return getattr(importlib.import_module(f".{module}", __package__), name)


def options_of(kind: str) -> tuple[str, ...]:
    """Return the names of a kind's options, as a recipe spells them, those of its training included."""
    own = [item.name for item in fields(pass_class(kind)) if item.name not in _NOT_IN_TOML]
    return (*own, *_TRAINING)


def plan(table: Mapping[str, Any]) -> Planned:
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
    own = {item.name for item in fields(made)} - set(_NOT_IN_TOML)
    options: dict[str, Any] = {}
    trains: dict[str, Any] = {}
    for key, value in table.items():
        if key == "kind":
            continue
        if key not in own and key not in _TRAINING:
            raise RecipeError(f"Unknown option {key!r} of the pass {kind!r}{nearest(key, options_of(kind))}")
        target, name = (options, key) if key in own else (trains, _TRAINING[key])
        target[name] = tuple(value) if isinstance(value, list) else value
    try:
        training = Training(**trains)
        if "training" in {item.name for item in fields(made)}:
            return Planned(made(training=training, **options))
        return Planned(made(**options), training if training.epochs else None)
    except TypeError as error:
        raise RecipeError(f"An option of the pass {kind!r} has a value of the wrong type: {error}.") from error


def resolved(planned: Planned) -> dict[str, Any]:
    """Return the ``[[pass]]`` table of a pass with every option that has a value, its training's included.

    What cannot stand in a table, such as a function as the student, is left out.
    """
    step: Any = planned.step
    own = {item.name: getattr(step, item.name) for item in fields(step) if item.name not in _NOT_IN_TOML}
    training = planned.finetune or getattr(step, "training", None) or Training(epochs=0)
    trains = training.to_dict()
    if not isinstance(training.strategy, str):
        trains["strategy"] = None
    options = {**own, **{f"learning_rate_{key}" if key in own else key: value for key, value in trains.items()}}
    kept = {key: value for key, value in options.items() if value is not None and not callable(value) and value != {}}
    return {"kind": step.name, **kept}
