"""Small models for the devices' tests, and the packed agent to run them with."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.devices import BenchPlan, Device, LocalTransport, RunOptions, load_profile, pack_agent

from ..flatbuffer.conftest import FileBuilder

# Those that are installed here; looked for, not imported: a runtime must not share a process with TensorFlow.
RUNTIMES = [name for name in ("ai_edge_litert", "tflite_runtime") if importlib.util.find_spec(name)]

QUICK = BenchPlan(1, 0.0, min_runs=5, max_runs=20, min_seconds=0, max_seconds=2, processes=1)


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed agent."""
    path = tmp_path_factory.mktemp("agent") / "edgeopt-agent.pyz"
    path.write_bytes(pack_agent())
    return path


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    """This machine as a device, with a work folder of the test's own, so that tests do not wait for each other."""
    with Device(LocalTransport(workdir=tmp_path / "work"), load_profile("local")) as found:
        yield found


@pytest.fixture
def quick() -> RunOptions:
    """A timing of a few runs."""
    return RunOptions(bench=QUICK)


@pytest.fixture
def untimed() -> RunOptions:
    """No timing."""
    return RunOptions(bench=None)


Talk = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def talk(agent: Path) -> Talk:
    """Return a function: send a request (a dict or raw bytes) to the real agent, close stdin after its reply."""

    def send(request: dict[str, Any] | bytes, *words: str, python: str = sys.executable) -> Any:
        line = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        with subprocess.Popen(
            [python, str(agent), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin and process.stdout and process.stderr
            process.stdin.write(line)
            process.stdin.flush()
            found = process.stdout.readline() + process.stdout.readline()  # an empty line, and the reply
            process.stdin.close()
            found += process.stdout.read()
            return subprocess.CompletedProcess(process.args, process.wait(60), found, process.stderr.read())

    return send


def reply_of(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """Return the reply among the lines of stdout."""
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert len(lines) == 1, done
    reply: dict[str, Any] = json.loads(lines[0])
    return reply


# --- models: each one operator or few, so that what they compute can be said in a line ---------------------------


def halving_model(batch: int = 1, width: int = 4) -> bytes:
    """x int8 (scale 0.5, zero point -3) -> y int8 (scale 1, zero point 0): QUANTIZE, so y = x, more coarsely."""
    file = FileBuilder()
    x = file.tensor([batch, width], name="x", scales=[0.5], zero_points=[-3])
    y = file.tensor([batch, width], name="y", scales=[1.0], zero_points=[0])
    file.operator("QUANTIZE", [x], [y], options="QuantizeOptions")
    return file.build([x], [y])


def float_model(dtype: str = "float32", width: int = 4) -> bytes:
    """y = max(x, 0), without any quantisation."""
    file = FileBuilder()
    x, y = file.tensor([1, width], dtype, name="x"), file.tensor([1, width], dtype, name="y")
    file.operator("RELU", [x], [y])
    return file.build([x], [y])


def two_input_model() -> bytes:
    """Inputs zebra, apple of one shape, in that order; outputs zoo = -zebra, air = max(apple, 0)."""
    file = FileBuilder()
    zebra, apple = file.tensor([1, 2], "float32", name="a:0"), file.tensor([1, 2], "float32", name="b:0")
    zoo, air = file.tensor([1, 2], "float32", name="c:0"), file.tensor([1, 2], "float32", name="d:0")
    file.operator("NEG", [zebra], [zoo], options="NegOptions")
    file.operator("RELU", [apple], [air])
    file.signature("serving_default", {"apple": apple, "zebra": zebra}, {"air": air, "zoo": zoo})
    return file.build([zebra, apple], [zoo, air])


def fixed_batch_model() -> bytes:
    """A RESHAPE to (1, 4) written into the file: no other batch fits through it."""
    file = FileBuilder()
    x, y = file.tensor([1, 2, 2], "float32", name="x"), file.tensor([1, 4], "float32", name="y")
    shape = file.tensor([2], "int32", name="shape", data=np.array([1, 4], np.int32))
    file.operator("RESHAPE", [x, shape], [y], options="ReshapeOptions", newShape=[1, 4])
    return file.build([x], [y])


def mixing_model() -> bytes:
    """y = x minus the mean over the batch: the samples of a batch change each other; one by one, y = 0."""
    file = FileBuilder()
    x = file.tensor([1, 4], "float32", name="x")
    axis = file.tensor([1], "int32", name="axis", data=np.array([0], np.int32))
    mean, y = file.tensor([1, 4], "float32", name="mean"), file.tensor([1, 4], "float32", name="y")
    file.operator("MEAN", [x, axis], [mean], options="ReducerOptions", keepDims=True)
    file.operator("SUB", [x, mean], [y], options="SubOptions")
    return file.build([x], [y])


def unbatched_output_model() -> bytes:
    """y = the sum of the whole input, a tensor without a batch dimension."""
    file = FileBuilder()
    x, y = file.tensor([1, 4], "float32", name="x"), file.tensor([4], "float32", name="y")
    axis = file.tensor([1], "int32", name="axis", data=np.array([0], np.int32))
    file.operator("SUM", [x, axis], [y], options="ReducerOptions", keepDims=False)
    return file.build([x], [y])


def summing_model() -> bytes:
    """y[t] = x[0] + ... + x[t] + what is left of the last invocation: a recurrent layer with a state."""
    file = FileBuilder()
    x, y = file.tensor([1, 3, 1], "float32", name="x"), file.tensor([1, 3, 1], "float32", name="y")
    one = np.ones((1, 1), np.float32)
    weights, recurrent = file.tensor([1, 1], "float32", data=one), file.tensor([1, 1], "float32", data=one)
    bias = file.tensor([1], "float32", data=np.zeros(1, np.float32))
    state = file.tensor([1, 1], "float32", name="state", isVariable=True)
    file.operator(
        "UNIDIRECTIONAL_SEQUENCE_RNN", [x, weights, recurrent, bias, state], [y], options="SequenceRNNOptions"
    )
    return file.build([x], [y])


def lookup_model() -> bytes:
    """Row x of a table of 3 rows (int32 input without a scale); another x fails at invoke."""
    file = FileBuilder()
    x, y = file.tensor([1], "int32", name="token"), file.tensor([1, 2], "float32", name="row")
    table = file.tensor([3, 2], "float32", name="table", data=np.arange(6, dtype=np.float32).reshape(3, 2))
    file.operator("GATHER", [table, x], [y], options="GatherOptions", axis=0)
    return file.build([x], [y])


def custom_operator_model() -> bytes:
    """An operator that no runtime knows."""
    file = FileBuilder()
    x, y = file.tensor([1, 4], "float32", name="x"), file.tensor([1, 4], "float32", name="y")
    file.operator("edgetpu-custom-op", [x], [y])
    return file.build([x], [y])


def classifier_model(classes: int = 3) -> bytes:
    """y = x as float32 (n, classes): the data decide what is predicted."""
    return float_model(width=classes)


# --- old Pythons ------------------------------------------------------------------------------------------------


def old_pythons() -> dict[str, str]:
    """Version -> path of each Python 3.7 to 3.9 on this machine: on the PATH, or where pyenv keeps them."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found: dict[str, str] = {}
    for version in ("3.7", "3.8", "3.9"):
        places = [shutil.which(f"python{version}"), *map(str, sorted(versions.glob(f"{version}.*/bin/python")))]
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        for place in filter(None, places):
            done = subprocess.run([place, "-c", code], capture_output=True, text=True, timeout=60)
            if done.stdout.strip() == version:
                found[version] = place
                break
    return found
