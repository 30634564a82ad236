"""``edgeopt report`` and ``edgeopt compare``: what they write, print and refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path

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
