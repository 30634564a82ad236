"""The pytest fixture `edgeopt_device`, run by a pytest of its own as a user would."""

from __future__ import annotations

import os
import subprocess
import sys

TEST = """
def test_a_model_runs(edgeopt_device):
    assert edgeopt_device.label == "this machine"
    assert edgeopt_device.info()["board"]["cores"] >= 1
"""


def run_pytest(folder, *words):
    (folder / "test_board.py").write_text(TEST)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "edgeopt.devices.pytest_plugin", *words]
    # Named here and loaded by its entry point, too, the plugin would be registered twice.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_fixture_is_this_machine_unless_another_is_named(tmp_path):
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_an_unknown_device_fails_with_its_name(tmp_path):
    done = run_pytest(tmp_path, "--edgeopt-device", "kitchen", "--edgeopt-devices", str(tmp_path / "none.toml"))
    assert done.returncode != 0
    assert "Unknown device 'kitchen'" in done.stdout


def test_a_setting_of_the_project_names_the_device(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nedgeopt_device = cellar\n")
    assert "Unknown device 'cellar'" in run_pytest(tmp_path).stdout


def test_loading_the_plugin_imports_neither_numpy_nor_a_device():
    code = (
        "import edgeopt.devices.pytest_plugin, sys;"
        "print([n for n in ('numpy', 'tensorflow', 'edgeopt.devices.device') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.stdout.strip() == "[]"
