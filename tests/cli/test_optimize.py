"""``edgeopt optimize`` as its users run it: recipes printed, bad input refused at once, a whole run with its files."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from edgeopt.cli import main
from edgeopt.cli.optimize import _without
from edgeopt.recipes.convert import parse_toml
from edgeopt.recipes.optimize import BUILT_IN, OptimizeRecipe


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def optimize(*arguments):
        code = main(["optimize", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return optimize


@pytest.mark.parametrize("name", BUILT_IN)
def test_printed_recipes_can_be_used_as_they_are(run, name):
    code, out, _ = run("--print-recipe", name)
    assert code == 0
    assert OptimizeRecipe.from_tables(parse_toml(out, "it")) == OptimizeRecipe.built_in(name)


def test_an_unknown_recipe_name_is_exit_2_with_the_nearest(run):
    code, _, err = run("--print-recipe", "smal")
    assert code == 2
    assert "did you mean 'small'" in err


SCORED = ["m.keras", "--validation", "v.npz"]
TRAINED = [*SCORED, "--train", "v.npz"]
FAST = [*TRAINED, "--recipe", "fast", "-o", "out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs MODEL"),
        ([*SCORED, "-o", "out"], "nothing to calibrate with"),
        ([*SCORED, "-o", "out", "--max-drop", "0.1"], "nothing to calibrate with"),
        ([*SCORED, "-o", "out", "--max-drop", "1", "--time-limit", "1d"], "such as 90s, 30m or 2h"),
        ([*SCORED, "--recipe", "fast", "-o", "out"], "needs --train for the passes"),
        ([*TRAINED, "--max-drop", "1"], "needs -o"),
        ([*TRAINED, "--recipe", "fast", "--dry-run"], "--dry-run goes with"),
        ([*TRAINED, "--max-drop", "1", "--recipe-out", "r"], "goes with --dry-run"),
        ([*SCORED, "--recipe", "fast", "-o", "o", "--max-drop", "1"], "has its own budget"),
        ([*FAST, "--test", "v.npz"], "--test, --time-limit and --target go with"),
        (["m.keras", "--recipe", "fast", "--train", "v.npz", "-o", "out"], "needs --validation"),
        ([*FAST, "--recipe", "none.toml"], "There is no recipe file none.toml"),
        ([*FAST, "--train", "t.npz"], "t.npz does not exist"),
        ([*FAST, "--resize", "bilinar"], "Unknown image_resize 'bilinar'"),
        ([*FAST, "--image-scaling", "1"], "Unknown image_scaling '1'"),
        ([*FAST, "--image-size", "x"], "expected HEIGHTxWIDTH"),
    ],
)
def test_bad_usage_is_exit_2_and_writes_nothing(run, tmp_path, arguments, message):
    inputs(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.keras", "v.npz"]


def inputs(folder, model="m.keras"):
    """What begins like a model file, and data: that is all that is looked at before TensorFlow is loaded."""
    np.savez(folder / "v.npz", x=np.zeros((3, 4)), y=np.zeros(3))
    with zipfile.ZipFile(folder / model, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Sequential", "config": {}}')
        archive.writestr("metadata.json", '{"keras_version": "3.5.0"}')


REFUSED_AT_ONCE = """
import sys
from edgeopt.cli.main import main
code = main(sys.argv[1:])
print(code, "tensorflow" in sys.modules)
"""


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("full", [], "The folder full is not empty; pass --resume"),
        ("full", ["--resume"], "There is no run to resume in full"),
        ("begun", ["--resume"], "The run in begun was of another recipe"),
        ("file/out", [], "file is no folder that you may write in"),
        ("out", ["--recipe", "empty.toml"], "The recipe empty.toml has no [[pass]]"),
        ("out", ["--train", "none.npz"], "none.npz does not exist"),
    ],
)
def test_what_needs_no_tensorflow_is_refused_before_it_is_loaded(tmp_path, name, more, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "begun" / "work").mkdir(parents=True)
    (tmp_path / "begun" / "work" / "run.json").write_text('{"recipe": "seed = 1"}')
    (tmp_path / "file").write_text("")
    (tmp_path / "empty.toml").write_text("[budget]\nmax_drop = 0.1\n")
    inputs(tmp_path)
    command = [sys.executable, "-c", REFUSED_AT_ONCE, "optimize", *FAST, "-o", name, *more]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert message in done.stderr
    assert done.stdout == "2 False\n"


def test_an_interrupted_run_says_how_to_go_on(run, tmp_path, monkeypatch):
    def interrupted(*_arguments, **_options):
        (tmp_path / "out" / "work").mkdir(parents=True)
        (tmp_path / "out" / "work" / "run.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeopt.cli.optimize._optimize", interrupted)
    inputs(tmp_path, "my model.keras")
    code, _, err = run("my model.keras", *FAST[1:])
    assert code == 130
    line = "edgeopt optimize 'my model.keras' --validation v.npz --train v.npz --recipe fast -o out --resume\n"
    assert line in err


def test_an_unknown_option_of_a_pass_is_named_before_anything_is_loaded(run, tmp_path):
    (tmp_path / "r.toml").write_text("[[pass]]\nkind = 'prune'\nsparsty = 0.5\n")
    inputs(tmp_path)
    code, _, err = run(*FAST, "--recipe", "r.toml")
    assert code == 2
    assert "Unknown option 'sparsty' of the pass 'prune'; did you mean 'sparsity'" in err


@pytest.mark.heavy
def test_a_whole_run_leaves_its_files_and_is_exit_4_when_the_budget_is_missed(run, tmp_path):
    import keras

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 96)
    images = generator.normal(size=(96, 6, 6, 1)).astype(np.float32) + labels[:, None, None, None]
    np.savez(tmp_path / "train.npz", x=images[:64], y=labels[:64])
    np.savez(tmp_path / "test.npz", x=images[64:], y=labels[64:])
    layers = keras.layers
    keras.Sequential(
        [keras.Input((6, 6, 1), name="image"), layers.Conv2D(8, 3, activation="relu", name="conv"), layers.Flatten(),
         layers.Dense(2, activation="softmax", name="classes")]
    ).save(tmp_path / "m.keras")  # fmt: skip
    (tmp_path / "r.toml").write_text(
        "[[pass]]\nkind = 'prune'\nsparsity = 0.5\nkeep_last = true\n[budget]\nmax_size_bytes = 10\n"
    )
    code, out, err = run(
        "m.keras", "--recipe", "r.toml", "--train", "train.npz", "--validation", "test.npz", "-o", "out",
        "--seconds", 0.1, "--json", "-",
    )  # fmt: skip
    assert code == 4
    assert "The budget was missed: max_size_bytes is 10" in err
    result = json.loads(out)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["verdict"], [stage["name"] for stage in result["stages"]]) == (
        "missed",
        ["00-original", "01-prune"],
    )
    for stage in result["stages"]:
        assert {
            "accuracy", "accuracy_ci95", "size_bytes", "gzip_bytes", "macs", "sparsity", "latency_ms",
        } <= set(stage)  # fmt: skip
        assert (tmp_path / "out" / stage["artifact"]).stat().st_size == stage["size_bytes"]
        assert stage["latency_ms"]["p50"] > 0
    assert any(entry["subject"] == "classes" and entry["stage"] == "01-prune" for entry in result["skipped"])
    pruned = keras.saving.load_model(tmp_path / "out" / "model.keras")
    assert np.mean(pruned.get_layer("conv").kernel.numpy() == 0) == pytest.approx(0.5, abs=0.02)
    assert OptimizeRecipe.load(tmp_path / "out" / "recipe.toml").kinds == ("prune",)
    code, _, err = run(
        "m.keras", "--recipe", "r.toml", "--train", "train.npz", "--validation", "test.npz", "-o", "out",
    )  # fmt: skip
    assert code == 2
    assert "is not empty; pass --resume" in err


def test_what_is_forecast_is_run_by_the_same_words_without_what_asked_for_the_forecast():
    words = "optimize m.keras --dry-run --max-drop 0.01 --recipe-out r.toml --json=p.json --train t.npz --json -"
    assert " ".join(_without(words.split(), "--dry-run")) == "optimize m.keras --max-drop 0.01 --train t.npz"
