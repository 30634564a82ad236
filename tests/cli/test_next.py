"""Every verb ends with the command that a person runs next, with their own paths; in a pipe no line ends in blanks."""

from __future__ import annotations

import shlex
import shutil
import time

import pytest

from edgeopt.cli import main

LAST = {
    "inspect m.tflite": "edgeopt bench m.tflite",
    "inspect m_edgetpu.tflite": "edgeopt bench m_edgetpu.tflite --device BOARD --delegate edgetpu",
    "report m.tflite bench.json -o r.html": "edgeopt bundle m.tflite -o m.zip --evidence bench.json --data TEST_DATA",
    "report m.tflite other.tflite -o both.html": "edgeopt compare m.tflite other.tflite",
    "compare m.tflite other.tflite": "edgeopt compare m.tflite other.tflite --device BOARD",
    "bundle m.tflite -o b.zip": "edgeopt verify b.zip",
    "verify plain.zip": "python3 -m zipfile -e plain.zip plain",
    "agent -o 'my agent.pyz'": "python3 'my agent.pyz' bench model.tflite --inputs x.npy --labels y.npy",
    "check m.tflite --for edgetpu": "edgeopt edgetpu compile m.tflite",
    "edgetpu compile m.tflite --predict-only": "edgeopt edgetpu compile m.tflite",
    "edgetpu diff m.tflite m_edgetpu.tflite": "edgeopt bench m_edgetpu.tflite --device BOARD --delegate edgetpu",
    "devices list --devices i.toml": "edgeopt devices add NAME --profile rpi4 --host USER@HOST --devices i.toml",
    "devices list --devices mine.toml": "edgeopt devices check kitchen --devices mine.toml",
    "devices show rpi4 --devices i.toml": "edgeopt devices add NAME --profile rpi4 --host USER@HOST --devices i.toml",
    "devices show kitchen --devices mine.toml": "edgeopt devices check kitchen --devices mine.toml",
    "devices remove kitchen --devices mine.toml": "edgeopt devices list --devices mine.toml",
}


@pytest.fixture(scope="module")
def folder(shared_data, tmp_path_factory):
    made = tmp_path_factory.mktemp("next")
    for name, source in {"m": "split_concat", "m_edgetpu": "split_concat_edgetpu"}.items():
        shutil.copy(shared_data / "coral" / f"{source}.tflite", made / f"{name}.tflite")
    shutil.copy(shared_data / "kws" / "ref_int8.tflite", made / "other.tflite")
    shutil.copy(shared_data / "cifar10" / "mlperf_resnet8.h5", made / "m.h5")
    (made / "mine.toml").write_text('[devices.kitchen]\nprofile = "rpi4"\nhost = "pi@kitchen"\n')
    assert (
        main(
            [
                "bench",
                str(made / "m.tflite"),
                "--runs",
                "3",
                "--warmup",
                "1",
                "--processes",
                "1",
                "--json",
                str(made / "bench.json"),
            ]
        )
        == 0
    )
    assert main(["bundle", str(made / "m.tflite"), "-o", str(made / "plain.zip")]) == 0
    return made


@pytest.mark.parametrize("words", LAST)
def test_the_last_line_is_the_next_command(folder, monkeypatch, capsys, words):
    monkeypatch.chdir(folder)
    assert main(shlex.split(words)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].partition("  (")[0] == f"Next: {LAST[words]}"
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("optmize m.h5", "No such command 'optmize'; did you mean 'optimize'?"),
        ("validate m.tflite --data nowhere --device kichen", "Unknown device 'kichen'"),
        ("parity m.tflite --data nowhere --device local,kichen", "Unknown device 'kichen'"),
        ("bench m.tflite --device kichen", "Unknown device 'kichen'"),
        ("compare m.tflite other.tflite --device kichen", "Unknown device 'kichen'"),
        ("convert m.h5 --calibration empty", "The folder empty holds no images"),
    ],
)
def test_a_slip_is_told_before_anything_slow_runs(folder, monkeypatch, capsys, words, said):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    (folder / "empty").mkdir(exist_ok=True)
    started = time.monotonic()
    assert main(shlex.split(words)) == 2
    assert said in capsys.readouterr().err
    assert time.monotonic() - started < 10, "no TensorFlow, and no data, were loaded"
