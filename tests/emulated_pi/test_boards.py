"""The emulated boards are what the other tests take them for: arm64, reached over SSH, with both runtimes."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.board, pytest.mark.heavy]

_IMPORTS = (
    "import platform, numpy, tflite_runtime.interpreter, ai_edge_litert.interpreter;"
    "print(platform.machine(), platform.python_version_tuple()[:2], numpy.__version__)"
)


def test_the_namespace_is_arm64_and_imports_both_runtimes(pi_namespace):
    assert pi_namespace.ssh(f"python3 -c '{_IMPORTS}'").split() == ["aarch64", "('3',", "'11')", "1.26.4"]


def test_the_machine_is_arm64_and_imports_both_runtimes(pi_vm):
    assert pi_vm.ssh(f"python3 -c '{_IMPORTS}'").split() == ["aarch64", "('3',", "'11')", "1.26.4"]


def test_the_machine_calls_itself_a_raspberry_pi_and_has_the_memory_of_a_small_one(pi_vm):
    assert pi_vm.ssh("cat /proc/device-tree/model") == "Raspberry Pi 4 Model B Rev 1.4\0"
    total_kb = int(pi_vm.ssh("grep MemTotal /proc/meminfo").split()[1])
    assert 400_000 < total_kb < 512 * 1024  # 512 MB less what the kernel keeps


def test_a_fresh_namespace_has_nothing_of_the_last_one(pi_namespace):
    assert pi_namespace.ssh("ls -A ~").split() == [".ssh"]
    with pytest.raises(RuntimeError, match="status 1"):
        pi_namespace.ssh("test -e /left-behind")
