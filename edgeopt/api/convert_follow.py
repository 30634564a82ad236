"""What follows the calibration of an int8 file, in the process that converts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

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
        self._lean, self._study, self._emit = lean, study, emit
        # Read before anything slow runs.
        self._scored = None if study.labelled is None else study.labelled.read(lean, recipe)

    @property
    def asked(self) -> bool:
        """Whether there is anything to do."""
        return self._study.sensitivity

    def __call__(self, trials: Trials) -> bytes:
        """Return the file to go on with."""
        if self._study.sensitivity:
            self.sensitivity = asdict(sensitivity(trials, self._lean.layer_names, self._tell, self._scored))
        return trials.file

    def _tell(self, stage: str, done: int, total: int) -> None:
        self._emit({"stage": stage, "done": done, "total": total})
