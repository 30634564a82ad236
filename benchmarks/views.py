"""What int8 costs MobileNetV2, told more finely: eight views of each photo, and five splits of the photos.

    python benchmarks/views.py [--methods 'best,recover'] [--work FOLDER] [--write docs/quantization.md]

Of 1000 photos, 200 calibrate and 800 test, five times. A view is the photo, or a part of a larger copy, some of them
mirrored: each meets other ties of two classes, so that the mean over the views of a photo varies less than one view. An
interval is a bootstrap over photos. Files and figures are kept in the work folder, and taken from there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from markers import write_between
from quantization_measure import outputs
from quantization_models import CALIBRATION, SHARED, normalised, pictures

import edgeopt
from edgeopt.evaluation.bootstrap import mean_interval
from edgeopt.evaluation.fidelity import snr_db

MARKER = "begin: python benchmarks/views.py --write docs/quantization.md"
MODEL = SHARED / "imagenet" / "mobilenet_v2.h5"
SPLITS = (0, 1, 2, 3, 4)  # the first is that of `quantization.py`
LARGER = 240  # pixels a side
# Where its part of 224 pixels begins, and whether it is mirrored; None for the photo as it is.
VIEWS = (
    None, (8, 8, False), (0, 0, True), (16, 16, False), (0, 16, True), (16, 0, False), (8, 8, True), (4, 11, False),
)  # fmt: skip
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "minmax": ("`--ranges minmax --no-repair`", {"ranges": "minmax", "repair": False}),
    "best": ("as `convert` does it", {}),
    "recover": ("`--recover`", {"recover": True}),
    "float_ops": ("`--float-ops 2`", {"float_ops": 2}),
}


def views(photo: Any) -> Any:
    """Return the views of a photo: (views, 224, 224, 3), as the model takes them."""
    from PIL import Image

    larger, found = photo.resize((LARGER, LARGER), Image.Resampling.BILINEAR), [np.asarray(photo)]
    for view in VIEWS:
        if view is not None:
            left, top, mirrored = view
            part = np.asarray(larger.crop((left, top, left + photo.width, top + photo.height)))
            found.append(part[:, ::-1] if mirrored else part)
    return normalised(np.stack(found))


def told(file: Path, photos: Iterable[Any]) -> Any:
    """Return what a file says of all views of photos: (photos, views, classes)."""
    kept = file.with_suffix(".npy")
    if not kept.is_file():
        np.save(kept, np.stack([outputs(file, views(photo)) for photo in photos]).astype(np.float32))
    return np.load(kept)


def made(name: str, work: Path, photos: Any = None, **options: Any) -> Path:
    """Return the file of these options, converted unless it is there."""
    file = work / f"{name}.tflite"
    if not file.is_file():
        edgeopt.convert(str(MODEL), calibration=photos, **options).save(file)
    return file


def drops(method: str, work: Path) -> Iterator[dict[str, Any]]:
    """Yield each split's figures: of the photo itself, of all views, and of each photo that tests."""
    picture, labels = pictures()
    expected = told(made("float", work, quantize="float32"), map(picture, range(len(labels))))
    right = expected.argmax(axis=-1) == labels[:, None]
    for seed in SPLITS:
        order = np.random.default_rng(seed).permutation(len(labels))
        calibration, tested = order[:CALIBRATION], np.sort(order[CALIBRATION:])
        photos = normalised(np.stack([np.asarray(picture(number)) for number in calibration]))
        found = told(made(f"{method}-{seed}", work, photos, **METHODS[method][1]), map(picture, tested))
        lost = 100.0 * (right[tested].astype(float) - (found.argmax(axis=-1) == labels[tested, None]))
        yield {
            "plain": float(lost[:, 0].mean()),
            "views": float(lost.mean()),
            "snr_db": snr_db(expected[tested][:, 0], found[:, 0]),
            "photos": dict(zip(tested.tolist(), lost.mean(axis=1).tolist(), strict=True)),
        }


def line(method: str, splits: list[dict[str, Any]]) -> str:
    """Return a row of the table."""
    numbers = sorted({int(number) for split in splits for number in split["photos"]})
    by_photo = [{int(number): value for number, value in split["photos"].items()} for split in splits]
    means = np.array([np.mean([held[n] for held in by_photo if n in held]) for n in numbers])
    low, high = mean_interval(means, scale=100)
    each = ", ".join(f"{split['views']:.1f}" for split in splits)
    plain, snr = (np.mean([split[key] for split in splits]) for key in ("plain", "snr_db"))
    return f"| {METHODS[method][0]} | {plain:.1f} | {means.mean():.2f} ({low:.2f} to {high:.2f}) | {each} | {snr:.1f} |"


def main() -> None:
    """Measure what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas")
    parser.add_argument("--work", type=Path, default=Path("edgeopt-views"), help="files and outputs")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into a page, too")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = ["| | drop, the photos alone | drop, eight views (95 %) | of each split | dB |", "|---|---|---|---|---|"]
    for method in arguments.methods.split(","):
        kept = arguments.work / f"{method}.json"
        if not kept.is_file():
            kept.write_text(json.dumps(list(drops(method, arguments.work))))
        rows.append(line(method, json.loads(kept.read_text())))
        print(rows[-1], flush=True)
    if arguments.write:
        write_between(arguments.write, MARKER, "\n".join(rows))


if __name__ == "__main__":
    main()
