"""The current folder is not trusted: nothing in it is imported in place of what is installed, in no child."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeopt.devices.transport.base import LocalTransport
from edgeopt.devices.transport.remote import ask_python
from edgeopt.process.isolation import run_isolated

# What Python, edgeopt and TensorFlow import early, late and only if it is there.
NAMES = ("tensorflow", "json", "keras", "tf_keras", "decimal", "edgeopt", "runpy", "tensorflow_io", "sitecustomize")
PROOF = "import os, pathlib; pathlib.Path(os.environ['EDGEOPT_TEST_PROOF']).open('a').write(__name__ + '\\n')\n"
TARGETS = "def double(request, emit):\n    import json, keyword\n    return 2 * request['value']\n"


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A cloned repository with modules of every name in it, as the current folder; where they write that they ran."""
    folder = tmp_path / "cloned"
    (folder / "edgeopt").mkdir(parents=True)
    (folder / "edgeopt" / "__init__.py").write_text(PROOF)
    for name in NAMES:
        (folder / f"{name}.py").write_text(PROOF)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGEOPT_TEST_PROOF", str(tmp_path / "proof"))
    return tmp_path / "proof"


@pytest.fixture
def targets(tmp_path, monkeypatch):
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "hostile_targets.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(str(tmp_path / "targets"))


def test_planted_such_a_folder_does_run_code(hostile):
    subprocess.run([sys.executable, "-c", "import json"], check=True)
    assert hostile.read_text() == "json\n"


@pytest.mark.parametrize("modules", [[], ["decimal"]], ids=["new", "forked"])
@pytest.mark.parametrize("first", [None, ""], ids=["as it is", "a notebook's path"])
def test_no_child_imports_from_it(hostile, targets, monkeypatch, modules, first):
    monkeypatch.setenv("LD_TEST_VARIABLE", f"{hostile}")  # a server of its own, started in this folder
    if first is not None:
        monkeypatch.setattr(sys, "path", [first, *sys.path])
    assert run_isolated("hostile_targets:double", {"value": 21}, modules=modules) == 42
    assert not hostile.exists()


def test_a_program_that_is_read_from_the_command_line_starts_clean_children(hostile, targets, tmp_path):
    code = (
        f"import sys; sys.path[0] = {str(tmp_path / 'targets')!r}; from edgeopt.process.isolation import run_isolated; "
        "sys.path.insert(0, ''); print(run_isolated('hostile_targets:double', {'value': 21}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "42\n", done.stderr
    assert not hostile.exists()


def test_asking_the_python_of_a_device_runs_nothing_of_it(hostile, tmp_path):
    transport = LocalTransport(workdir=tmp_path / "work")
    assert ask_python(transport, "sys.version_info[0]", "sys", int, timeout_s=30) == 3
    assert not hostile.exists()


@pytest.fixture
def small_model(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.save(tmp_path / "small.keras")
    return tmp_path / "small.keras"


@pytest.mark.heavy
@pytest.mark.parametrize("way", ["script", "module"])
def test_converting_in_it_runs_nothing_of_it(small_model, hostile, way, tmp_path):
    if way == "module":
        shutil.rmtree("edgeopt")  # `python -m edgeopt` would be that folder: Python's own rule
        for name in ("edgeopt", "runpy"):
            Path(f"{name}.py").unlink()
    script = [str(Path(sys.executable).with_name("edgeopt"))]
    argv = script if way == "script" else [sys.executable, "-m", "edgeopt"]
    argv = [*argv, "convert", str(small_model), "-o", str(tmp_path / "out.tflite"), "--quantize", "float16"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not hostile.exists(), hostile.read_text()


MINE = """
import keras
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""
MYDATA = """
import numpy as np
def gen():
    for seed in range(20):
        yield [np.random.default_rng(seed).normal(size=(1, 4)).astype("float32")]
def test():
    x = np.concatenate([batch for batch, in gen()])
    return x, np.zeros(len(x), int)
"""


@pytest.mark.heavy
def test_what_the_user_names_is_found_in_it_by_parent_and_child(hostile, tmp_path):
    folder = Path.cwd()
    (folder / "mine.py").write_text(MINE)
    (folder / "mydata.py").write_text(MYDATA)
    (folder / "mets.py").write_text("def f1(y_true, y_pred): return 0.5\n")
    make = f"import sys; sys.path[0] = {str(folder)!r}; sys.path.append(sys.path.pop(0)); import keras, mine; keras.Sequential("
    make += "[keras.Input((4,)), mine.Twice(), keras.layers.Dense(2)]).save('own.keras')"
    subprocess.run([sys.executable, "-c", make], check=True, capture_output=True, cwd=folder)
    hostile.unlink(missing_ok=True)
    script = str(Path(sys.executable).with_name("edgeopt"))
    own = ["--custom-objects", "mine:Twice"]
    argv = [script, "convert", "own.keras", "-o", "own.tflite", "--calibration", "mydata:gen", *own]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    argv = [script, "validate", "own.tflite", "--data", "mydata:test", "--metric", "mets:f1", "--seconds", "0.1"]
    done = subprocess.run([*argv, "--baseline", "own.keras", *own], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mets:f1" in done.stdout and "0.5" in done.stdout
    assert not hostile.exists(), hostile.read_text()
