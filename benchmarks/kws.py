"""Keyword spotting, end to end: MLPerf Tiny's DS-CNN as float, and int8 files of TFLiteConverter, edgeopt and MLPerf.

    python benchmarks/kws.py [--data ../shared/data/kws]

Calibrates on 200 seeded samples of the 1000 real ones and scores all models on the other 800 (`validate` counts
samples that calibrated a file apart). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

import edgeopt
from edgeopt.data.calibration import choose_samples
from edgeopt.data.dataset import load_dataset
from edgeopt.evaluation.tango import share_interval

DEFAULT = Path(os.environ.get("EDGEOPT_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data")) / "kws"


def row(name: str, accuracy: float, count: int, size: int, latency: str) -> str:
    low, high = share_interval(round(accuracy * count), count)
    return f"| {name} | {accuracy:.4f} ({low:.4f}-{high:.4f}) | {size:,} | {latency} |"


def plainly_converted(model: Path, samples: np.ndarray) -> bytes:
    """Return the file that the lines of TensorFlow's guide give."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None].astype(np.float32)] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT)
    folder = parser.parse_args().data
    dataset = load_dataset(folder / "test.npz")
    chosen = choose_samples(dataset.count, dataset.labels, 200, 0)
    rest = np.setdiff1d(np.arange(dataset.count), chosen)
    calibration, held_out = dataset.take(chosen), dataset.take(rest)
    model = folder / "ref_saved_model"

    test = (held_out.arrays[0], held_out.labels)
    with tempfile.TemporaryDirectory() as name:
        plain = Path(name) / "plain_int8.tflite"
        plain.write_bytes(plainly_converted(model, calibration.arrays[0]))
        files = {"int8 by TFLiteConverter": plain}
        for title, recover in (("int8 by edgeopt", False), ("int8 by edgeopt, `--recover`", True)):
            artifact = edgeopt.convert(str(model), calibration=calibration.arrays[0], recover=recover)
            files[title] = artifact.save(Path(name) / f"kws_{recover}.tflite")
        files["int8 by MLPerf Tiny"] = folder / "ref_int8.tflite"
        found = {
            title: edgeopt.validate(str(path), data=test, baseline=str(model) if path == plain else None).to_dict()
            for title, path in files.items()
        }
    first = found["int8 by TFLiteConverter"]
    count = held_out.count
    size = sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
    rows = [row("float SavedModel", first["baseline_accuracy"], count, size, "-")]
    for title, report in found.items():
        rows.append(row(title, report["accuracy"], count, report["size_bytes"], f"{report['latency_ms']['p50']:.3f}"))
    profile = first["kernel_profile"]
    conditions = f"{profile['runtime']} {profile['version']}, {profile['threads']} thread, this machine, not a board"
    print(f"{count} held-out samples; {conditions}\n")
    print("| model | accuracy (95 % interval) | bytes | p50 ms |\n|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
