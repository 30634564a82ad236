"""The ways of `quantization.py` to make an int8 file, each as whole processes of its own, and what they take.

litert-quantizer and Model Compression Toolkit (MCT) have an environment each in the work folder, made the first time.
MCT 2.6.1 raises on models with pooling, reshaping, padding or multiplication (ResNet-8 is one) under its own TFLite
platform, which asks two things of them that it then calls a contradiction; the environment's copy has that check taken
out.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "quantizers"
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
REQUIREMENTS = {
    "litert": ["litert-quantizer==0.11.0", "ai-edge-litert==2.3.0"],
    "mct": [
        *("model-compression-toolkit==2.6.1", "tensorflow==2.15.1", "tensorflow-model-optimization==0.8.1"),
        *("numpy<2", "protobuf<5"),
    ],
}
# Relative to the environment's site-packages.
MCT_FILE = "model_compression_toolkit/core/common/quantization/node_quantization_config.py"
MCT_CHECK = "if op_cfg.enable_activation_quantization and op_cfg.quantization_preserving:"


@dataclass(frozen=True)
class Job:
    """What is quantised: a model file of a Keras flavour, the samples that calibrate it, and the file to write."""

    keras: str
    model: Path
    samples: Path
    output: Path
    work: Path


class Refused(Exception):
    """A method that gives no file for a model, with its last words."""


@dataclass(frozen=True)
class Spent:
    """What the processes of a method took: seconds by the clock, and of all processors."""

    wall_s: float
    cpu_s: float


def quantize(method: str, job: Job) -> Spent:
    """Make a file by a method of `METHODS`.

    Raises:
        Refused: The method gave none.
    """
    commands = METHODS[method](job)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.unlink(missing_ok=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for command in commands:
        done = subprocess.run([str(word) for word in command], env=QUIET, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(_last_words(done.stderr))
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
    return Spent(round(wall, 2), round(cpu, 2))


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-1].split())[:200] if lines else "it ended without a word"


def float_file(job: Job) -> list[list[Any]]:
    """Return the commands of the float file: what all are compared with, and what litert-quantizer begins with."""
    return [[sys.executable, SCRIPTS / "plain.py", job.keras, job.model, job.output]]


def plain(job: Job) -> list[list[Any]]:
    """TFLiteConverter, full int8."""
    return [[sys.executable, SCRIPTS / "plain.py", job.keras, job.model, job.output, job.samples]]


def litert(job: Job) -> list[list[Any]]:
    """TFLiteConverter to float, which litert-quantizer quantises."""
    source = job.output.with_suffix(".float.tflite")
    to_float = [sys.executable, SCRIPTS / "plain.py", job.keras, job.model, source]
    return [to_float, [environment("litert", job.work), SCRIPTS / "litert.py", source, job.samples, job.output]]


def mct(job: Job) -> list[list[Any]]:
    """Model Compression Toolkit with its platform ``tflite``."""
    return [[environment("mct", job.work), SCRIPTS / "mct.py", job.model, job.samples, job.output]]


def edgeopt(options: list[str], job: Job) -> list[list[Any]]:
    """``edgeopt convert`` with options."""
    begin = [sys.executable, "-m", "edgeopt", "convert", job.model, "-o", job.output, "--force"]
    return [[*begin, *options, "--calibration", job.samples, "--calibration-samples", "200"]]


METHODS: dict[str, Callable[[Job], list[list[Any]]]] = {
    "float": float_file,
    "plain": plain,
    "litert-quantizer": litert,
    "mct": mct,
    "edgeopt-minmax": partial(edgeopt, ["--ranges", "minmax"]),
    "edgeopt-best": partial(edgeopt, ["--ranges", "best"]),
    "edgeopt-selective": partial(edgeopt, ["--float-ops", "auto", "--min-fidelity", "24"]),
    "edgeopt-recover": partial(edgeopt, ["--recover"]),
}


def environment(name: str, work: Path) -> Path:
    """Return the Python of an environment of `REQUIREMENTS`, made the first time."""
    folder = work / f"env-{name}"
    python, done = folder / "bin" / "python", folder / "done"
    if not done.is_file():
        run = partial(subprocess.run, check=True, stdout=sys.stderr)
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]])
        if name == "mct":
            patch_mct(folder)
        done.write_text(json.dumps(REQUIREMENTS[name]))
    return python


def patch_mct(folder: Path) -> None:
    """Take the check out of MCT's copy in an environment, after which such layers are quantised as all others."""
    (path,) = folder.glob(f"lib/python*/site-packages/{MCT_FILE}")
    text = path.read_text("utf-8")
    if MCT_CHECK not in text:
        raise ValueError(f"{path} is not that of model-compression-toolkit 2.6.1")
    path.write_text(text.replace(MCT_CHECK, "if False:  # taken out, see benchmarks/quantization_methods.py"), "utf-8")
