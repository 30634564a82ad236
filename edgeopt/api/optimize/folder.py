"""The output folder of a run: what is written, each file whole or not at all, and what a resumed run finds there.

Besides the results there is ``work/``: a folder a stage, with its checkpoints, its model and its record. It may be
deleted when the run has ended; without it there is nothing to resume.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from ...artifact.artifact import Artifact
from ...artifact.atomic import replacing, write_atomically
from ...artifact.envelope import write_json
from ...artifact.outside import loads, read_text
from ...artifact.typed import fitted
from ...errors import FileFormatError, OutputError, UsageError
from ...recipes.optimize import OptimizeRecipe
from .result import MODEL_FILE, LadderResult, OptimizeResult, Stage

RESULT, RECIPE, WORK, MODEL, RUN = "result.json", "recipe.toml", "work", "model.keras", "run.json"


class _Record(TypedDict):
    """What of a stage its record holds; the rest lies in files of its own."""

    figures: Mapping[str, object]
    report: Mapping[str, object]
    skipped: tuple[Mapping[str, str], ...]
    seconds: float
    note: str


_RECORDED = tuple(_Record.__annotations__)


def check_folder(path: str | os.PathLike[str], recipe: OptimizeRecipe, *, resume: bool, force: bool) -> None:
    """Refuse at once, before TensorFlow is loaded, a folder that `Folder` would refuse for what lies in it.

    Raises:
        OutputError: It is not empty, holds no run to be resumed, or cannot be written.
        UsageError: The run in it is of another recipe.
    """
    folder = Path(path)
    try:
        if resume and (folder / WORK / RUN).is_file():
            before = read_record(dict[str, str], folder / WORK / RUN)
            _check_same(folder, before, {**before, "recipe": recipe.to_toml()})
        elif _occupied(folder) and not force:
            raise _not_empty(folder, resume)
        present = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except OSError as error:
        raise OutputError(f"Cannot make the folder {folder}: {error.strerror}; choose another.") from error
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        raise OutputError(
            f"Cannot make the folder {folder}: {present} is no folder that you may write in; choose another."
        )


def resumable(path: str | os.PathLike[str]) -> bool:
    """Return whether a run in a folder has begun, so that ``--resume`` goes on with it."""
    return (Path(path) / WORK / RUN).is_file()


def _occupied(folder: Path) -> bool:
    """Whether something lies in a folder besides an empty ``work``."""
    return folder.exists() and any(entry.name != WORK or any(entry.iterdir()) for entry in folder.iterdir())


def _not_empty(folder: Path, resume: bool) -> OutputError:
    told = (
        f"There is no run to resume in {folder}, which is not empty; pass"
        if resume
        else f"The folder {folder} is not empty; pass --resume (resume=True) to go on with the run in it,"
    )
    return OutputError(f"{told} --force (force=True) to begin anew there, or choose another.")


def _check_same(folder: Path, before: Mapping[str, str], identity: Mapping[str, str]) -> None:
    """Raise unless the run that is in a folder is the one that is to go on."""
    different = sorted(key for key in {*before, *identity} if before.get(key) != identity.get(key))
    if different:
        raise UsageError(
            f"The run in {folder} was of another {' and '.join(different)}; resume it with the same, or "
            "begin anew in another folder."
        )


class Folder:
    """Where a run writes.

    Args:
        path: The folder; it is made.
        identity: What the run depends on, by name: recipe, model, data... A resumed run must have the same.
        resume: Go on with what is there.
        force: Write although the folder is not empty.
        inputs: Files and folders that this run reads, which it must not delete.

    Raises:
        OutputError: The folder is not empty, holds no run to be resumed, cannot be written, or what would be deleted is
            one of `inputs`, or not edgeopt's.
        UsageError: What is there to be resumed is another run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: Mapping[str, str],
        *,
        resume: bool,
        force: bool,
        inputs: Sequence[Path] = (),
    ) -> None:
        self.path = Path(path)
        self._work = self.path / WORK
        begun = (self._work / RUN).is_file()
        self._resume = resume and begun
        try:
            if self._resume:
                _check_same(self.path, read_record(dict[str, str], self._work / RUN), identity)
            elif _occupied(self.path):
                self._clear(begun, resume, force, inputs)
            self._work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the folder {self.path}: {error.strerror}; choose another.") from error
        if not self._resume:
            write_record(identity, self._work / RUN)

    def _clear(self, begun: bool, resume: bool, force: bool, inputs: Sequence[Path]) -> None:
        """Delete what an earlier run has left, if that is wanted: its results would pass for those of this one."""
        if not force:
            raise _not_empty(self.path, resume)
        if not begun and self._work.exists() and any(self._work.iterdir()):
            raise OutputError(
                f"{self._work} is not of a run of edgeopt, and beginning anew there would empty it; choose another "
                "folder."
            )
        stages = [*self.path.glob("[0-9][0-9]-*.tflite"), *self.path.glob("[0-9][0-9]-*.json")]
        results = [*(self.path / name for name in (RESULT, RECIPE, MODEL, MODEL_FILE, "model.json")), *stages]
        for read in (path.resolve() for path in inputs):
            if any(old.resolve() in (read, *read.parents) for old in (*results, self._work)):
                raise OutputError(
                    f"{read} is of the run in {self.path}, and this run reads it: beginning anew there would delete "
                    "it. Copy it elsewhere, or choose another folder."
                )
        if begun:
            shutil.rmtree(self._work)
        for old in results:
            old.unlink(missing_ok=True)

    def work(self, stage: str) -> Path:
        """Return the folder of a stage's checkpoints; it is there."""
        folder = self._work / stage
        folder.mkdir(exist_ok=True)
        return folder

    def finished(self, name: str, kind: str, load: Callable[[Path], Any]) -> Stage | None:
        """Return a stage that an earlier run has finished, its model loaded by `load` from its path, or None."""
        record = self._work / name / "stage.json"
        if not self._resume or not record.is_file():
            return None
        fields: _Record = read_record(_Record, record)
        return Stage(
            name,
            kind,
            load(record.parent / MODEL),
            Artifact.load(self.path / f"{name}.tflite"),
            **{key: value for key, value in fields.items() if key in _RECORDED},  # type: ignore[arg-type]
        )

    def write_stage(self, stage: Stage) -> None:
        """Write a stage's file and model, and its record last: a record means that the rest is there."""
        stage.artifact.save(self.path / f"{stage.name}.tflite", force=True)
        save_model(stage.model, self.work(stage.name) / MODEL)
        record = {name: value for name, value in vars(stage).items() if name in _RECORDED}
        write_record(record, self.work(stage.name) / "stage.json")

    def write_result(self, result: OptimizeResult, recipe: str) -> None:
        """Write the final model, the recipe as it was run, and the result, in this order."""
        save_model(result.model, self.path / MODEL)
        if isinstance(result, LadderResult):
            result.artifact.save(self.path / MODEL_FILE, force=True)
        write_atomically(self.path / RECIPE, recipe.encode())
        write_json(result.to_dict(), str(self.path / RESULT))


