"""Every verb ends with the command that a person runs next, with their own paths; in a pipe no line ends in blanks."""

from __future__ import annotations

import shlex
import shutil
import time

import numpy as np
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
        ("validate m.tflite --data y.npz --device kichen", "Unknown device 'kichen'"),
        ("parity m.tflite --data y.npz --device local,kichen", "Unknown device 'kichen'"),
        ("bench m.tflite --device kichen", "Unknown device 'kichen'"),
        ("compare m.tflite other.tflite --device kichen", "Unknown device 'kichen'"),
        ("convert m.h5 --calibration empty", "The folder empty holds no images"),
        ("convert m.h5 --calibration none.npz", "none.npz holds zero samples"),
        ("convert m.h5 --calibration y.npz --recipe empty.toml", "The recipe empty.toml has nothing under [convert]"),
        ("optimize m.h5 --max-drop 0.1 --train y.npz --validation empty -o o", "The folder empty holds no images"),
        ("optimize m.h5 --max-drop 0.1 --train y.npz --validation few.npz -o o", "has 2 label(s) for 3 samples"),
        ("check empty", "The folder empty holds no saved_model.pb"),
        ("check bad.keras", "bad.keras is a damaged zip file"),
        # A model that is not there is told before data, and data before any option.
        ("convert nothere.h5 --calibration nodata --ranges bad", "Model nothere.h5 does not exist"),
        ("convert m.h5 --calibration nodata --ranges bad", "Data nodata does not exist"),
        ("optimize nothere.h5", "Model nothere.h5 does not exist"),
        ("optimize nothere.h5 --validation nodata --metric bad", "Model nothere.h5 does not exist"),
        ("optimize m.h5 --validation nodata --metric bad", "Data nodata does not exist"),
        ("sensitivity nothere.h5", "Model nothere.h5 does not exist"),
        ("sensitivity m.h5 --calibration nodata --metric bad", "Data nodata does not exist"),
        ("check nothere.h5 --for bad", "Model nothere.h5 does not exist"),
        ("validate nothere.tflite --metric bad", "nothere.tflite does not exist; expected a .tflite file"),
        ("validate m.tflite --data nodata --metric bad --baseline no.h5", "Data nodata does not exist"),
        ("validate m.tflite --data y.npz --baseline no.h5 --metric bad", "Model no.h5 does not exist"),
        ("bench nothere.tflite --device kichen", "nothere.tflite does not exist"),
        ("bench m.tflite --against no.tflite --device kichen", "no.tflite does not exist"),
        ("parity nothere.tflite", "nothere.tflite does not exist"),
        ("parity m.tflite --data nodata --device kichen", "Data nodata does not exist"),
        (
            "compare m.tflite no.tflite --device kichen",
            "no.tflite does not exist; expected a .tflite file, or the folder",
        ),
        ("report no.json -o nofolder/r.html", "no.json does not exist; expected a .tflite file, JSON of a verb"),
        ("bundle m.tflite --evidence no.json --data nodata", "no.json does not exist"),
        ("verify no.zip --device kichen", "no.zip does not exist; expected an archive of edgeopt bundle"),
        ("edgetpu compile no.tflite --min-runtime 99", "no.tflite does not exist"),
        ("inspect no.tflite --json nofolder/x.json", "no.tflite does not exist"),
    ],
)
def test_a_slip_is_told_before_anything_slow_runs(folder, monkeypatch, capsys, words, said):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "bad.keras").write_bytes(b"PK\3\4 bad")
    (folder / "empty.toml").write_bytes(b"")
    for name, samples, labels in (("y", 3, 3), ("none", 0, 0), ("few", 3, 2)):
        np.savez(folder / f"{name}.npz", x=np.zeros((samples, 4)), y=np.zeros(labels))
    started = time.monotonic()
    assert main(shlex.split(words)) == 2
    assert said in capsys.readouterr().err
    assert time.monotonic() - started < 10, "no TensorFlow, and no data, were loaded"
