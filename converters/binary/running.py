"""What a file with binary layers gives for samples, in Larq Compute Engine on this machine."""

from __future__ import annotations

import numpy as np

from ...data.dataset import Array
from ...flatbuffer import read_model
from ...flatbuffer.specs import input_specs, output_specs
from ..outputs import Samples


def larq_outputs(content: bytes, samples: Samples) -> dict[str, Array]:
    """Return what a file of batch 1 gives, by output name, as `edgeopt.converters.outputs.file_outputs` does.

    Args:
        content: The file.
        samples: Input name -> values of shape (samples, ...).

    Raises:
        RuntimeError: The engine does not run it.
    """
    from larq_compute_engine import testing

    model = read_model(content)
    given = [np.ascontiguousarray(samples[spec.name], dtype=spec.dtype) for spec in input_specs(model)]
    made = testing.Interpreter(content).predict(given)
    names = [spec.name for spec in output_specs(model)]
    return dict(zip(names, made if isinstance(made, list) else [made], strict=True))
