"""The output folder of a run: what is written, each file whole or not at all, and what a resumed run finds there.

Besides the results there is ``work/``: a folder a stage, with its checkpoints, its model and its record. It may be
deleted when the run has ended; without it there is nothing to resume.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..artifact_io import replacing, write_atomically
from ..errors import FileFormatError, OutputError, UsageError
from ..report import write_json

RESULT, RECIPE, WORK, MODEL = "result.json", "recipe.toml", "work", "model.keras"


class Folder:
    """Where a run writes.

    Args:
        path: The folder; it is made.
        identity: What the run depends on: recipe, model, data. A resumed run must have the same.
        resume: Go on with what is there.
        force: Write although the folder is not empty.
        inputs: Files that this run reads, which it must not delete.

    Raises:
        OutputError: The folder is not empty, cannot be written, or a file of `inputs` is an earlier run's result in it.
        UsageError: What is there to be resumed is another run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: Mapping[str, Any],
        *,
        resume: bool,
        force: bool,
        inputs: Sequence[Path] = (),
    ) -> None:
        self.path = Path(path)
        self._resume = resume
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            empty = not any(self.path.iterdir())
            (self.path / WORK).mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the folder {self.path}: {error.strerror}; choose another.") from error
        if not (empty or resume or force):
            raise OutputError(
                f"The folder {self.path} is not empty; pass --resume (resume=True) to go on with the run in it, "
                "--force (force=True) to begin anew there, or choose another."
            )
        self._check(identity, inputs)

    def _check(self, identity: Mapping[str, Any], inputs: Sequence[Path]) -> None:
        record = self.path / WORK / "run.json"
        if self._resume and record.is_file():
            before = _read_json(record)
            different = sorted(key for key in {*before, *identity} if before.get(key) != identity.get(key))
            if different:
                raise UsageError(
                    f"The run in {self.path} was of another {' and '.join(different)}; resume it with the same, or "
                    "begin anew in another folder."
                )
            return
        self._clear({path.resolve() for path in inputs})
        write_atomically(record, json.dumps(identity, indent=2).encode())

    def _clear(self, inputs: Collection[Path]) -> None:
        """Delete what an earlier run has left: its results would pass for those of this one."""
        stages = [*self.path.glob("[0-9][0-9]-*.tflite"), *self.path.glob("[0-9][0-9]-*.json")]
        results = [self.path / RESULT, self.path / RECIPE, self.path / MODEL, *stages]
        work = self.path / WORK
        for old in (*results, *work.rglob("*")):
            if old.resolve() in inputs:
                raise OutputError(
                    f"{old} is a result of the run in {self.path}, and this run reads it: beginning anew there would "
                    "delete it. Copy it elsewhere, or choose another folder."
                )
        _empty(work)
        for old in results:
            old.unlink(missing_ok=True)

    def work(self, stage: str) -> Path:
        """Return the folder of a stage's checkpoints; it is there."""
        folder = self.path / WORK / stage
        folder.mkdir(exist_ok=True)
        return folder

    def finished(self, stage: str) -> tuple[dict[str, Any], Artifact, Path] | None:
        """Return the record, the file and the model's path of a stage that an earlier run has finished, or None."""
        record = self.path / WORK / stage / "stage.json"
        if not self._resume or not record.is_file():
            return None
        return _read_json(record), Artifact.load(self.path / f"{stage}.tflite"), record.parent / MODEL

    def write_stage(self, stage: str, record: Mapping[str, Any], artifact: Artifact, model: Any) -> None:
        """Write a stage's file and model, and its record last: a record means that the rest is there."""
        artifact.save(self.path / f"{stage}.tflite", force=True)
        save_model(model, self.work(stage) / MODEL)
        write_json(record, str(self.work(stage) / "stage.json"))

    def write_result(self, result: Mapping[str, Any], recipe: str, model: Any) -> None:
        """Write the final model, the recipe as it was run, and the result, in this order."""
        save_model(model, self.path / MODEL)
        write_atomically(self.path / RECIPE, recipe.encode())
        write_json(result, str(self.path / RESULT))


def save_model(model: Any, path: Path) -> None:
    """Save a Keras model under a temporary name and rename it into place.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    with replacing(path, "the model ") as made:
        model.save(made)


def _empty(folder: Path) -> None:
    """Delete what an earlier run has left in its work folder."""
    import shutil

    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not readable ({error}); delete its folder and begin anew.") from error
