"""What follows the calibration of an int8 file, in the process that converts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..converters.outputs import Samples
from ..converters.recover.carrying import put_right
from ..converters.recover.recovery import FloatFiles, Recovered, recover
from ..converters.rewrite import put_names
from ..converters.selective import Goal, Search, Selection, drop_goal, fidelity_goal
from ..converters.sensitivity import sensitivity
from ..converters.trials import Trials
from ..errors import one_line
from ..process.isolation import OnEvent
from ..recipes.convert import ConvertRecipe
from .convert_prepare import Prepared, stage
from .study import Study


class Following:
    """Does what a study asks with the files of a conversion, and keeps what came of it."""

    def __init__(self, prepared: Prepared, recipe: ConvertRecipe, study: Study, emit: OnEvent) -> None:
        self.sensitivity: dict[str, Any] | None = None
        self.selection: Selection | None = None
        self.recovered: Recovered | None = None
        self.seconds: dict[str, float] = {}
        self._recipe, self._prepared = recipe, prepared
        self._lean, self._study, self._emit = prepared.lean, study, emit
        # Read before anything slow runs.
        self._scored = None if study.labelled is None else study.labelled.read(prepared.lean, recipe)

    @property
    def asked(self) -> bool:
        """Whether there is anything to do."""
        return self._study.sensitivity or self._recipe.float_ops is not None or self._recipe.recover

    def __call__(self, trials: Trials) -> bytes:
        """Return the file to go on with: put right first, so that fewer of its operators need be float."""
        if self._recipe.recover and self._prepared.samples is not None:
            with stage("recover", self.seconds, self._emit):
                trials = self._put_right(trials, self._prepared.samples)
        if self._study.sensitivity:
            self.sensitivity = asdict(sensitivity(trials, self._lean.layer_names, self._tell, self._scored))
        if self._recipe.float_ops is None:
            return trials.file
        search = Search(trials, self._lean.layer_names, self._goal(trials), self._tell)
        self.selection, file = search.run(self._recipe.float_ops)
        self.seconds["selective"] = self.selection.seconds
        return file

    def _put_right(self, trials: Trials, samples: Samples) -> Trials:
        """Return the file with its channels, biases, roundings and ranges put right, and others like it."""
        file, work = put_names(trials.file, *trials.names), self._study.work
        floats = FloatFiles(trials.reference.float_file, trials.float_file, trials.folded)
        others, folder = self._prepared.held_back, None if work is None else Path(work)

        def tell(method: str, done: int, total: int) -> None:
            self._tell(f"recover-{method}", done, total)

        try:
            self.recovered = recover(file, floats, samples, others, tell, folder)
        except (RuntimeError, ValueError) as error:  # the interpreter's: such files convert and run nowhere here
            self.recovered = Recovered(file, f"the file does not run here ({one_line(error)})")
        kept = any(step.kept for step in self.recovered.steps)
        return put_right(trials, self.recovered) if kept else trials

    def _goal(self, trials: Trials) -> Goal:
        if self._recipe.max_drop is not None and self._scored is not None:
            return drop_goal(trials, self._scored, self._recipe.max_drop)
        return fidelity_goal(trials, self._recipe.min_fidelity)

    def _tell(self, stage: str, done: int, total: int) -> None:
        self._emit({"stage": stage, "done": done, "total": total})
