"""The scripts and the notebook in examples/ run as they stand."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import pytest

from edgeopt.artifact.artifact import Artifact

SCRIPTS = {
    "image_folder.py": (["photos"], "photos_int8.tflite"),
    "keyword_spotting.py": (["words.npz", "words_test.npz", "--epochs", "2"], "words_int8.tflite"),
    "training_loop.py": ([], "trained_int8.tflite"),
    "coral.py": (["model.keras", "train.npz"], "coral.tflite"),
}
TABLES = ("Artifact", "Inspection", "ValidationReport", "LadderResult")


def test_each_script_is_tried(checkout: Path) -> None:
    assert {path.name for path in (checkout / "examples").glob("*.py")} == set(SCRIPTS)


@pytest.mark.heavy
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_leaves_an_int8_file(
    checkout: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    words, file = SCRIPTS[name]
    monkeypatch.setattr("sys.argv", [name, *words])
    runpy.run_path(str(checkout / "examples" / name), run_name="__main__")
    assert Artifact.load(file).fully_int8
    if name == "image_folder.py":
        assert "photos_int8.tflite" in Path("report.html").read_text("utf-8")


def tables(notebook: dict) -> list[str]:
    """The captions of the tables that a notebook shows."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    shown = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    return [name for text in shown for name in TABLES if f"<caption>{name}</caption>" in text]


def test_the_notebook_is_kept_with_its_tables(checkout: Path) -> None:
    kept = json.loads((checkout / "examples" / "tour.ipynb").read_text("utf-8"))
    assert tables(kept) == ["Artifact", "Inspection", "ValidationReport", "LadderResult", "Artifact"]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:.*(ZMQ|CurveZMQ|event loop).*")
def test_the_notebook_runs_and_shows_its_tables(checkout: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the notebook runs where the extra `docs` is installed")
    import nbformat

    notebook = nbformat.read(checkout / "examples" / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert tables(notebook) == ["Artifact", "Inspection", "ValidationReport", "LadderResult", "Artifact"]
