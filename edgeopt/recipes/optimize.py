"""The recipe of ``edgeopt optimize``: ordered passes, then the conversion, then the budget.

TOML: ``[[pass]]`` tables in order (``kind`` and the pass's options), ``[convert]``, ``[budget]``, and optionally
``[distillation]`` (the original teaches every training, or what a finetune that comes first made of it) and the keys
`loss`, `metric`, `output_name` and `seed`. What options a pass has, the passes themselves know; here are their kinds
and which may follow which.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from ..errors import RecipeError, UsageError, nearest
from ..evaluation.budget import Budget
from .convert import ConvertRecipe, load_tables, parse_toml
from .distillation import DistillationOptions
from .values import require_number, require_whole

# Kind of pass -> ``module:class`` in `edgeopt.passes`: a pass is registered here, and loaded when it is asked for.
PASSES = {
    "binarize": "binarize:Binarize",
    "channels": "channels:ChannelPruning",
    "cluster": "cluster:Cluster",
    "distil": "distil:Distil",
    "finetune": "finetune:FineTune",
    "prune": "prune:Prune",
    "qat": "qat:Qat",
}
KINDS = tuple(PASSES)
BUILT_IN = ("small", "fast", "edgetpu", "tiny")
_TABLES = ("pass", "convert", "budget", "distillation", "loss", "metric", "output_name", "seed")
_OLD_KEYS = ("output",)  # earlier spellings that are read: of `output_name`
# What a pass must not come after, and why.
_CONTRADICTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "binarize": (KINDS, "its weights are trained to be signs; put binarize last"),
    "qat": (KINDS, "its weights are trained for their 8-bit grid, and any later change leaves it; put qat last"),
    "cluster": (
        ("prune", "channels", "distil", "finetune"),
        "it would move the weights away from the centroids; put it before cluster",
    ),
}


@dataclass(frozen=True)
class OptimizeRecipe:
    """What ``edgeopt optimize`` is to do.

    Attributes:
        passes: The passes in order; each a table with its ``kind`` and options. None by default.
        convert: How each stage becomes a .tflite file.
        budget: What the last stage's file may cost.
        distillation: Options of `edgeopt.training.Distillation` but the teacher, which is the original model, or what a
            finetune has made of it that comes first; None for no teacher.
        loss: Name of a Keras loss; None takes the compiled loss, or what labels and outputs suggest.
        metric: What is scored, as `edgeopt.validate` names it; accuracy by default.
        seed: Seeds everything random; 0 by default.
        output_name: Name of the output that is scored, of a model with several; None for the only one.

    Raises:
        RecipeError: An unknown kind or key, or passes that contradict each other.

    Example:
        >>> OptimizeRecipe.built_in("fast").kinds
        ('channels', 'qat')
    """

    passes: tuple[Mapping[str, object], ...] = ()
    convert: ConvertRecipe = field(default_factory=ConvertRecipe)
    budget: Budget = field(default_factory=Budget)
    distillation: Mapping[str, Any] | None = None
    loss: str | None = None
    metric: str = "accuracy"
    seed: int = 0
    output_name: str | None = None

    def __post_init__(self) -> None:
        for number, table in enumerate(self.passes, 1):
            if not isinstance(table, Mapping) or "kind" not in table:
                raise RecipeError(f"Pass {number} has no kind; expected one of {', '.join(KINDS)}.")
            if table["kind"] not in KINDS:
                raise RecipeError(
                    f"Unknown kind {table['kind']!r} of pass {number}{nearest(str(table['kind']), KINDS)}"
                )
        valid = [item.name for item in fields(DistillationOptions)]
        for key in self.distillation or {}:
            if key not in valid:
                raise RecipeError(f"Unknown option {key!r} of [distillation]{nearest(key, valid)}")
        DistillationOptions(**(self.distillation or {}))
        if self.convert.is_onnx:
            raise RecipeError(
                f"convert.to={self.convert.to!r}: optimize judges .tflite files; drop it, and convert the model that "
                "it leaves with --to."
            )
        require_whole("seed", self.seed)
        for name in ("loss", "metric", "output_name"):
            value = getattr(self, name)
            if not isinstance(value, str) and (name == "metric" or value is not None):
                raise RecipeError(f"{name} is {value!r}; expected text.")
        self._check_order()

    def _check_order(self) -> None:
        for number, kind in enumerate(self.kinds):
            for earlier in self.kinds[:number]:
                forbidden, why = _CONTRADICTIONS.get(earlier, ((), ""))
                if kind in forbidden:
                    raise RecipeError(f"The recipe has the pass {kind!r} after {earlier!r}: {why}.")
            if kind == "distil" and number and "student" in self.passes[number]:
                raise RecipeError(
                    f"The recipe has a distil pass with a student after {self.kinds[number - 1]!r}, whose work the "
                    "student would replace; put it first."
                )
        for table in self.passes:
            bits = table.get("weight_bits", 8)
            wanted = {8: "int8", 4: "int8w4"}.get(bits if isinstance(bits, int) else 8, "int8")
            if table["kind"] == "qat" and self.convert.quantize != wanted:
                raise RecipeError(
                    f"The recipe trains for weights of {bits} bits (qat) and converts to {self.convert.quantize!r}; "
                    f"use quantize = {wanted!r}, another weight_bits of the pass, or drop it."
                )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the passes, in order."""
        return tuple(str(table["kind"]) for table in self.passes)

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> OptimizeRecipe:
        """Return the recipe in a TOML file, or the built-in one of that name.

        Raises:
            UsageError: There is no such file.
            RecipeError: It is not TOML, or not a recipe.
        """
        if isinstance(source, str) and source in BUILT_IN and not Path(source).is_file():
            return cls.built_in(source)
        if not Path(source).is_file():
            raise UsageError(
                f"There is no recipe file {source}; expected a TOML file, or one of {', '.join(BUILT_IN)}."
            )
        found = cls.from_tables(load_tables(source))
        if not found.passes:
            raise RecipeError(
                f"The recipe {source} has no [[pass]] and would do nothing; add one, begin with what `edgeopt optimize "
                "--print-recipe fast` prints, or use edgeopt convert."
            )
        return found

    @classmethod
    def built_in(cls, name: str) -> OptimizeRecipe:
        """Return a built-in recipe.

        Raises:
            RecipeError: There is none of that name.
        """
        return cls.from_tables(parse_toml(built_in_text(name), f"The recipe {name}"))

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any]) -> OptimizeRecipe:
        """Return the recipe that TOML tables describe.

        Raises:
            RecipeError: An unknown table or key (the nearest valid one is named), or a value that is not allowed.
        """
        for name in tables:
            if name not in (*_TABLES, *_OLD_KEYS):
                raise RecipeError(f"Unknown table or key {name!r} in the recipe{nearest(name, _TABLES)}")
        for name in ("convert", "budget", "distillation"):
            if not isinstance(tables.get(name, {}), Mapping):
                raise RecipeError(f"{name!r} in the recipe is {tables[name]!r}; expected a [{name}] table.")
        passes = tables.get("pass", [])
        if not isinstance(passes, Sequence) or isinstance(passes, str):
            raise RecipeError("'pass' in the recipe is one table; write [[pass]], with two brackets, for each pass.")
        return cls(
            tuple(passes),
            ConvertRecipe.from_dict(tables.get("convert", {})),
            _budget(tables.get("budget", {})),
            tables.get("distillation"),
            tables.get("loss"),
            tables.get("metric", "accuracy"),
            tables.get("seed", 0),
            tables.get("output_name", tables.get("output")),
        )

    def to_tables(self) -> dict[str, object]:
        """Return the recipe as TOML tables, defaults of the conversion included, what is not set left out."""
        top = {"loss": self.loss, "metric": self.metric, "output_name": self.output_name, "seed": self.seed}
        tables = {
            **top,
            "distillation": None if self.distillation is None else dict(self.distillation),
            "pass": [dict(table) for table in self.passes],
            "convert": self.convert.to_dict(),
            "budget": {name: value for name, value in vars(self.budget).items() if value is not False},
        }
        filled: dict[str, object] = _without_none(tables)
        return filled

    def to_toml(self) -> str:
        """Return the recipe as a TOML file holds it.

        Raises:
            RecipeError: It holds a value that TOML cannot, such as an object.
        """
        try:
            return tomli_w.dumps(self.to_tables())
        except TypeError as error:
            raise RecipeError(f"The recipe holds a value that TOML cannot: {error}.") from error


def built_in_text(name: str) -> str:
    """Return the TOML of a built-in recipe, comments included.

    Raises:
        RecipeError: There is none of that name.
    """
    if name not in BUILT_IN:
        raise RecipeError(f"There is no built-in recipe {name!r}{nearest(name, BUILT_IN)}")
    return resources.files("edgeopt").joinpath("recipes").joinpath(f"{name}.toml").read_text("utf-8")


def _budget(values: Mapping[str, Any]) -> Budget:
    valid = [item.name for item in fields(Budget)]
    for key, value in values.items():
        if key not in valid:
            raise RecipeError(f"Unknown limit {key!r} in [budget]{nearest(key, valid)}")
        if key == "proven":
            if not isinstance(value, bool):
                raise RecipeError(f"Received proven={value!r} in [budget]; expected true or false.")
            continue
        require_number(f"{key} in [budget]", value, "a number", lambda _value: True)
    return Budget(**values)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, (list, tuple)) else value
