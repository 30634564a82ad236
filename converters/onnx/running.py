"""What an .onnx file gives for samples, in onnxruntime on this machine's CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.dataset import Array
from ...onnxfile import read_onnx
from ..outputs import Samples, count_of, groups, joined


def onnx_outputs(content: bytes, samples: Samples) -> dict[str, Array]:
    """Return what an .onnx file gives, by output name, as `edgeopt.converters.outputs.file_outputs` does.

    Args:
        content: The file.
        samples: Input name -> values of shape (samples, ...).
    """
    model = read_onnx(content)
    session = _session(content)
    shape = model.inputs[0].shape
    batch = max(1, shape[0]) if shape else 1
    names = [spec.name for spec in model.outputs]
    found: dict[str, list[Array]] = {name: [] for name in names}
    for group in groups(samples, batch):
        feed = {spec.name: np.ascontiguousarray(group[spec.name], dtype=spec.dtype) for spec in model.inputs}
        for name, value in zip(names, session.run(names, feed), strict=True):
            found[name].append(value)
    return {name: joined(parts, batch, count_of(samples)) for name, parts in found.items()}


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
