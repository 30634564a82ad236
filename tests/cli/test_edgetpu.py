"""`edgeopt edgetpu compile|segments|diff`: what is printed, the JSON and the exit codes."""

from __future__ import annotations

import json
import shutil
import stat
import sys
import zipfile

import numpy as np
import pytest

from edgeopt.cli import main
from edgeopt.pages.bundle import SNIPPET


@pytest.fixture
def run(capsys):
    def run_edgetpu(*arguments: object) -> tuple[int, str, str]:
        code = main(["edgetpu", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run_edgetpu


@pytest.fixture
def coral(shared_data):
    return shared_data / "coral"


@pytest.fixture
def compiler(tmp_path, monkeypatch, coral):
    """A stub that hands out the compiled form of split_concat."""
    log = (
        "Edge TPU Compiler version 16.0.384591198\n\nModel compiled successfully in 10 ms.\n\nInput model: m.tflite\n"
        "Output model: m_edgetpu.tflite\nNumber of operations that will run on Edge TPU: 3\n"
    )
    path = tmp_path / "edgetpu_compiler"
    product = str(coral / "split_concat_edgetpu.tflite")
    path.write_text(
        f"#!{sys.executable}\nimport shutil\nshutil.copy({product!r}, 'm_edgetpu.tflite')\nprint({log!r})\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDGEOPT_EDGETPU_COMPILER", str(path))


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEOPT_EDGETPU_COMPILER", raising=False)
    monkeypatch.delenv("EDGEOPT_EDGETPU_IMAGE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_compile_writes_the_file_and_says_what_was_mapped(run, compiler, coral, tmp_path):
    source = tmp_path / "m.tflite"
    shutil.copy(coral / "split_concat.tflite", source)
    code, out, err = run("compile", source, "--json", tmp_path / "out.json")
    assert (code, err) == (0, "")
    assert (tmp_path / "m_edgetpu.tflite").is_file()
    assert "3 operators mapped, 0 on the CPU" in out
    assert "parameters: 192 B cached on the chip, 0 B streamed; edgetpu_compiler 16.0.384591198" in out
    (found,) = json.loads((tmp_path / "out.json").read_text())["files"]
    assert (found["mapped"], found["cpu_ops"], found["as_predicted"]) == (3, {}, True)
    code, _, err = run("compile", source)
    assert code == 2
    assert "exists already" in err


def test_convert_ends_with_lines_that_run_the_compiled_file_by_its_delegate(compiler, tmp_path, monkeypatch, capsys):
    import keras

    monkeypatch.chdir(tmp_path)
    keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, activation="relu")]).save("model.keras")
    np.save("x.npy", np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4))
    words = ["model.keras", "--calibration", "x.npy", "-o", "m.tflite", "--target", "edgetpu"]
    assert main(["convert", *words, "--snippet", "run.py", "--json", "found.json"]) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "Next: edgeopt bench m_edgetpu.tflite --device BOARD --delegate edgetpu"
    )
    snippet, sidecar = (tmp_path / "run.py").read_text(), json.loads((tmp_path / "m.json").read_text())
    assert "Interpreter('m_edgetpu.tflite', experimental_delegates=[load_delegate('libedgetpu.so.1')])" in snippet
    assert sidecar["snippet"] == snippet
    assert sidecar["compiled"]["path"] == "m_edgetpu.tflite"
    assert sidecar == json.loads((tmp_path / "found.json").read_text())
    assert main(["bundle", "m.tflite", "-o", "m.zip"]) == 0
    with zipfile.ZipFile("m.zip") as archive:
        assert "Interpreter('m.tflite')" in archive.read(SNIPPET).decode(), "the compiled file is not in it"


def test_a_missing_compiler_is_exit_6_unless_only_a_prediction_is_asked_for(run, no_compiler, coral, tmp_path):
    source = coral / "split_concat.tflite"
    code, out, err = run("compile", source, "-o", tmp_path)
    assert (code, out) == (6, "")
    assert "edgetpu_compiler was not found; install it" in err
    code, out, err = run("compile", source, "--predict-only")
    assert (code, err) == (0, "")
    assert "3 operators mapped" in out


def test_a_refusal_is_exit_4_under_predict_only(run, shared_data):
    code, out, _ = run("compile", shared_data / "kws/ref_int8.tflite", "--predict-only", "--json", "-")
    assert code == 4
    found = json.loads(out)
    assert (found["verdict"], found["predict_only"]) == ("failed", True)


def test_diff_shows_what_moved_and_why_the_rest_stayed(run, coral):
    name = "deeplab_mobilenet_edgetpu_slim_cityscapes_quant"
    code, out, _ = run("diff", coral / f"{name}.tflite", coral / f"{name}_edgetpu.tflite")
    assert code == 0
    assert "stayed on the CPU: 2 (1 ARG_MAX, 1 RESIZE_BILINEAR)" in out
    assert "82 RESIZE_BILINEAR  it enlarges 33x33x19 to 513x513x19" in out
    assert "as predicted" in out


def test_diff_of_files_that_do_not_belong_together_is_exit_2(run, coral):
    code, _, err = run("diff", coral / "split_concat.tflite", coral / "split_concat.tflite")
    assert code == 2
    assert "holds no edgetpu-custom-op" in err


def test_segments_that_do_not_fit_are_exit_4(run, coral):
    files = [coral / "split_concat_edgetpu.tflite", coral / "keras_lstm_mnist_ptq_edgetpu.tflite"]
    code, out, err = run("segments", *files)
    assert code == 4
    assert "problem: keras_lstm_mnist_ptq_edgetpu.tflite reads 'serving_default_x:0'" in out
    assert "The parts are no pipeline" in err
    code, out, _ = run("segments", *files, "--json", "-")
    assert code == 4
    assert len(json.loads(out)["segments"]) == 2


def test_a_corrupt_package_is_exit_2_in_one_sentence(coral, tmp_path, capsys):
    data = (coral / "split_concat_edgetpu.tflite").read_bytes()
    broken = tmp_path / "broken_edgetpu.tflite"
    broken.write_bytes(data.replace(b"DWN1", b"XXXX"))
    assert main(["inspect", str(broken)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "The Edge TPU package in operator 0 of" in err


def test_inspect_shows_the_package(coral, capsys):
    assert main(["inspect", str(coral / "posenet_mobilenet_v1_075_353_481_16_quant_decoder_edgetpu.tflite")]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "for the Edge TPU" in flat
    assert "chip beagle, runtime 12 or newer" in flat
    assert "parameters 1.38 MiB cached, 0 B streamed" in flat
    assert "on the CPU 1 PosenetDecoderOp" in flat
