"""`edgeopt inspect`: tables, JSON and exit codes."""

from __future__ import annotations

import json

import pytest

import edgeopt
from edgeopt.cli import main
from edgeopt.cli.inspect import _shorten, _table
from edgeopt.cli.output import add_row, console

KWS = "kws/ref_int8.tflite"
COMPILED = "coral/deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite"


@pytest.fixture
def run(capsys):
    """Run `edgeopt inspect` in this process: exit code, standard output, standard error."""

    def run_inspect(*arguments: object) -> tuple[int, str, str]:
        code = main(["inspect", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run_inspect


def test_the_tables_show_totals_ends_and_operators(run, shared_data):
    code, out, err = run(shared_data / KWS)
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    assert "parameters 22,604" in flat
    assert "MACs 2,656,768" in flat
    assert "peak activation memory 15.6 KiB at operator 1" in flat
    assert "fully int8 yes" in flat
    assert "FULLY_CONNECTED per-tensor" in flat
    assert "input input_1 int8 [1,49,10,1] (signature [-1,49,10,1]) 0.584702909 83" in flat
    assert "1 DEPTHWISE_CONV_2D 3 int8 [1,25,5,64] int8 [1,25,5,64] 72,000 832 B" in flat
    assert "min_runtime_version 16 1.5.0" in flat
    assert "tensors" not in flat


def test_tensors_are_listed_on_request(run, shared_data):
    code, out, _ = run(shared_data / KWS, "--tensors")
    flat = " ".join(out.split())
    assert code == 0
    assert "per-channel (64 on axis 3)" in flat
    assert "constant" in flat


def test_an_unknown_operator_is_no_obstacle(run, shared_data):
    code, out, _ = run(shared_data / COMPILED)
    flat = " ".join(out.split())
    assert code == 0
    assert "MACs at least 148,591,872 (unknown: edgetpu-custom-op)" in flat
    assert "parameters at least 136,725 (unknown: edgetpu-custom-op)" in flat
    assert "edgetpu-custom-op 1 uint8 [1,513,513,3]" in flat


def test_float_operators_are_named(run, shared_data):
    code, out, _ = run(shared_data / "coral/model_invoking_error.tflite")
    assert code == 0
    assert "no, fake-op-double (operator 0) on float tensors" in " ".join(out.split())


def test_json_on_standard_output_is_nothing_but_json(run, shared_data):
    code, out, err = run(shared_data / KWS, "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out) == edgeopt.inspect(shared_data / KWS).to_dict()


def test_json_in_a_file_comes_beside_the_tables(run, shared_data, tmp_path):
    target = tmp_path / "inspection.json"
    code, out, _ = run(shared_data / KWS, "--json", target)
    assert code == 0
    assert "MACs" in out
    assert json.loads(target.read_text())["macs"] == 2_656_768


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist; expected a .tflite file"),
        (b"", "is empty, expected a .tflite file"),
        (b"PK\x03\x04 and so on", "is a zip archive"),
        (b"\x18\x00\x00\x00TFL3", "is a corrupt .tflite file"),
        (b"\xff\xff\xff\xffTFL3" + bytes(100), "is a corrupt .tflite file"),
    ],
)
def test_a_bad_file_is_one_sentence_and_exit_code_2(run, tmp_path, content, sentence):
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    code, out, err = run(path)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert sentence in err
    assert str(path) in err


def test_an_unwritable_json_is_exit_code_2(run, shared_data, tmp_path):
    code, _, err = run(shared_data / KWS, "--json", tmp_path / "no" / "such" / "folder.json")
    assert code == 2
    assert "Cannot write" in err


def test_names_from_the_file_cannot_steer_the_terminal(capsys):
    table = _table("[bold]title", "name")
    add_row(table, "\x1b[2Jred\x07 [bold]markup[/bold]")
    console().print(table)
    out = capsys.readouterr().out
    assert "\ufffd[2Jred\ufffd [bold]markup[/bold]" in out
    assert "[bold]title" in out
    assert "\x1b[2J" not in out


def test_long_names_lose_their_middle():
    name = "model/conv2d/BiasAdd;" * 10
    assert len(_shorten(name)) == 40
    assert _shorten(name).startswith("model/conv2d")
    assert _shorten(name).endswith("BiasAdd;")
    assert _shorten("short") == "short"
