"""What follows the calibration of an int8 file, in the process that converts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..converters.selective import Goal, Search, Selection, drop_goal, fidelity_goal
from ..converters.sensitivity import sensitivity
from ..converters.trials import Trials
from ..models.export.export import LeanModel
from ..process.isolation import OnEvent
from ..recipes.convert import ConvertRecipe
from .study import Study


class Following:
    """Does what a study asks with the files of a conversion, and keeps what came of it."""

    def __init__(self, lean: LeanModel, recipe: ConvertRecipe, study: Study, emit: OnEvent) -> None:
        self.sensitivity: dict[str, Any] | None = None
        self.selection: Selection | None = None
        self._recipe = recipe
        self._lean, self._study, self._emit = lean, study, emit
        # Read before anything slow runs.
        self._scored = None if study.labelled is None else study.labelled.read(lean, recipe)

    @property
    def asked(self) -> bool:
        """Whether there is anything to do."""
        return self._study.sensitivity or self._recipe.float_ops is not None

    def __call__(self, trials: Trials) -> bytes:
        """Return the file to go on with."""
        if self._study.sensitivity:
            self.sensitivity = asdict(sensitivity(trials, self._lean.layer_names, self._tell, self._scored))
        if self._recipe.float_ops is None:
            return trials.file
        search = Search(trials, self._lean.layer_names, self._goal(trials), self._tell)
        self.selection, file = search.run(self._recipe.float_ops)
        return file

    def _goal(self, trials: Trials) -> Goal:
        if self._recipe.max_drop is not None and self._scored is not None:
            return drop_goal(trials, self._scored, self._recipe.max_drop)
        return fidelity_goal(trials, self._recipe.min_fidelity)

    def _tell(self, stage: str, done: int, total: int) -> None:
        self._emit({"stage": stage, "done": done, "total": total})
