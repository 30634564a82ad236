"""What an Edge TPU would run of a Keras model, before anything is compiled: `python coral.py model.keras train.npz`."""

from __future__ import annotations

import argparse

import edgeopt
from edgeopt.converters.accelerator import accelerator


def main() -> None:
    """Convert as the compiler wants it, and print what would stay on the CPU, and why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("calibration")
    options = parser.parse_args()

    artifact = edgeopt.convert(options.model, calibration=options.calibration, **accelerator("edgetpu").wants.recipe)
    file = artifact.save("coral.tflite")
    for item in edgeopt.check_model(file, target="edgetpu").items:
        print(f"{item.verdict:8} {item.name} {item.reason or ''}")


if __name__ == "__main__":
    main()
