"""How long `edgeopt convert` takes beside the script that a user would write, as whole processes, interleaved.

    python benchmarks/convert.py [--runs 3] [--images 100] [--flavours tf_keras,keras]

MobileNetV2-224, full int8. Prints one Markdown row per Keras flavour: the ratio edgeopt/script (median of the rounds,
minimum and maximum), as `edgeopt convert` is, and with `--ranges minmax`, as the script's are; and whether that file
and the script's give the same integers, output for output.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

USUAL_SCRIPT = """
import numpy as np, tensorflow as tf
import {keras} as keras
images = np.load("{samples}")["x"]
model = keras.models.load_model("{model}")
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[None]] for image in images)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
open("{output}", "wb").write(converter.convert())
"""
MAKE_MODEL = """
import {keras} as keras
keras.utils.set_random_seed(0)
keras.applications.MobileNetV2(weights=None).save("{model}")
"""
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def seconds_of(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True, env=QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - started


def outputs_of(file: Path, images: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    results = []
    for image in images:
        quantised = np.clip(np.round(image / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], quantised[None])
        interpreter.invoke()
        results.append(interpreter.get_tensor(target["index"]))
    return np.concatenate(results)


def compare(flavour: str, folder: Path, runs: int, images: int) -> str:
    model = folder / ("model.keras" if flavour == "keras" else "model.h5")
    samples = folder / "samples.npz"
    data = np.random.default_rng(0).uniform(-1, 1, (images, 224, 224, 3)).astype(np.float32)
    np.savez(samples, x=data)
    seconds_of([sys.executable, "-c", MAKE_MODEL.format(keras=flavour, model=model)])
    usual_file, edgeopt_file = folder / "usual.tflite", folder / "edgeopt.tflite"
    script = folder / "usual.py"
    script.write_text(USUAL_SCRIPT.format(keras=flavour, samples=samples, model=model, output=usual_file))
    usual_command = [sys.executable, str(script)]
    edgeopt_command = [
        *(sys.executable, "-m", "edgeopt", "convert", str(model), "-o", str(edgeopt_file)),
        *("--calibration", str(samples), "--calibration-samples", str(images), "--force"),
    ]
    as_script = [*edgeopt_command, "--ranges", "minmax"]
    ratios: tuple[list[float], list[float]] = ([], [])
    for run in range(runs):
        # Whichever file is written last is compared with the script's: that of its ranges.
        usual, default, minmax = (seconds_of(command) for command in (usual_command, edgeopt_command, as_script))
        print(f"{flavour} {run + 1}: script {usual:.1f} s, edgeopt {default:.1f}, minmax {minmax:.1f}", file=sys.stderr)
        ratios[0].append(default / usual)
        ratios[1].append(minmax / usual)
    same = np.array_equal(outputs_of(usual_file, data[:20]), outputs_of(edgeopt_file, data[:20]))
    cells = [f"{statistics.median(some):.2f} ({min(some):.2f}-{max(some):.2f})" for some in ratios]
    return f"| MobileNetV2-224, {flavour}, {images} images | {' | '.join(cells)} | {runs} | {'yes' if same else 'NO'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--flavours", default="tf_keras,keras")
    arguments = parser.parse_args()
    rows = []
    for flavour in arguments.flavours.split(","):
        with tempfile.TemporaryDirectory() as name:
            rows.append(compare(flavour, Path(name), arguments.runs, arguments.images))
    print("| model | time, edgeopt / script (min-max) | with `--ranges minmax` | rounds | same outputs then |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
