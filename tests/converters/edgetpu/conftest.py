"""Hand-written .tflite files, and an edgetpu_compiler that replays what the real one printed."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ...flatbuffer.conftest import FileBuilder

LOGS = Path(__file__).with_name("logs")


class Graph:
    """A chain of operators on int8 tensors, in few words."""

    def __init__(self) -> None:
        self.file = FileBuilder()
        self.inputs: list[int] = []

    def tensor(self, shape: Sequence[int], dtype: str = "int8", **fields: Any) -> int:
        """A computed tensor, quantised if it has 8 bits."""
        if dtype in ("int8", "uint8"):
            fields.setdefault("scales", [0.5])
        return self.file.tensor(shape, dtype, **fields)

    def input(self, shape: Sequence[int], dtype: str = "int8", **fields: Any) -> int:
        """A model input."""
        self.inputs.append(self.tensor(shape, dtype, **fields))
        return self.inputs[-1]

    def constant(self, values: Any, dtype: str = "int32", **fields: Any) -> int:
        """A constant."""
        array = np.asarray(values, dtype)
        if dtype in ("int8", "uint8"):
            fields.setdefault("scales", [0.1])
        return self.file.tensor(array.shape, dtype, data=array, **fields)

    def op(self, name: str, inputs: Sequence[int], shape: Sequence[int], dtype: str = "int8", **fields: Any) -> int:
        """An operator with one output, which is returned."""
        output = self.tensor(shape, dtype)
        self.file.operator(name, inputs, [output], **fields)
        return output

    def conv(self, x: int, shape: Sequence[int], kernel: Sequence[int], **fields: Any) -> int:
        """A convolution with constant weights of shape `kernel` (out, height, width, in)."""
        weights = self.constant(np.ones(kernel), "int8")
        bias = self.constant(np.zeros(kernel[0]))
        options = {"options": "Conv2DOptions", "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
        return self.op("CONV_2D", [x, weights, bias], shape, **{**options, **fields})

    def build(self, *outputs: int) -> bytes:
        """The file."""
        return self.file.build(self.inputs, list(outputs))


@pytest.fixture
def graph() -> Graph:
    """An empty graph to build on."""
    return Graph()


@pytest.fixture
def real_log() -> Callable[[str], str]:
    """Logs that the real compiler printed, as quoted in public issues (the file names say which)."""
    return lambda name: (LOGS / f"{name}.txt").read_text("utf-8")


STUB = """#!{python}
import os, shutil, signal, sys, time
behaviour, log, product, note = {behaviour!r}, {log!r}, {product!r}, {note!r}
arguments = sys.argv[1:]
open(note, "w").write("\\n".join([os.getcwd(), *arguments]))
if "--version" in arguments:
    print(behaviour if behaviour.startswith("version ") else "Edge TPU Compiler version 16.0.384591198")
    sys.exit(0)
if behaviour == "hang":
    child = os.fork()
    if child == 0:
        open(note + ".child", "w").write(str(os.getpid()))
    time.sleep(600)
if behaviour == "signal":
    print("Edge TPU Compiler version 16.0.384591198", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
if behaviour == "garbage":
    sys.stdout.buffer.write(bytes(range(256)) * 100_000)
    sys.exit(0)
out = arguments[arguments.index("-o") + 1]
for source in [word for word in arguments if word.endswith(".tflite")]:
    stem = source[:-len(".tflite")]
    target = os.path.join(out, stem + "_edgetpu.tflite")
    if behaviour == "truncated":
        open(target, "wb").write(open(product, "rb").read()[:1000])
    elif behaviour == "unmapped":
        shutil.copy(source, target)
    elif behaviour == "segments":
        for index in range(2):
            shutil.copy(product, os.path.join(out, f"{{stem}}_segment_{{index}}_of_2_edgetpu.tflite"))
    elif behaviour != "no file":
        shutil.copy(product, target)
print(log)
sys.exit(1 if behaviour == "fails" else 0)
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> Callable[..., Path]:
    """Install a stub compiler: stub(behaviour, log) -> the file in which it notes its folder and arguments.

    The real compiler is proprietary. The stub prints a real log and hands out the file that the real compiler made of
    the same model.
    """

    def install(behaviour: str = "works", log: str = "", model: str = "split_concat") -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        note = tmp_path / "called"
        product = str(shared_data / "coral" / f"{model}_edgetpu.tflite")
        path = folder / "edgetpu_compiler"
        path.write_text(
            STUB.format(python=sys.executable, behaviour=behaviour, log=log, product=product, note=str(note))
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return note

    return install


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds a real compiler by accident."""
    monkeypatch.delenv("EDGEOPT_EDGETPU_COMPILER", raising=False)
    monkeypatch.delenv("EDGEOPT_EDGETPU_IMAGE", raising=False)
