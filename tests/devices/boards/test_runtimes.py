"""The table of runtimes: which wheel a board gets, and which pairings are refused."""

from __future__ import annotations

import pytest

from edgeopt.devices.boards.runtimes import BoardFacts, choose
from edgeopt.errors import DeviceError


@pytest.mark.parametrize(
    ("board", "python", "glibc", "machine", "package", "version"),
    [
        ("Raspberry Pi OS 12", (3, 11), (2, 36), "aarch64", "ai-edge-litert", "2.3.0"),
        ("Raspberry Pi OS 13", (3, 13), (2, 41), "aarch64", "ai-edge-litert", "2.3.0"),
        ("Raspberry Pi OS 11", (3, 9), (2, 31), "aarch64", "tflite-runtime", "2.13.0"),
        ("Raspberry Pi OS 12, 32 bit", (3, 11), (2, 36), "armv7l", "tflite-runtime", "2.14.0"),
        ("Mendel 5", (3, 7), (2, 28), "aarch64", "tflite-runtime", "2.11.0"),
        ("Ubuntu 22.04", (3, 10), (2, 35), "aarch64", "ai-edge-litert", "2.3.0"),
    ],
)
def test_each_system_gets_the_newest_runtime_that_was_built_for_it(board, python, glibc, machine, package, version):
    found = choose(BoardFacts(python, glibc, machine))
    assert (found.package, found.version) == (package, version), board


def test_a_runtime_that_is_asked_for_is_taken():
    found = choose(BoardFacts((3, 11), (2, 36), "aarch64"), "tflite_runtime")
    assert (found.version, found.numpy) == ("2.14.0", "numpy<2")


@pytest.mark.parametrize(
    ("python", "glibc", "machine", "runtime"),
    [
        ((3, 12), (2, 39), "armv7l", None),
        ((3, 14), (2, 41), "aarch64", None),
        ((3, 6), (2, 27), "aarch64", None),
        ((3, 11), (2, 36), "riscv64", None),
        ((3, 12), (2, 39), "aarch64", "tflite-runtime"),
        ((3, 11), (2, 26), "aarch64", "ai-edge-litert"),
        ((2, 11), (2, 36), "aarch64", None),
    ],
)
def test_a_pairing_that_was_never_built_is_refused(python, glibc, machine, runtime):
    with pytest.raises(DeviceError, match="No TFLite runtime was built for"):
        choose(BoardFacts(python, glibc, machine), runtime)


def test_an_unknown_runtime_is_named():
    with pytest.raises(DeviceError, match="Unknown runtime 'onnx'"):
        choose(BoardFacts((3, 11), (2, 36), "aarch64"), "onnx")