@dataclass(frozen=True)
class Kept:
    """The stages of a run as its folder keeps them; one without a folder keeps none.

    Attributes:
        folder: The folder; None for none.
        say: Told which stages were taken from an earlier run.
        trusted: Whether code that a model in the folder names may run.
    """

    folder: Folder | None
    say: Callable[[str], None]
    trusted: bool

    def finished(self, name: str, kind: str, model: Any = None) -> Stage | None:
        """Return a stage that an earlier run has finished, or None; its model is `model`, or read from the folder."""
        if self.folder is None:
            return None
        found = self.folder.finished(name, kind, lambda path: self._load(path) if model is None else model)
        if found is not None:
            self.say(f"{name}: taken from the earlier run")
        return found

    def work(self, name: str) -> Path | None:
        """Return the folder of a stage's checkpoints, or None."""
        return None if self.folder is None else self.folder.work(name)

    def written(self, stage: Stage) -> Stage:
        """Write a finished stage, and return it."""
        if self.folder is not None:
            self.folder.write_stage(stage)
        return stage

    def _load(self, path: Path) -> Any:
        from ...models.load import load_model

        return load_model(path, unsafe_load=self.trusted).model


def save_model(model: Any, path: Path) -> None:
    """Save a Keras model under a temporary name and rename it into place.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    with replacing(path, "the model ") as made:
        model.save(made)


def write_record(record: Mapping[str, object], path: Path) -> None:
    """Write what a resumed run goes by."""
    write_atomically(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False).encode())


def read_record(kind: Any, path: Path) -> Any:
    """Return what an earlier run has written, as the type `kind` (see `edgeopt.artifact.typed.fitted`).

    Raises:
        FileFormatError: It is not there, or is not of that form.
    """
    try:
        return fitted(kind, loads(read_text(path)), path.name)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not readable ({error}); delete its folder and begin anew.") from error
