"""The folder of a run: refusals before anything slow, and nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgeopt.api.optimize.folder import Folder, save_model
from edgeopt.api.optimize.result import OptimizeResult, Stage
from edgeopt.artifact.artifact import Artifact
from edgeopt.errors import FileFormatError, OutputError, UsageError
from edgeopt.recipes.optimize import OptimizeRecipe

RUN = {"recipe": "seed = 0", "model": "aa", "train data": "bb"}


class Model:
    """Stands for a Keras model: what is tested is where the file goes."""

    def __init__(self, content=b"weights", error=None):
        self.content, self.error = content, error

    def save(self, path):
        path.write_bytes(self.content)
        if self.error is not None:
            raise self.error


def stage(**figures):
    return Stage(
        "01-prune",
        "prune",
        Model(),
        Artifact(b"abc", {"sha256": hashlib.sha256(b"abc").hexdigest()}),
        figures,
        {},
        ({"subject": "a"},),
    )


def finished(folder):
    return folder.finished("01-prune", "prune", lambda path: path.read_bytes())


RESULT = OptimizeResult((stage(),), OptimizeRecipe())


def test_a_stage_is_there_only_once_its_record_is(tmp_path):
    folder = Folder(tmp_path / "out", RUN, resume=False, force=False)
    again = Folder(tmp_path / "out", RUN, resume=True, force=False)
    assert finished(again) is None
    written = stage(size_bytes=3)
    folder.write_stage(written)
    found = finished(again)
    assert (found.artifact.model, found.model) == (b"abc", b"weights")
    assert replace(found, artifact=written.artifact, model=written.model) == written


def named(monkeypatch, write):
    """Return the names of files in the order in which `write` gives them."""
    found, rename = [], os.replace

    def noted(old, new):
        found.append(Path(new).name)
        rename(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", noted)
        write()
    return found


def test_a_record_and_a_result_are_written_last_since_they_say_that_the_rest_is_there(tmp_path, monkeypatch):
    folder = Folder(tmp_path / "out", RUN, resume=False, force=False)
    assert named(monkeypatch, lambda: folder.write_stage(stage())) == [
        *("01-prune.json", "01-prune.tflite", "model.keras", "stage.json")
    ]
    assert named(monkeypatch, lambda: folder.write_result(RESULT, "seed = 0")) == [
        *("model.keras", "recipe.toml", "result.json")
    ]


def test_without_resume_an_earlier_run_is_not_used(tmp_path):
    first = Folder(tmp_path / "out", RUN, resume=False, force=False)
    first.write_stage(stage())
    with pytest.raises(OutputError, match="is not empty; pass --resume"):
        Folder(tmp_path / "out", RUN, resume=False, force=False)
    first.write_result(RESULT, "seed = 0")
    (tmp_path / "out" / "notes.txt").write_text("the user's own")
    assert finished(Folder(tmp_path / "out", RUN, resume=False, force=True)) is None
    # An old result beside a new run that fails would pass for its own.
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["notes.txt", "work"]
    assert [entry.name for entry in (tmp_path / "out" / "work").iterdir()] == ["run.json"]


@pytest.mark.parametrize("name", ["model.keras", "recipe.toml", "01-prune.tflite", "work/01-prune/model.keras"])
def test_what_a_run_reads_is_not_deleted_to_begin_anew(tmp_path, monkeypatch, name):
    first = Folder(tmp_path / "out", RUN, resume=False, force=False)
    first.write_stage(stage())
    first.write_result(RESULT, "seed = 0")
    before = sorted((tmp_path / "out").rglob("*"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=f"{name} is of the run in .* Copy it elsewhere, or choose another"):
        Folder("out", RUN, resume=False, force=True, inputs=[tmp_path / "out" / name])
    assert sorted((tmp_path / "out").rglob("*")) == before


@pytest.mark.parametrize("key", list(RUN))
def test_another_run_is_not_resumed_and_the_difference_is_named(tmp_path, key):
    Folder(tmp_path / "out", RUN, resume=False, force=False)
    with pytest.raises(UsageError, match=f"was of another {key}; resume it with the same"):
        Folder(tmp_path / "out", {**RUN, key: "other"}, resume=True, force=False)


def test_a_folder_without_a_run_is_not_resumed_and_not_touched(tmp_path):
    first = Folder(tmp_path / "out", RUN, resume=False, force=False)
    first.write_result(RESULT, "seed = 0")
    shutil.rmtree(tmp_path / "out" / "work")  # it may be deleted when the run has ended
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(OutputError, match="There is no run to resume in .* pass --force"):
        Folder(tmp_path / "out", RUN, resume=True, force=False)
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_a_work_folder_of_someone_else_is_not_emptied(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match="work is not of a run of edgeopt, and beginning anew there would empty it"):
        Folder(tmp_path, RUN, resume=False, force=True)
    assert (tmp_path / "work" / "thesis.tex").read_text() == "years"


def test_a_run_that_was_killed_before_its_first_file_is_begun_anew(tmp_path):
    (tmp_path / "out" / "work").mkdir(parents=True)
    assert finished(Folder(tmp_path / "out", RUN, resume=False, force=False)) is None


def test_resume_in_an_empty_folder_begins(tmp_path):
    folder = Folder(tmp_path / "out", RUN, resume=True, force=False)
    assert json.loads((folder.path / "work" / "run.json").read_text()) == RUN


def test_a_damaged_record_is_an_error_that_names_it(tmp_path):
    folder = Folder(tmp_path / "out", RUN, resume=False, force=False)
    (folder.work("01-prune") / "stage.json").write_text('{"figures"')
    with pytest.raises(FileFormatError, match=r"stage.json is not readable"):
        finished(Folder(tmp_path / "out", RUN, resume=True, force=False))


def test_a_model_that_cannot_be_saved_leaves_the_old_one(tmp_path):
    path = tmp_path / "model.keras"
    save_model(Model(b"old"), path)
    with pytest.raises(OutputError, match="Cannot write the model .*No space left"):
        save_model(Model(b"new", OSError(28, "No space left on device")), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="Cannot make the folder"):
        Folder(tmp_path / "out", RUN, resume=False, force=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": "long"}, "seconds is 'long', expected a finite number"),
        ({"skipped": 3}, "skipped is 3, expected a list"),
        ({"figures": []}, "figures is a list, expected a table"),
        ({"note": None}, "note is null, expected text"),
    ],
)
def test_a_record_with_odd_values_is_not_readable(tmp_path, changes, message):
    Folder(tmp_path / "out", RUN, resume=False, force=False).write_stage(stage())
    record = tmp_path / "out" / "work" / "01-prune" / "stage.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **changes}))
    with pytest.raises(FileFormatError, match=f"is not readable .*{message}.*begin anew"):
        finished(Folder(tmp_path / "out", RUN, resume=True, force=False))


def test_a_run_that_nests_without_end_is_not_readable(tmp_path):
    Folder(tmp_path / "out", RUN, resume=False, force=False)
    (tmp_path / "out" / "work" / "run.json").write_text("[" * 100_000)
    with pytest.raises(FileFormatError, match="is not readable .*nests deeper"):
        Folder(tmp_path / "out", RUN, resume=True, force=False)
