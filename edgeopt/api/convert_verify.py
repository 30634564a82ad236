"""Read a converted file back and hold it to what was asked for: int8 means int8."""

from __future__ import annotations

from typing import Any

from ..errors import ConversionError, NotFullyIntegerError
from ..flatbuffer import Model, read_model
from ..flatbuffer.integer import FloatOperator, dynamic_dimensions, float_ops, fully_int8, granularity
from ..flatbuffer.macs import macs
from ..flatbuffer.memory import memory_use
from ..flatbuffer.specs import input_specs, output_specs
from ..flatbuffer.totals import gzip_bytes, op_histogram, parameters
from ..recipe import ConvertRecipe

_SHOWN = 5


def verify(data: bytes, recipe: ConvertRecipe) -> list[str]:
    """Return warnings; raise where the file breaks a promise of the recipe.

    Raises:
        NotFullyIntegerError: Float operators without `allow_float_ops`, dynamic dimensions without `dynamic_batch`.
        ConversionError: Dense weights are not per-tensor although that was asked for.
    """
    model = read_model(data)
    warnings = []
    if recipe.needs_calibration:
        stray = stray_float_ops(model, recipe)
        if stray and not recipe.allow_float_ops:
            raise NotFullyIntegerError(
                f"The file is not fully integer: {_list(stray)} stayed float; replace the layers that they come from, "
                "or accept them with --allow-float-ops."
            )
        warnings += [f"float-ops: {operator} stayed float" for operator in stray]
    dynamic = dynamic_dimensions(model)
    if dynamic and not recipe.dynamic_batch:
        raise NotFullyIntegerError(
            f"The file has dynamic dimensions in {_list(dynamic)}; state the shapes with --input-shape, or accept them with --dynamic-batch."
        )
    if stateful(model):
        warnings.append(
            "state: the file keeps state between invocations (a fused LSTM); "
            "call interpreter.reset_all_variables() before each new sequence"
        )
    dense = granularity(model).get("FULLY_CONNECTED")
    if recipe.per_tensor_dense and dense not in (None, "per-tensor"):
        raise ConversionError(
            f"Dense weights came out {dense} although per-tensor was asked for; install TensorFlow 2.17 or later."
        )
    return warnings


def stateful(model: Model) -> bool:
    """Return whether an invocation depends on the ones before, through variable tensors."""
    return any(tensor.is_variable for graph in model.subgraphs for tensor in graph.tensors)


def stray_float_ops(model: Model, recipe: ConvertRecipe) -> list[FloatOperator]:
    """Return the float operators that were not asked for: all but those at float32 inputs and outputs."""
    graph = model.main
    ends: set[str] = set()
    if recipe.file_input_type == "float32":
        ends |= {graph.tensors[index].name for index in graph.inputs}
    if recipe.file_output_type == "float32":
        ends |= {graph.tensors[index].name for index in graph.outputs}
    return [
        operator
        for operator in float_ops(model)
        if not (operator.op in ("QUANTIZE", "DEQUANTIZE") and set(operator.tensors) <= ends)
    ]


def describe_file(data: bytes, recipe: ConvertRecipe) -> dict[str, Any]:
    """Return the sidecar fields that are read from the file itself."""
    import hashlib

    model = read_model(data)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "gzip_bytes": gzip_bytes(data),
        "quantize": recipe.quantize,
        "fully_int8": fully_int8(model),
        "float_ops": [operator.to_dict() for operator in float_ops(model)],
        "granularity": granularity(model),
        "inputs": [spec.to_dict() for spec in input_specs(model)],
        "outputs": [spec.to_dict() for spec in output_specs(model)],
        "ops": op_histogram(model),
        "macs": macs(model),
        "parameters": parameters(model),
        "stateful": stateful(model),
        "peak_activation_bytes": memory_use(model).peak_bytes,
    }


def _list(items: list[Any]) -> str:
    shown = "; ".join(str(item) for item in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown}; and {len(items) - _SHOWN} more"
