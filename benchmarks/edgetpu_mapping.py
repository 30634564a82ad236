"""The Edge TPU prediction against what Google's compiler did, on models that lie beside their compiled form.

    python benchmarks/edgetpu_mapping.py [FOLDER] [--per-op]

FOLDER holds pairs ``x.tflite`` and ``x_edgetpu.tflite`` (google-coral/test_data has them); no compiler and no board are
needed. Prints Markdown: one row a pair (operators left on the CPU, predicted and real; stored parameters, predicted and
read from the package), and with --per-op precision and recall of "left on the CPU" for each kind of operator, over all
pairs. Doubtful operators count as neither and are shown apart. Ends with status 1 where a pair disagrees.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgeopt.converters.edgetpu.package import CUSTOM_OP, packages
from edgeopt.converters.edgetpu.predict import EdgeTpuPredictor
from edgeopt.flatbuffer import Model, load_model

DEFAULT = Path(os.environ.get("EDGEOPT_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data")) / "coral"


@dataclass(frozen=True)
class Pair:
    """One model: what was predicted and what is so."""

    name: str
    operators: Counter[str]
    predicted: Counter[str]
    unsure: Counter[str]
    real: Counter[str]
    predicted_bytes: int
    real_bytes: int

    @property
    def agrees(self) -> bool:
        """Whether the prediction is right, and sure of it."""
        return self.predicted == self.real and not self.unsure

    @property
    def error(self) -> float:
        """Relative error of the stored bytes; 0 where nothing is stored."""
        return (self.predicted_bytes - self.real_bytes) / self.real_bytes if self.real_bytes else 0.0


def count(model: Model) -> Counter[str]:
    return Counter(operator.name for operator in model.main.operators)


def compare(plain: Path, compiled: Path) -> Pair:
    source, target = load_model(plain), load_model(compiled)
    found = EdgeTpuPredictor().predict(source)
    left = count(target)
    del left[CUSTOM_OP]
    return Pair(
        name=plain.stem,
        operators=count(source),
        predicted=Counter(found.cpu_ops),
        unsure=Counter(found.unsure_ops),
        real=left,
        predicted_bytes=found.parameters_cached_bytes or 0,
        real_bytes=sum(package.cached_bytes for package in packages(target)),
    )


def words(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"


def rows(pairs: list[Pair]) -> list[str]:
    head = "| model | operators | on the CPU | predicted | parameters stored | predicted | error |"
    lines = [head, "|---|--:|---|---|--:|--:|--:|"]
    for pair in pairs:
        guess = "the same" if pair.agrees else words(pair.predicted)
        doubt = f"; unsure: {words(pair.unsure)}" if pair.unsure else ""
        sizes = f"{pair.real_bytes:,} | {pair.predicted_bytes:,} | {100 * pair.error:+.1f} %"
        lines.append(f"| {pair.name} | {pair.operators.total()} | {words(pair.real)} | {guess}{doubt} | {sizes} |")
    return lines


def operator_rows(pairs: list[Pair]) -> list[str]:
    """Precision and recall of "left on the CPU": matches are counted pair by pair, operator by operator."""
    lines = [
        "",
        "| operator | in all pairs | on the CPU | predicted | precision | recall |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, total in sum((pair.operators for pair in pairs), Counter()).most_common():
        real = sum(pair.real[name] for pair in pairs)
        predicted = sum(pair.predicted[name] for pair in pairs)
        both = sum(min(pair.real[name], pair.predicted[name]) for pair in pairs)
        precision = f"{both / predicted:.2f}" if predicted else "-"
        recall = f"{both / real:.2f}" if real else "-"
        lines.append(f"| {name} | {total} | {real} | {predicted} | {precision} | {recall} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("--per-op", action="store_true", help="also print precision and recall for each operator")
    given = parser.parse_args()
    couples = [(path, path.with_name(f"{path.stem}_edgetpu.tflite")) for path in sorted(given.folder.glob("*.tflite"))]
    pairs = [compare(plain, compiled) for plain, compiled in couples if compiled.is_file()]
    if not pairs:
        parser.error(f"{given.folder} holds no pair x.tflite and x_edgetpu.tflite")
    print("\n".join(rows(pairs)))
    if given.per_op:
        print("\n".join(operator_rows(pairs)))
    agreeing = sum(pair.agrees for pair in pairs)
    print(f"\n{agreeing} of {len(pairs)} pairs agree operator for operator.")
    return 0 if agreeing == len(pairs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
