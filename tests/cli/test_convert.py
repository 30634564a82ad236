"""``edgeopt convert`` as its users run it: files, summary, JSON, exit codes, interrupts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import edgeopt
from edgeopt.cli import main

from ..telling import told_apart

# From dark to bright, and of any tint: what a pooled average tells apart.
X = np.random.default_rng(0).uniform(0, 255, size=(60, 1, 1, 3)) * np.random.default_rng(1).uniform(size=(60, 8, 8, 3))
X = X.astype(np.float32)
Y = np.arange(60) % 3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small model and its data, written once."""
    import keras

    folder = tmp_path_factory.mktemp("files")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image [RGB]"),  # a name that rich would take for markup
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", name="scores"),
        ],
        name="tiny",
    )
    model.save(folder / "model.keras")
    model.save_weights(folder / "only.weights.h5")
    np.savez(folder / "data.npz", x=X, y=Y)
    return folder


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in this process (the work is in its child): exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run_convert(*arguments):
        code = main(["convert", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, told_apart(err)

    return run_convert


@pytest.mark.smoke
def test_a_conversion_from_start_to_end(run, files, tmp_path):
    code, out, err = run(
        files / "model.keras", "-o", "m.tflite", "--calibration", files / "data.npz", "--calibration-samples", 30,
        "--preprocess", "RGB, 0..255", "--json", "report.json", "--snippet", "run.py",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["m.json", "m.tflite", "report.json", "run.py"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == json.loads((tmp_path / "m.json").read_text())
    assert (report["artifact"], report["fully_int8"], report["calibration"]["count"]) == ("m.tflite", True, 30)
    assert report["source_model"]["path"] == str(files / "model.keras")
    assert len(report["source_model"]["sha256"]) == 64
    assert report["warnings"] == []
    assert report["sha256"] == edgeopt.Artifact.load("m.tflite").sha256
    flat = " ".join(out.split())
    assert "file m.tflite (evidence in m.json)" in flat
    assert "quantize int8, no float operator left" in flat
    assert "input image [RGB] int8 (1, 8, 8, 3) scale" in flat
    assert "calibration 30 samples, seed 0" in flat
    assert out.splitlines()[-1] == f"Next: edgeopt validate m.tflite --data TEST_DATA --baseline {files}/model.keras"
    assert len(out.splitlines()) < 24, "one screen"
    snippet = (tmp_path / "run.py").read_text()
    compile(snippet, "snippet", "exec")
    assert "# prepared so: RGB, 0..255" in snippet
    assert json.loads((tmp_path / "m.json").read_text())["snippet"] == snippet
    # Labels balance the classes.
    again = edgeopt.convert(files / "model.keras", calibration=(X, Y), calibration_samples=30, isolate=False)
    assert again.sha256 == report["sha256"]


def test_json_on_standard_output_is_nothing_but_json(run, files, tmp_path):
    (tmp_path / "m.keras").write_bytes((files / "model.keras").read_bytes())
    code, out, err = run(tmp_path / "m.keras", "--quantize", "float16", "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["quantize"] == "float16"
    # The default name of the output: beside the model.
    assert json.loads(out)["artifact"] == str(tmp_path / "m_float16.tflite")
    assert (tmp_path / "m_float16.tflite").is_file()


def test_a_recipe_gives_the_defaults_and_the_line_overrides_them(run, files, tmp_path):
    (tmp_path / "r.toml").write_text(
        '[convert]\nquantize = "float32"\nbatch_size = 3\ninput_shapes = {"image [RGB]" = [1, 8, 8, 3]}\npreprocess = "as is"\n'
    )
    code, out, _ = run(
        files / "model.keras", "-o", "m.tflite", "--recipe", "r.toml", "--quantize", "float16", "--json", "-"
    )
    assert code == 0
    recipe = json.loads(out)["recipe"]
    assert (recipe["quantize"], recipe["batch_size"], recipe["preprocess"]) == ("float16", 3, "as is")
    assert recipe["input_shapes"] == {"image [RGB]": [1, 8, 8, 3]}


# --- refusals --------------------------------------------------------------------------------------------------------

DATA = ("--calibration", "{files}/data.npz")


def refused(run, files, tmp_path, arguments, code, sentence):
    before = sorted(os.listdir(tmp_path))
    given = [str(word).replace("{files}", str(files)).replace("{here}", str(tmp_path)) for word in arguments]
    found, out, err = run(*given)
    assert (found, out) == (code, ""), err
    assert re.search(sentence, err), err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["absent.keras", "-o", "m.tflite", *DATA], 2, "Model absent.keras does not exist; expected a .keras or .h5 file"),
        (["{files}/data.npz", "-o", "m.tflite", *DATA], 2, r"data.npz is a zip file without config.json"),
        (["{files}/only.weights.h5", "-o", "m.tflite", *DATA], 2, "holds the weights of a model only; .* model.save"),
        (["{files}", "-o", "m.tflite", *DATA], 2, "holds no saved_model.pb"),
        (["{files}/model.keras", "-o", "m.tflite"], 2, "needs calibration data, .* or --quantize dynamic"),
        (["{files}/model.keras", "-o", "no/m.tflite", *DATA], 2, "the folder no does not exist; create it first"),
        (["{files}/model.keras", "-o", "{here}", *DATA], 2, "is a folder, but a file name was expected"),
        (["{files}/model.keras", "-o", "m.json", *DATA], 2, "is the name of a sidecar"),
        (["{files}/model.keras", "-o", "{files}/model.keras", "--force", *DATA], 2, "is the model itself"),
        (["{files}/model.keras", "-o", "m.tflite", "--json", "m.tflite", *DATA], 2, "--json m.tflite is the model or the output"),
        (["{files}/model.keras", "-o", "m.tflite", "--json", "no/r.json", *DATA], 2, "the folder no does not exist"),
        (["{files}/model.keras", "-o", "m.tflite", "--quantize", "int4"], 2, "Unknown quantize mode 'int4'; did you mean 'int8w4'"),
        (["{files}/model.keras", "-o", "m.tflite", "--seed", "-1"], 2, "seed is -1; expected a whole number of at least 0"),
        (["{files}/model.keras", "-o", "m.tflite", "--input-shape", "image"], 2, "Received --input-shape 'image'; expected NAME="),
        (["{files}/model.keras", "-o", "m.tflite", "--image-size", "big"], 2, "Received --image-size 'big'; expected HEIGHTxWIDTH"),
        (["{files}/model.keras", "-o", "m.tflite", "--resize", "bilinar"], 2, "Unknown image_resize 'bilinar'; did you mean 'bilinear'"),
        (["{files}/model.keras", "-o", "m.tflite", "--recipe", "absent.toml"], 2, "Cannot read the recipe absent.toml"),
        (["{files}/model.keras", "-o", "m.tflite", "--calibration", "absent.npz"], 2, "Data absent.npz does not exist"),
        (["{files}/model.keras", "-o", "m.tflite", "--calibration", "{files}/model.keras"], 2, "is of an unknown kind"),
    ],
)  # fmt: skip
def test_what_is_seen_before_anything_slow(run, files, tmp_path, monkeypatch, arguments, code, sentence):
    monkeypatch.setattr("edgeopt.api.convert.run_isolated", None)  # no child is started
    refused(run, files, tmp_path, arguments, code, sentence)


@pytest.mark.parametrize("name", ["m.tflite", "m.json", "r.json"])
def test_an_output_that_exists_is_kept(run, files, tmp_path, name):
    (tmp_path / name).write_text("precious")
    arguments = ["{files}/model.keras", "-o", "m.tflite", "--json", "r.json", *DATA]
    refused(run, files, tmp_path, arguments, 2, f"{name} exists already; pass --force")
    assert (tmp_path / name).read_text() == "precious"


def test_an_unknown_recipe_key_names_the_nearest(run, files, tmp_path):
    (tmp_path / "r.toml").write_text('[convert]\nquantise = "int8"\n')
    arguments = ["{files}/model.keras", "-o", "m.tflite", "--recipe", "r.toml", *DATA]
    refused(run, files, tmp_path, arguments, 2, r"Unknown convert option 'quantise'; did you mean 'quantize'\?")


BAD = {
    "rank": (lambda: {"x": X[..., 0]}, r"gives shape .* for input 'image \[RGB\]'; expected \(samples, 8, 8, 3\)"),
    "size": (lambda: {"x": X[:, :4]}, "gives shape .*; reshape or resize the data"),
    "nan": (lambda: {"x": np.where(np.arange(60)[:, None, None, None] == 41, np.nan, X)}, "has NaN in sample 41"),
    "zero samples": (lambda: {"x": X[:0]}, "holds zero samples"),
    "pickled": (lambda: {"x": np.array([{}], dtype=object)}, "holds pickled objects, which are never loaded"),
    "labels": (lambda: {"x": X, "y": Y[:9]}, r"has 9 label\(s\) for 60 samples"),
    "constant": (lambda: {"x": np.ones_like(X)}, r"is constant \(1.0\)"),
    "names": (
        lambda: {"a": X, "b": X},
        r"holds 2 input array\(s\) \(a, b\), but the model has 1 input\(s\): image \[RGB\]",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_calibration_data_that_do_not_do(run, files, tmp_path, kind):
    make, sentence = BAD[kind]
    np.savez(tmp_path / "bad.npz", **make())
    refused(run, files, tmp_path, ["{files}/model.keras", "-o", "m.tflite", "--calibration", "bad.npz"], 2, sentence)


def test_an_operator_that_tflite_lacks_is_exit_code_3_with_its_layer(run, files, tmp_path, monkeypatch):
    (tmp_path / "odd_layers.py").write_text(
        "import keras, tensorflow as tf\nclass Det(keras.layers.Layer):\n"
        "    def call(self, x):\n        return tf.linalg.det(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import keras
    import odd_layers

    x = keras.Input((4, 4), name="x")
    keras.Model(x, odd_layers.Det(name="odd_one")(x)).save(tmp_path / "odd.keras")
    arguments = ["odd.keras", "-o", "m.tflite", "--quantize", "float32", "--custom-objects", "odd_layers:Det"]
    refused(
        run, files, tmp_path, arguments, 3, r"TFLite has no operator for tf\.MatrixDeterminant in layer\(s\) 'odd_one'"
    )


# --- interrupts ------------------------------------------------------------------------------------------------------


def descendants(pid):
    """All processes below `pid`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("when", ["loading", "calibrating"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_an_interrupt_leaves_nothing_behind(files, tmp_path, when, number, code):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (tmp_path / "slow_data.py").write_text(
        "import time, numpy as np\ndef samples():\n    open('sampling', 'w').close()\n    time.sleep(60)\n    yield [np.ones((1, 8, 8, 3))]\n"
    )
    data = "slow_data:samples" if when == "calibrating" else str(files / "data.npz")
    command = [
        sys.executable,
        "-m",
        "edgeopt",
        "convert",
        str(files / "model.keras"),
        "-o",
        "m.tflite",
        "--calibration",
        data,
    ]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    ready = (lambda: (tmp_path / "sampling").exists()) if when == "calibrating" else (lambda: descendants(process.pid))
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.05)
    below = descendants(process.pid)
    assert below
    os.killpg(process.pid, number)  # as a terminal does: to the whole group
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    assert told_apart(err) == ("\nInterrupted; nothing was left half-written.\n" if number == signal.SIGINT else "")
    assert not [pid for pid in below if alive(pid)]
    assert set(os.listdir(tmp_path)) <= {"slow_data.py", "tmp", "sampling", "__pycache__"}
    assert os.listdir(temporary) == []
