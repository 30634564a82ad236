"""The rows of `bits.py`: how each makes a task's file, and the runtime that scores it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from cifar10 import load_cifar10

import edgeopt

SHARED = Path(os.environ.get("EDGEOPT_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
ONNX = "onnxruntime"
CALIBRATION = 200
TEST_PHOTOS = 3000
# What rows that train see of CIFAR-10, once.
TRAIN_PHOTOS, RATE, BATCH = 12_000, 1e-4, 32
# Of each of the two stages of the binary row.
BINARY_EPOCHS = 4


@dataclass(frozen=True)
class Task:
    """A trained model and its data.

    Attributes:
        model: The path of the model.
        calibration: Returns samples.
        test: Returns samples that nothing else saw, with labels.
        train: Returns samples with labels to train on; None where there are none.
    """

    model: Path
    calibration: Callable[[], Any]
    test: Callable[[], tuple[Any, Any]]
    train: Callable[[], tuple[Any, Any]] | None = None


@dataclass(frozen=True)
class Row:
    """What is done to a task's model.

    Attributes:
        title: In the table.
        make: Writes the file of a task to a path.
        tasks: For which tasks.
        runtime: That scores it.
        note: What else is to be known of it.
        suffix: Of the file's name.
    """

    title: str
    make: Callable[[Task, Path], None]
    tasks: tuple[str, ...] = ("kws", "cifar10")
    runtime: str = "ai_edge_litert"
    note: str = ""
    suffix: str = ".tflite"


@dataclass(frozen=True)
class Made:
    """A file and the runtime that scores it."""

    path: Path
    runtime: str

    @property
    def own_runtimes(self) -> tuple[str, ...]:
        """Those that the table has no column for."""
        return () if self.runtime in ("ai_edge_litert", "tflite_runtime") else (self.runtime,)


@cache
def _keywords() -> tuple[Any, Any, Any]:
    from edgeopt.data.calibration import choose_samples

    with np.load(SHARED / "kws" / "test.npz") as held:
        x, y = held["x"], held["y"]
    chosen = choose_samples(len(x), y, CALIBRATION, 0)
    rest = np.setdiff1d(np.arange(len(x)), chosen)
    return x[chosen], x[rest], y[rest]


@cache
def _photos(name: str, count: int) -> tuple[Any, Any]:
    return load_cifar10(SHARED / "cifar10" / f"{name}_jpeg.npz", count)


TASKS = {
    "kws": Task(SHARED / "kws" / "ref_saved_model", lambda: _keywords()[0], lambda: _keywords()[1:]),
    "cifar10": Task(
        SHARED / "cifar10" / "mlperf_resnet8.h5",
        lambda: _photos("train", CALIBRATION)[0],
        lambda: _photos("test", TEST_PHOTOS),
        lambda: _photos("train", TRAIN_PHOTOS),
    ),
}


def converted(task: Task, path: Path, **options: Any) -> None:
    """Convert the model as it is."""
    given = {"calibration": task.calibration()} if options["quantize"].startswith("int8") else {}
    path.write_bytes(edgeopt.convert(str(task.model), **given, **options).model)


def two_bits(task: Task, path: Path) -> None:
    """2-bit weights by litert-quantizer, which has them for float activations only."""
    from litert_quantizer.qtyping import TFLOperationName as Name
    from litert_quantizer.quantizer import Quantizer
    from litert_quantizer.recipe_manager import RecipeManager

    manager = RecipeManager()
    for kind in ("CONV_2D", "FULLY_CONNECTED"):
        manager.add_dynamic_config(".*", Name[kind], 2)
    file = edgeopt.convert(str(task.model), quantize="float32").model
    quantizer = Quantizer(bytearray(file), manager.get_quantization_recipe())
    path.write_bytes(bytes(quantizer.quantize(enable_progress_report=False).quantized_model))


def trained(task: Task, path: Path, bits: int) -> None:
    """Train once through some of the data: as float, or quantised with weights of so many bits."""
    import tf_keras

    from edgeopt.passes.finetune import FineTune
    from edgeopt.passes.qat import Qat
    from edgeopt.training import PassContext, Training

    x, labels = task.train()
    context = PassContext(train=(x, labels), loss="sparse_categorical_crossentropy")
    training = Training(epochs=1, batch_size=BATCH, learning_rate=RATE)
    model = tf_keras.models.load_model(task.model, compile=False)
    if bits == 32:
        file = edgeopt.convert(FineTune(training=training).apply(model, context).model, quantize="float32")
    else:
        exported = Qat(training=training, weight_bits=bits).apply(model, context).exported
        file = edgeopt.convert(exported, quantize="int8w4" if bits == 4 else "int8")
    path.write_bytes(file.model)


def trained_two_bits(task: Task, path: Path) -> None:
    """Train with the weights -1, 0 and 1 of a channel; as an int8 file, since nothing runs int8 with 2-bit weights."""
    from edgeopt.passes.qat import qat, ranges

    ranges.LEVELS[2] = 1.0
    qat.WEIGHT_BITS = (*qat.WEIGHT_BITS, 2)
    trained(task, path, bits=2)


def binary(task: Task, path: Path) -> None:
    """Train twice, for signs as inputs and then as weights."""
    (name,) = (name for name, other in TASKS.items() if other is task)
    command = [sys.executable, str(Path(__file__).with_name("bits_binary.py")), name, str(path), str(BINARY_EPOCHS)]
    subprocess.run(command, check=True, env={**os.environ, "TF_USE_LEGACY_KERAS": "1"})


onnx = partial(converted, to="onnx")
ROWS = {
    "float32": Row("float32", partial(converted, quantize="float32")),
    "float16": Row("float16, for a GPU", partial(converted, quantize="float16")),
    "int8": Row("int8", partial(converted, quantize="int8")),
    "int8w4": Row("int8w4, rounded to the nearest", partial(converted, quantize="int8w4")),
    "int8w4-recover": Row("int8w4 `--recover`", partial(converted, quantize="int8w4", recover=True)),
    "dynamic4": Row("dynamic4", partial(converted, quantize="dynamic4")),
    "dynamic2": Row("2-bit weights, float activations (no mode)", two_bits),
    "onnx-float32": Row(
        "ONNX, float32", partial(converted, quantize="float32", to="onnx"), suffix=".onnx", runtime=ONNX
    ),
    "onnx-int8": Row("ONNX, int8 (QDQ)", partial(converted, quantize="int8", to="onnx"), suffix=".onnx", runtime=ONNX),
    "tuned-float32": Row("float32, trained once more", partial(trained, bits=32), ("cifar10",)),
    "qat-int8": Row("int8, trained for it (qat)", partial(trained, bits=8), ("cifar10",)),
    "qat-two-bits": Row("2-bit weights, trained, in an int8 file (no mode)", trained_two_bits, ("cifar10",)),
    "binary": Row("binary (binarize)", binary, ("cifar10",), "larq_compute_engine"),
    "qat-int8w4": Row("int8w4, trained for it (qat)", partial(trained, bits=4), ("cifar10",)),
}
