"""``edgeopt devices``, ``bench`` and ``parity`` on the command line: what they print, write and return."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
from rich.console import Console

from edgeopt.cli.main import main


@pytest.fixture
def inventory(tmp_path):
    return str(tmp_path / "devices.toml")


@pytest.fixture
def kws(shared_data):
    return str(shared_data / "kws" / "ref_int8.tflite"), str(shared_data / "kws" / "test.npz")


@pytest.fixture(autouse=True)
def no_board(tmp_path, monkeypatch):
    """No board answers, and none is waited for."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def add(inventory, *more):
    return main(["devices", "add", "kitchen", "--profile", "rpi4", "--host", "pi@k", "--devices", inventory, *more])


def test_a_board_is_added_listed_shown_and_removed(inventory, capsys):
    assert add(inventory) == 0
    assert "Next: edgeopt devices setup kitchen --devices" in capsys.readouterr().out
    assert main(["devices", "list", "--devices", inventory, "--json", "-"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["devices"] == [{"device": "kitchen", "profile": "rpi4", "host": "pi@k", "file": inventory}]
    assert "coral-usb" in listed["profiles"]
    assert main(["devices", "show", "kitchen", "--devices", inventory]) == 0
    assert "BCM2711" in capsys.readouterr().out
    assert main(["devices", "remove", "kitchen", "--devices", inventory]) == 0
    assert main(["devices", "show", "kitchen", "--devices", inventory]) == 2
    assert "Unknown device 'kitchen'" in capsys.readouterr().err


def test_adding_twice_is_refused_without_force(inventory, capsys):
    assert (add(inventory), add(inventory), add(inventory, "--force")) == (0, 2, 0)
    assert "--force" in capsys.readouterr().err


def test_an_unknown_profile_is_bad_usage(inventory, capsys):
    assert main(["devices", "add", "x", "--profile", "rpi9", "--host", "h", "--devices", inventory]) == 2
    assert "Unknown board profile 'rpi9'" in capsys.readouterr().err


def test_checking_a_board_that_is_not_there_is_exit_5(inventory, capsys):
    main(["devices", "add", "x", "--profile", "rpi4", "--host", "127.0.0.1", "--port", "1", "--devices", inventory])
    capsys.readouterr()
    assert main(["devices", "check", "x", "--devices", inventory, "--json", "-"]) == 5
    result = json.loads(capsys.readouterr().out)
    assert result["verdict"] == "failed"
    assert result["lines"][0]["status"] == "fail"


def test_a_wheelhouse_that_is_no_folder_is_refused_before_anything_is_sent(inventory, capsys):
    add(inventory)
    assert main(["devices", "setup", "kitchen", "--devices", inventory, "--wheelhouse", "/nowhere"]) == 2
    assert "/nowhere is not a folder" in capsys.readouterr().err


def test_a_wheelhouse_without_the_runtime_names_the_download(tmp_path):
    from edgeopt.devices.boards.runtimes import BoardFacts, choose
    from edgeopt.devices.boards.setup import fitting_wheels
    from edgeopt.errors import UsageError

    for name in (
        "numpy-1.26.4-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
        "numpy-1.26.4-cp310-cp310-manylinux2014_aarch64.whl",
        "numpy-1.26.4-cp311-cp311-manylinux2014_x86_64.whl",
        "protobuf-5.29.6-cp38-abi3-manylinux2014_aarch64.whl",
        "tqdm-4.70.1-py3-none-any.whl",
        "old-1-py2-none-any.whl",
    ):
        (tmp_path / name).touch()
    facts = BoardFacts((3, 11), (2, 36), "aarch64")
    with pytest.raises(UsageError, match=r"no wheel of ai_edge_litert .*pip download .*ai-edge-litert==2\.3\.0"):
        fitting_wheels(tmp_path, facts, choose(facts))
    (tmp_path / "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl").touch()
    found = [path.name.split("-")[0] for path in fitting_wheels(tmp_path, facts, choose(facts))]
    assert found == ["ai_edge_litert", "numpy", "protobuf", "tqdm"]


def test_bench_writes_one_envelope(kws, capsys):
    assert main(["bench", kws[0], "--runs", "3", "--threads", "1,2", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [run["latency_runs"]["runs"] for run in result["runs"]] == [3, 3]
    assert result["verdict"] in ("ok", "invalid")


def test_bench_prints_a_table_whose_figures_are_whole_in_80_columns_and_the_ratio(kws, capsys, monkeypatch):
    monkeypatch.setattr("edgeopt.cli.bench.console", lambda: Console(width=80, highlight=False))
    assert main(["bench", kws[0], "--runs", "50", "--against", kws[0]]) == 0
    out = capsys.readouterr().out
    assert "of the other's time (95 %" in " ".join(out.split())
    assert re.search(r"^ +1 +[\d.]+ +[\d.]+ to [\d.]+ +[\d.]+ +[\d.]+ +\d+ +[\d.]+ MiB *$", out, re.M), out


def test_a_model_is_cut_and_its_parts_are_timed_against_it(kws, tmp_path, capsys):
    assert main(["edgetpu", "segments", str(kws[0]), "--cut", "2", "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    parts = [str(tmp_path / f"ref_int8_segment_{place}_of_2.tflite") for place in (0, 1)]
    assert "the parts fit" in out and "bench --pipeline" in out
    asked = ["bench", "--pipeline", *parts, "--against", str(kws[0]), "--seconds", "0.2", "--processes", "1"]
    assert main([*asked, "--json", str(tmp_path / "p.json"), "--junit", str(tmp_path / "p.xml")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "results: equal bit for bit (32 samples)" in out and "of the whole's time a sample" in out
    result = json.loads((tmp_path / "p.json").read_text())
    assert (result["different_samples"], [part["name"] for part in result["pipeline"]]) == (
        0,
        ["ref_int8_segment_0_of_2.tflite", "ref_int8_segment_1_of_2.tflite"],
    )
    assert 'name="the results are the whole\'s"' in (tmp_path / "p.xml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "add --pipeline if they are the parts of one model"),
        (("--pipeline", "--threads", "1,1,1"), "3 numbers of threads for 2 parts, expected 1 or 2"),
        (("--pipeline", "--delegate", ":0,:1,:2,:3"), "4 delegates for 2 parts, expected 1, 2, or one more"),
        (("--pipeline", "--queue", "65"), "queue is 65; expected 1 to 64 slots"),
    ],
)
def test_a_pipeline_that_makes_no_sense_is_bad_usage(kws, tmp_path, words, message, capsys):
    other = tmp_path / "other.tflite"
    shutil.copy(kws[0], other)
    assert main(["bench", str(kws[0]), str(other), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("words", [["--threads", "x"], ["--device", "a,,b"], ["--runs", "0"], ["--device", "nowhere"]])
def test_bench_refuses_what_makes_no_sense(kws, words, capsys):
    assert main(["bench", kws[0], *words]) == 2


def test_parity_of_a_machine_with_itself_holds(kws, capsys):
    words = ["--device", "local", "--data", kws[1], "--samples", "5", "--json", "-"]
    assert main(["parity", kws[0], *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["level"], result["equal"], result["max_lsb"], result["agreement"]) == ("L1", True, 0, 1.0)
    assert result["first_divergence"] is None


def test_a_parity_that_does_not_hold_is_exit_4(kws, tmp_path, capsys):
    golden = str(tmp_path / "g.npz")
    assert main(["parity", kws[0], "--device", "local", "--data", kws[1], "--samples", "20", "--record", golden]) == 0
    words = ["--device", "local", "--check", golden, "--kernels", "default", "--runtime", "ai_edge_litert"]
    assert main(["parity", kws[0], *words]) == 4
    captured = capsys.readouterr()
    assert "explained by the kernel profiles" in captured.out
    assert "L1 parity" in captured.err


def test_parity_without_data_says_so(kws, capsys):
    assert main(["parity", kws[0], "--device", "local"]) == 2
    assert "--data is missing" in capsys.readouterr().err
