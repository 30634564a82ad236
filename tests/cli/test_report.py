"""``edgeopt report``, ``edgeopt compare`` and ``--junit``: what they write, print and refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgeopt.cli.main import main

from ..devices.conftest import classifier_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files of one model, the second longer, and the current directory in it."""
    monkeypatch.chdir(tmp_path)
    Path("a.tflite").write_bytes(classifier_model())
    Path("b.tflite").write_bytes(classifier_model() + bytes(4000))
    return tmp_path


def test_a_report_is_written_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", "a.tflite", "b.tflite", "-o", "r.html", "--title", "Two files"]
    assert main(words) == 0
    assert "Wrote r.html" in capsys.readouterr().out and "<h1>Two files</h1>" in Path("r.html").read_text()
    assert main(words) == 2 and "--force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def test_a_comparison_as_table_json_csv_and_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a.tflite", "b.tflite", "--json", "c.json", "--csv", "c.csv", "--html", "c.html"]) == 0
    out = capsys.readouterr().out
    assert "a.tflite" in out and "✗" in out and "better" in out
    assert [file["name"] for file in json.loads(Path("c.json").read_text())["files"]] == ["a.tflite", "b.tflite"]
    assert Path("c.csv").read_text().startswith("name,sha256,") and "Side by side" in Path("c.html").read_text()


def test_on_standard_output_is_nothing_but_what_was_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a.tflite", "b.tflite", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["reference"] == "a.tflite"
    assert main(["compare", "a.tflite", "b.tflite", "--csv", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_one_file_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a.tflite"]) == 2 and "two or more" in capsys.readouterr().err


def test_without_jinja2_it_is_said_what_to_install(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", "a.tflite", "-o", "r.html"]) == 2
    assert "pip install 'edgeopt[report]'" in capsys.readouterr().err
    assert main(["compare", "a.tflite", "b.tflite"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "failures"),
    [
        (["validate", "--data", "t.npz", "--max-size-bytes", "9", "--seconds", "0.2", "--processes", "1"], 4, 1),
        (["bench", "--seconds", "0.2", "--processes", "1"], 0, 0),
        (["parity", "--device", "local", "--data", "t.npz"], 0, 0),
    ],
)
def test_a_verdict_for_a_build_server(folder: Path, words: list[str], code: int, failures: int) -> None:
    np.savez("t.npz", x=np.eye(3, dtype=np.float32), y=np.arange(3))
    assert main([words[0], "a.tflite", *words[1:], "--junit", "j.xml"]) == code
    suite = ElementTree.parse("j.xml").getroot()[0]
    assert suite.attrib["name"] == f"edgeopt {words[0]}" and int(suite.attrib["failures"]) == failures
    assert int(suite.attrib["tests"]) > 0


def test_what_judges_nothing_has_no_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("t.npz", x=np.zeros((1, 2)))
    words = ["parity", "a.tflite", "--device", "local", "--data", "t.npz", "--record", "g.npz", "--junit", "j.xml"]
    assert main(words) == 2 and "--junit goes without --record" in capsys.readouterr().err
    assert main(["bench", "a.tflite", "--junit", "none/j.xml"]) == 2 and "none" in capsys.readouterr().err


def test_an_error_is_an_annotation_on_github_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert main(["compare", "50%.tflite"]) == 2 and "::error" not in capsys.readouterr().err
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(["compare", "50%.tflite"]) == 2
    assert "::error title=edgeopt::50%25.tflite does not exist" in capsys.readouterr().err
