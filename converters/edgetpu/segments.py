"""The parts of a model that is cut for a pipeline: what each reads and writes, and whether they fit.

A pipeline hands the outputs of each part to the next one by tensor name (libcoral's `PipelinedModelRunner`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...flatbuffer import Model
from ...flatbuffer.specs import TensorSpec, input_specs, output_specs
from ..accelerator import histogram
from .package import CUSTOM_OP, Package, packages

_NUMBERED = re.compile(r"_segment_(\d+)_of_(\d+)(?:_edgetpu)?\.tflite$")


@dataclass(frozen=True)
class Segment:
    """One part.

    Attributes:
        name: The segment's file name.
        inputs: The tensors that it reads.
        outputs: The tensors that it writes.
        cpu_ops: Histogram of the operators that it leaves on the CPU.
        packages: What is inside for the chip; empty for a part that is not compiled.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cpu_ops: dict[str, int]
    packages: tuple[Package, ...]

    @property
    def cached_bytes(self) -> int:
        """Weights that stay in the chip's memory between inferences."""
        return sum(package.cached_bytes for package in self.packages)

    @property
    def streamed_bytes(self) -> int:
        """Weights that are sent anew with every inference."""
        return sum(package.streamed_bytes for package in self.packages)

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {
            "name": self.name,
            "compiled": bool(self.packages),
            "inputs": [spec.to_dict() for spec in self.inputs],
            "outputs": [spec.to_dict() for spec in self.outputs],
            "cpu_ops": dict(self.cpu_ops),
            "cached_bytes": self.cached_bytes,
            "streamed_bytes": self.streamed_bytes,
        }


def read_segment(model: Model, name: str) -> Segment:
    """Return what one part reads, writes and holds.

    Raises:
        FileFormatError: Its package is corrupt.
    """
    left = histogram(operator.name for operator in model.main.operators if operator.name != CUSTOM_OP)
    return Segment(name, input_specs(model), output_specs(model), left, packages(model, name))


def problems(segments: Sequence[Segment]) -> tuple[str, ...]:
    """Return what keeps the parts, in this order, from being a pipeline; nothing when they are one.

    Parts that are compiled must hand all that they write to the very next one. Where none is compiled, as `cutting.cut`
    makes them, a tensor may also go past some parts, be an input of the whole, or one of its outputs.
    """
    found = _numbering([segment.name for segment in segments])
    compiled = any(segment.packages for segment in segments)
    for before, after in itertools.pairwise(segments):
        given = {spec.tensor_name: spec for spec in before.outputs}
        wanted = {spec.tensor_name: spec for spec in after.inputs}
        if compiled or not given.keys() & wanted.keys():
            found += [
                f"{after.name} reads {name!r}, which {before.name} does not write"
                for name in wanted
                if name not in given
            ]
            found += [
                f"{before.name} writes {name!r}, which {after.name} does not read"
                for name in given
                if name not in wanted
            ]
        for name in given.keys() & wanted.keys():
            found += _differences(before.name, after.name, given[name], wanted[name])
    if compiled:
        found += [f"{segment.name} is not compiled for the Edge TPU" for segment in segments if not segment.packages]
    return tuple(found)


def _differences(before: str, after: str, given: TensorSpec, wanted: TensorSpec) -> list[str]:
    return [
        f"{given.tensor_name!r}: {field} {getattr(given, field)} in {before}, {getattr(wanted, field)} in {after}"
        for field in ("shape", "dtype", "scale", "zero_point")
        if getattr(given, field) != getattr(wanted, field)
    ]


def _numbering(names: Sequence[str]) -> list[str]:
    """Compare the file names' own numbers, where they have them, with the order and the count."""
    numbers = [_NUMBERED.search(name) for name in names]
    found = []
    for position, (name, match) in enumerate(zip(names, numbers, strict=True)):
        if match and int(match.group(1)) != position:
            found.append(f"{name} is part {match.group(1)} by its name, but stands at place {position}")
        if match and int(match.group(2)) != len(names):
            found.append(f"{name} is one of {match.group(2)} parts by its name, but {len(names)} are given")
    return found
