"""From a .tflite file to an .onnx file, by tf2onnx.

An int8 file becomes a QDQ file: each integer tensor stands between QuantizeLinear and DequantizeLinear with the scale
and zero point of the .tflite file, and weights and biases are its integers. So nothing is calibrated twice.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...artifact.scratch import scratch_folder
from ...errors import ConversionError, one_line
from ...evaluation.fidelity import snr_db
from ...flatbuffer import read_model
from ...flatbuffer.specs import input_specs
from ...onnxfile import read_onnx
from ..outputs import file_outputs
from .flattening import flattened
from .running import onnx_outputs
from .symmetric import symmetric
from .tidy import tidied

OPSET = 17  # of ONNX 1.12, which onnxruntime reads from 1.12 on and TensorRT from 8.5 on
_NOISE = 4  # samples
_SAME_DB = 60.0  # float files that differ in rounding alone have twice that
_UNKNOWN = "TFL_"  # how tf2onnx leaves an operator that it has no form for


@dataclass(frozen=True)
class OnnxFile:
    """An .onnx file and how it was made.

    Attributes:
        model: The file.
        facts: ``opset``, ``ops`` (operator to count), ``quantized`` (how many tensors stand between Quantize and
            Dequantize), and ``converter``.
    """

    model: bytes = field(repr=False)
    facts: dict[str, Any]


def export_onnx(tflite: bytes, names: tuple[Sequence[str], Sequence[str]], *, for_tensorrt: bool = False) -> OnnxFile:
    """Return the .onnx form of a .tflite file.

    Args:
        tflite: The file; its inputs and outputs are float32 or carry no scale.
        names: Of the model's inputs and of its outputs, in the order that the .onnx file gets.
        for_tensorrt: Make zero points 0 and biases float, as TensorRT asks; see `symmetric`.

    Raises:
        ConversionError: tf2onnx has no form of an operator.
    """
    import onnx
    import tf2onnx

    proto = tidied(_converted(tflite), names, {tensor.name for tensor in read_model(tflite).main.tensors})
    unknown = sorted({node.op_type for node in proto.graph.node if node.op_type.startswith(_UNKNOWN)})
    if unknown:
        raise _no_form(", ".join(name[len(_UNKNOWN) :] for name in unknown))
    if for_tensorrt:
        symmetric(proto)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # the checker's, and that of shape inference, have no common base
        raise ConversionError(f"tf2onnx made no valid file ({one_line(error)}); keep the .tflite file.") from error
    data = bytes(proto.SerializeToString(deterministic=True))
    found = read_onnx(data)
    if not found.ops.get("QuantizeLinear", 0):
        _hold_against(tflite, data)
    facts = {
        "opset": found.opset,
        "ops": found.ops,
        "quantized": found.ops.get("QuantizeLinear", 0),
        "converter": f"tf2onnx {tf2onnx.__version__}",
    }
    return OnnxFile(data, facts)


def _converted(tflite: bytes) -> Any:
    import tf2onnx

    with scratch_folder("onnx") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an interpreter that TensorFlow calls deprecated
        path = Path(folder) / "model.tflite"
        path.write_bytes(flattened(tflite))
        try:
            proto, _ = tf2onnx.convert.from_tflite(os.fspath(path), opset=OPSET)
        except Exception as error:  # whatever a handler of it fails with
            raise _no_form(one_line(error)) from error
    return proto


def _hold_against(tflite: bytes, made: bytes) -> None:
    """Raise unless a float file gives on noise what the .tflite file gives: tf2onnx is not without faults."""
    noise = np.random.default_rng(0)
    samples = {
        spec.name: noise.random((_NOISE, *spec.shape[1:]), np.float32).astype(spec.dtype)
        for spec in input_specs(read_model(tflite))
    }
    expected, got = file_outputs(tflite, samples), onnx_outputs(made, samples)
    worst = min(snr_db(values, got[name]) for name, values in expected.items())
    if worst < _SAME_DB:
        raise ConversionError(
            f"tf2onnx made a file whose outputs are not those of the .tflite file ({worst:.0f} dB of signal to noise); "
            "keep the .tflite file."
        )


def _no_form(what: str) -> ConversionError:
    return ConversionError(
        f"tf2onnx has no ONNX form of this file ({what}); convert to ONNX with --quantize float32, or keep the .tflite "
        "file."
    )
