"""A bundle holds what proves a file; verify sees whatever has changed."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pytest

import edgeopt
from edgeopt.cli.main import main
from edgeopt.errors import CheckError, FileFormatError, OutputError, UsageError
from edgeopt.pages.card import _plain


def made(results: Path, path: Path, **options) -> Path:
    evidence = [results / "validate.json", results / "parity.json"]
    return edgeopt.bundle(results / "m.tflite", path, data=str(results / "test.npz"), evidence=evidence, **options)


@pytest.fixture(scope="module")
def archive(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(results, tmp_path_factory.mktemp("bundle") / "m.zip")


def changed(archive: Path, target: Path, name: str, content: bytes | None) -> Path:
    """A copy in which one file is another, or is left out."""
    with zipfile.ZipFile(archive) as before, zipfile.ZipFile(target, "w") as after:
        for member in before.infolist():
            if member.filename != name:
                after.writestr(member, before.read(member))
        if content is not None:
            after.writestr(name, content)
    return target


def test_it_holds_all_that_proves_the_file(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        assert "Accuracy by class" in opened.read("report.html").decode()
    assert names == {
        "manifest.json", "m.tflite", "m.json", "edgeopt-agent.pyz", "golden.npz", "report.html", "README.md",
        "evidence/validate.json", "evidence/parity.json",
    }  # fmt: skip


def test_its_model_card_has_front_matter_and_the_figures(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        card = opened.read("README.md").decode()
    assert card.startswith("---\nlibrary_name: litert\ntags:\n- tflite\n- edgeopt\n---\n\n# m.tflite\n")
    for figure in (r"\| accuracy \| .*\d+(\.\d)? % \| \d", r"\| size \| .*\d", r"\| MACs \| .*\d", r"signal to noise"):
        assert re.search(figure, card), figure


def test_names_in_a_model_card_are_text() -> None:
    assert _plain("a|b <img src=x>\n# [c](d)") == r"a\|b \<img src=x\> \# \[c\](d)"


def test_the_same_contents_are_the_same_bytes(archive: Path, results: Path, tmp_path: Path) -> None:
    assert made(results, tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_a_whole_one_is_verified_and_replayed(archive: Path) -> None:
    found = edgeopt.verify(archive, device="local")
    assert found.parity is not None and found.parity.held and found.parity.samples == 20
    assert found.to_dict()["verdict"] == "ok" and set(found.files) >= {"m.tflite", "report.html"}


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.tflite", b"other"), ("report.html", None), ("more.txt", b"more"), ("evidence/parity.json", b"{}")],
)
def test_what_has_changed_is_named(archive: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    with pytest.raises(CheckError, match=f"not as it was bundled: {name}"):
        edgeopt.verify(changed(archive, tmp_path / "changed.zip", name, content))


def test_answers_that_are_no_longer_the_same_fail(archive: Path, results: Path, tmp_path: Path) -> None:
    """Golden vectors of another answer, with a manifest that fits them: only the replay can tell."""
    import numpy as np

    with zipfile.ZipFile(archive) as opened:
        golden, manifest = opened.read("golden.npz"), json.loads(opened.read("manifest.json"))
    arrays = dict(np.load(io.BytesIO(golden)))
    arrays["output/0"] = arrays["output/0"] + 1
    forged = io.BytesIO()
    np.savez_compressed(forged, **arrays)
    import hashlib

    manifest["files"]["golden.npz"]["sha256"] = hashlib.sha256(forged.getvalue()).hexdigest()
    half = changed(archive, tmp_path / "half.zip", "golden.npz", forged.getvalue())
    whole = changed(half, tmp_path / "whole.zip", "manifest.json", json.dumps(manifest).encode())
    found = edgeopt.verify(whole, device="local")
    assert found.parity is not None and not found.parity.held and found.to_dict()["verdict"] == "failed"
    assert main(["verify", str(whole), "--device", "local"]) == 4


def test_what_is_no_bundle_is_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"no")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("manifest.json", "0" * 10_000_000)
    for path, words in ((tmp_path / "no.zip", "no archive"), (packed, "packed")):
        with pytest.raises(FileFormatError, match=words):
            edgeopt.verify(path)
    with pytest.raises(FileFormatError, match="no archive"):
        edgeopt.verify(changed(archive, tmp_path / "bare.zip", "manifest.json", None))
    with pytest.raises(UsageError, match="Cannot read"):
        edgeopt.verify(tmp_path / "none.zip")


def test_without_samples_there_is_nothing_to_replay(results: Path, tmp_path: Path) -> None:
    path = edgeopt.bundle(results / "m.tflite", tmp_path / "m.zip")
    assert edgeopt.verify(path).parity is None
    with pytest.raises(UsageError, match="no golden vectors"):
        edgeopt.verify(path, device="local")
    with pytest.raises(OutputError, match="exists"):
        edgeopt.bundle(results / "m.tflite", path)


def test_the_verbs(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "v.zip")
    assert main(["bundle", str(results / "m.tflite"), "-o", out, "--evidence", str(results / "bench.json")]) == 0
    assert "Wrote" in capsys.readouterr().out
    assert main(["verify", out, "--json", "-"]) == 0
    assert "evidence/bench.json" in json.loads(capsys.readouterr().out)["files"]
