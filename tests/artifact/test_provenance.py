"""`edgeopt.artifact.provenance`: fingerprints of models, versions of tools."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from importlib import metadata

from edgeopt import __version__
from edgeopt.artifact.provenance import model_fingerprint, tool_versions


def test_the_fingerprint_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "m.h5").write_bytes(b"model")
    assert model_fingerprint(tmp_path / "m.h5") == hashlib.sha256(b"model").hexdigest()


def test_the_fingerprint_of_a_folder_covers_names_and_contents(tmp_path):
    def folder(name, files):
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return model_fingerprint(tmp_path / name)

    first = folder("a", {"saved_model.pb": b"1", "variables/v": b"2"})
    assert first == folder("b", {"variables/v": b"2", "saved_model.pb": b"1"})
    assert first != folder("c", {"saved_model.pb": b"1", "variables/w": b"2"})
    assert first != folder("d", {"saved_model.pb": b"1", "variables/v": b"3"})


def test_what_is_absent_has_none(tmp_path):
    assert model_fingerprint(tmp_path / "absent") is None


def test_versions_are_read_without_importing_the_packages():
    found = tool_versions()
    assert found["edgeopt"] == __version__
    assert {"python", "tensorflow", "keras", "numpy"} <= found.keys()
    code = "import sys; from edgeopt.artifact.provenance import tool_versions; tool_versions(); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_fingerprint_of_a_folder_is_of_its_files_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"1")
    (tmp_path / "a").write_bytes(b"2")
    parts = [b"a\0" + hashlib.sha256(b"2").digest(), b"b/x\0" + hashlib.sha256(b"1").digest()]
    assert model_fingerprint(tmp_path) == hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_large_file_is_read_to_its_end(tmp_path):
    data = bytes(range(256)) * 4096 + b"and a little more than a block"
    (tmp_path / "m").write_bytes(data)
    assert model_fingerprint(tmp_path / "m") == hashlib.sha256(data).hexdigest()


def test_the_versions_are_those_that_are_installed_and_others_are_left_out(monkeypatch):
    found = tool_versions()
    assert (found["python"], found["numpy"]) == (platform.python_version(), metadata.version("numpy"))
    assert {"tf-keras", "tensorflow-model-optimization", "ai-edge-litert"} <= found.keys()

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert list(tool_versions()) == ["edgeopt", "python"]
