"""Golden vectors: samples and the outputs that one device gave, to be held against another later."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from ..artifact.atomic import write_atomically
from ..artifact.npz import read_npz
from ..artifact.outside import loads
from ..artifact.typed import fitted
from ..errors import FileFormatError, UsageError
from .agent.npy import NotAnArray
from .agent.records import TensorFacts
from .measurement import Evaluation, KernelProfile, Measurement, Output
from .measures import Measures
from .parity import Array, Limits, ParityReport, Samples, compare_measurements
from .plans import RunOptions
from .replies import check_outputs

FORMAT = 1
_INPUT, _OUTPUT, _META = "input/", "output/", "meta"


class _Meta(TypedDict):
    format: int
    sha256: str
    device: str
    machine: str
    kernel_profile: KernelProfile
    outputs: list[TensorFacts]


@dataclass(frozen=True, eq=False)
class Golden:
    """What was recorded.

    Attributes:
        sha256: SHA-256 of the model's bytes, in hex.
        inputs: The real values of each input by its name, shape ``(n, ...)``.
        measurement: The outputs, as the file stores them, with the kernel profile and the device.
    """

    sha256: str
    inputs: Samples
    measurement: Measurement

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as an .npz file without pickles.

        Raises:
            OutputError: It cannot be written.
        """
        outputs = self.measurement.evaluated().outputs
        scales = [{"name": o.name, "scale": o.scale, "zero_point": o.zero_point} for o in outputs]
        meta = {
            "format": FORMAT,
            "sha256": self.sha256,
            "device": self.measurement.device,
            "machine": self.measurement.machine,
            "kernel_profile": self.measurement.kernel_profile.to_dict(),
            "outputs": scales,
        }
        arrays = {f"{_INPUT}{name}": array for name, array in self.inputs.items()}
        arrays.update({f"{_OUTPUT}{place}": o.stored for place, o in enumerate(outputs)})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{_META: np.frombuffer(json.dumps(meta).encode(), np.uint8)}, **arrays)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Golden:
        """Read it.

        Raises:
            UsageError: The path cannot be read; `FileFormatError` when it is no golden file.
        """
        try:
            arrays = read_npz(path)
            meta: _Meta = fitted(_Meta, loads(arrays[_META].tobytes().decode()), "meta")
            if meta["format"] != FORMAT:
                raise ValueError(f"its format is {meta['format']}, expected {FORMAT}")
            return cls._from_arrays(arrays, meta)
        except OSError as error:
            raise UsageError(f"Cannot read {Path(path)}: {error.strerror or error}; check the path.") from error
        except KeyError as error:
            raise FileFormatError(f"{Path(path)} is no golden file: it lacks {error}; record it again.") from error
        except (ValueError, NotAnArray) as error:
            raise FileFormatError(f"{Path(path)} is no golden file ({error}); record it again.") from error

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, Array], meta: _Meta) -> Golden:
        inputs = {name[len(_INPUT) :]: array for name, array in arrays.items() if name.startswith(_INPUT)}
        stored = [arrays[f"{_OUTPUT}{place}"] for place in range(len(meta["outputs"]))]
        samples = len(stored[0]) if stored and stored[0].ndim else 0
        check_outputs(meta["outputs"], stored, samples)
        outputs = tuple(
            Output(item["name"], array, item["scale"], item["zero_point"])
            for item, array in zip(meta["outputs"], stored, strict=True)
        )
        evaluation = Evaluation(outputs, samples, 1, 1, (), 0.0, ())
        found = Measurement(meta["device"], meta["kernel_profile"], None, evaluation, (), meta["machine"])
        return cls(meta["sha256"], inputs, found)


def record(device: Measures, model: bytes, inputs: Samples, options: RunOptions) -> Golden:
    """Run samples on a device and return what is to be recorded.

    Raises:
        EdgeoptError: As in `Device.measure`.
    """
    return Golden(hashlib.sha256(model).hexdigest(), inputs, device.measure(model, inputs, options))


def hold_against(device: Measures, model: bytes, golden: Golden, limits: Limits, options: RunOptions) -> ParityReport:
    """Run the recorded samples on a device, with the recorded runtime and kernels, and compare.

    Raises:
        UsageError: It was recorded with another model.
        EdgeoptError: As in `Device.measure`.
    """
    found = hashlib.sha256(model).hexdigest()
    if found != golden.sha256:
        raise UsageError(
            f"The golden file belongs to the model {golden.sha256[:12]}, but this one is {found[:12]}; record it again."
        )
    return compare_measurements(limits, golden.measurement, device.measure(model, golden.inputs, options))
