"""The packed agent: the same bytes everywhere, whole, and honest on a Python that is too old."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

from edgeopt.devices.pack import agent_sources, pack_agent

HASH = "import hashlib; from edgeopt.devices import pack_agent; print(hashlib.sha256(pack_agent()).hexdigest())"


def test_another_process_at_another_time_in_another_place_packs_the_same_bytes(tmp_path: Path) -> None:
    environment = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HASH], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout.strip() == hashlib.sha256(pack_agent()).hexdigest()


def test_it_holds_every_module_of_the_agent_and_nothing_else(checkout: Path) -> None:
    with zipfile.ZipFile(BytesIO(pack_agent())) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
        assert archive.testzip() is None
    assert "__main__.py" in found
    del found["__main__.py"]
    sources = {f"edgeopt_agent/{path.name}": path.read_bytes() for path in (checkout / "devices/agent").glob("*.py")}
    assert found == sources


def test_it_starts_with_a_shebang() -> None:
    assert pack_agent().startswith(b"#!/usr/bin/env python3\n")


def test_its_entry_compiles_under_a_python_that_lacks_every_newer_spelling() -> None:
    with zipfile.ZipFile(BytesIO(pack_agent())) as archive:
        entry = archive.read("__main__.py").decode()
    tree = ast.parse(entry, feature_version=(3, 4))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.AnnAssign)]
    assert "needs Python 3.7 or later" in entry


def test_modules_import_only_each_other_the_standard_library_numpy_and_a_runtime() -> None:
    known = {*sys.stdlib_module_names, "numpy"}
    for name, source in agent_sources().items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= known, name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.module or "").split(".")[0] in known, name


def test_without_numpy_the_modules_of_the_agent_s_own_process_still_import() -> None:
    own = [
        "byhand",
        "conditions",
        "main",
        "protocol",
        "runtimes",
        "serve",
        "streams",
        "supervisor",
        "tables",
        "workfolder",
    ]
    code = f"import sys; sys.modules['numpy'] = None\nfor name in {own}: __import__('edgeopt.devices.agent.' + name)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
