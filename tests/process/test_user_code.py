"""`edgeopt.process.user_code`: what the user names is imported from the current folder, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import PathFinder

import pytest

from edgeopt.data import load_dataset
from edgeopt.errors import DataError, UsageError
from edgeopt.evaluation.metrics import load_metric
from edgeopt.models.load import resolve_custom_objects
from edgeopt.passes.distil import builder
from edgeopt.process import user_code
from edgeopt.process.isolation import run_isolated
from edgeopt.process.user_code import import_user_object


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An own current folder; what was imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    user_code._named.folders.clear()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_module_of_the_current_folder_is_found_in_the_parent_and_in_a_child(folder):
    (folder / "mets_here.py").write_text("def f1(y_true, y_pred): return 0.5\n")
    assert load_metric("mets_here:f1").whole(None, None) == 0.5
    assert run_isolated("user_code_targets:metric", {"name": "mets_here:f1"}) == 0.5


@pytest.fixture(autouse=True)
def targets(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("targets")
    (place / "user_code_targets.py").write_text(
        "from edgeopt.evaluation.metrics import load_metric\n"
        "def metric(request, emit): return load_metric(request['name']).whole(None, None)\n"
    )
    monkeypatch.syspath_prepend(str(place))


def test_every_reference_is_imported_in_the_same_way(folder):
    (folder / "mine_here.py").write_text(
        "import numpy as np\nclass Layer: pass\ndef build(model): return model\ndef gen(): yield [np.zeros((1, 2))]\n"
    )
    assert resolve_custom_objects(["mine_here:Layer", "A=mine_here:Layer"]).keys() == {"Layer", "A"}
    assert builder("mine_here:build")(3) == 3
    assert load_dataset("mine_here:gen").arrays[0].shape == (1, 2)


@pytest.mark.parametrize("package", ["__init__.py", None], ids=["a package", "a folder"])
def test_a_module_of_a_package_is_found(folder, package):
    (folder / "parts_here").mkdir()
    if package:
        (folder / "parts_here" / package).touch()
    (folder / "parts_here" / "mets.py").write_text("from .other import f1\n")
    (folder / "parts_here" / "other.py").write_text("def f1(y_true, y_pred): return 0.25\n")
    assert import_user_object("parts_here.mets:f1", "the metric")(0, 0) == 0.25


def test_nothing_but_the_named_module_is_imported_from_there(folder):
    (folder / "named_here.py").write_text("import beside_here\ndef f1(y_true, y_pred): return 1.0\n")
    (folder / "beside_here.py").write_text("raise SystemExit('imported')\n")
    with pytest.raises(UsageError, match=r"imports 'beside_here'.*install 'beside_here', or trust .* PYTHONPATH=\."):
        load_metric("named_here:f1")


def test_it_may_not_take_the_place_of_what_is_installed(folder):
    for name in ("wave", "tensorflow"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported')\ndef f1(): pass\n")
    with pytest.raises(UsageError, match=r"module 'wave' has no 'f1': it is the installed one .*; rename yours"):
        load_metric("wave:f1")
    with pytest.raises(UsageError, match="it is the installed one"):
        load_metric("tensorflow.mine:f1")


def test_it_stays_where_it_was_found_and_is_last_of_all(folder):
    (folder / "kept_here.py").write_text("class Layer: pass\n")
    import_user_object("kept_here:Layer", "the layer")
    finders = sys.meta_path
    assert finders.index(user_code._named) > finders.index(PathFinder)
    assert user_code._named.folders == {"kept_here": str(folder)}


@pytest.mark.parametrize(
    ("text", "reference", "message"),
    [
        (
            "",
            "absent_here:f",
            "no module 'absent_here' is installed, and the current folder has no absent_here.py; run",
        ),
        ("", "broken_here:f", "module 'broken_here' has no 'f'"),
        ("", "broken_here.deep:f", "there is no module 'broken_here.deep'"),
        ("1 / 0", "broken_here:f", "'broken_here' raised ZeroDivisionError .division by zero. while it was imported"),
        ("import json; json.nothing", "broken_here:f", "'broken_here' raised AttributeError"),
        ("def", "broken_here:f", "'broken_here' raised SyntaxError"),
        ("", "broken_here", "expected module:NAME"),
        ("", "../broken_here:f", "expected module:NAME"),
        ("", "broken_here:", "expected module:NAME"),
    ],
)
def test_what_cannot_be_imported_says_why(folder, text, reference, message):
    (folder / "broken_here.py").write_text(text)
    with pytest.raises(DataError, match=message):
        import_user_object(reference, "the data", DataError)


def test_pythonpath_trusts_the_whole_folder(folder):
    (folder / "named_here.py").write_text("from beside_here import f1\n")
    (folder / "beside_here.py").write_text("def f1(y_true, y_pred): return 1.0\n")
    code = "from edgeopt.evaluation.metrics import load_metric; print(load_metric('named_here:f1').name)"
    environment = {"PYTHONPATH": ".", "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "named_here:f1\n", done.stderr
