"""Read a converted file back and hold it to what was asked for: int8 means int8."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from ..errors import ConversionError, NotFullyIntegerError
from ..flatbuffer import Model, read_model
from ..flatbuffer.binary import binary_macs
from ..flatbuffer.edges import float_edge
from ..flatbuffer.integer import (
    FloatOperator,
    dynamic_dimensions,
    float_ops,
    float_tensors,
    fully_int8,
    granularity,
)
from ..flatbuffer.low_bits import low_bits
from ..flatbuffer.macs import macs
from ..flatbuffer.memory import memory_use
from ..flatbuffer.model import Operator, Tensor
from ..flatbuffer.specs import input_specs, output_specs
from ..flatbuffer.totals import gzip_bytes, op_histogram, parameters
from ..onnxfile import read_onnx
from ..recipes.convert import ConvertRecipe
from .float_remedies import Layers, layer_of, remedy

_SHOWN = 5
_NAME_LENGTH = 60
_LSTM_STATE = 18  # position of the output state among the inputs
_BRIDGES = ("QUANTIZE", "DEQUANTIZE")  # they stand around a float operator, and are not its cause


def verify(
    data: bytes,
    recipe: ConvertRecipe,
    layers: Layers = (),
    ends: Sequence[str] = (),
    kept: Collection[str] = (),
) -> list[str]:
    """Return warnings; raise where the file breaks a promise of the recipe.

    Args:
        data: The converted file.
        recipe: What was asked for.
        layers: Name and class of the model's layers, to say where a float operator comes from; none for an exported
            SavedModel.
        ends: At which of ``input`` and ``output`` the operators of the edge may be float.
        kept: Names of the results of operators that stayed float on request.

    Raises:
        NotFullyIntegerError: Float operators without `allow_float_ops`, dynamic dimensions without `dynamic_batch`.
        ConversionError: Dense weights are not per-tensor although that was asked for, or a fused LSTM is wrong.
    """
    model = read_model(data)
    recipe = replace(
        recipe,
        input_type="float32" if "input" in ends else recipe.input_type,
        output_type="float32" if "output" in ends else recipe.output_type,
    )
    warnings = [*_check_floats(model, recipe, layers, meant_floats(model, ends, kept)), *_check_dynamic(model, recipe)]
    _check_lstm_states(model)
    if stateful(model):
        warnings.append(
            "state: the file keeps state between invocations (a fused LSTM); "
            "call interpreter.reset_all_variables() before each new sequence"
        )
    if binary := binary_macs(model):
        warnings.append(
            f"binary: {binary / 1e6:.1f} million binary multiply-accumulates an inference; the file runs with "
            "--runtime larq_compute_engine alone, which has no wheel for Linux on Arm: on no Raspberry Pi or Coral"
        )
    if recipe.low_bit:
        warnings.append(_few_bits(model, recipe))
    dense = granularity(model).get("FULLY_CONNECTED")
    if recipe.per_tensor_dense and dense not in (None, "per-tensor"):
        raise ConversionError(
            f"Dense weights came out {dense} although per-tensor was asked for; install TensorFlow 2.17 or later."
        )
    return warnings


def _few_bits(model: Model, recipe: ConvertRecipe) -> str:
    """Say what 4-bit weights buy; raise where there are none."""
    found = low_bits(model)
    if not found:
        raise ConversionError(
            "The file has no 4-bit weights, which convolutions and fully connected layers with constant weights can "
            "have; convert with quantize='int8'."
        )
    slow = ", ".join(f"{count} {name}" for item in found for name, count in item.slow.items())
    gain = (
        f"XNNPACK has no kernel for {slow} with them, and TFLite's own unpack them at each invocation: this makes the "
        "file smaller, not faster (`edgeopt bench` measures it)"
        if slow
        else "XNNPACK computes with them"
    )
    newer = recipe.quantize == "dynamic4" or any("FULLY_CONNECTED" in item.operators for item in found)
    runs = "; ai-edge-litert runs it, tflite-runtime 2.14 refuses it" if newer else ""
    return f"4-bit: {'; '.join(map(str, found))}; {gain}{runs}"


def stateful(model: Model) -> bool:
    """Return whether an invocation depends on the ones before, through variable tensors."""
    return any(tensor.is_variable for graph in model.subgraphs for tensor in graph.tensors)


def meant_floats(model: Model, ends: Sequence[str] = (), kept: Collection[str] = ()) -> list[Operator]:
    """Return the operators that may be float: those of the edges `ends`, and those whose results are `kept`."""
    edges = [operator for end in ends for operator in float_edge(model, end)]
    names = [tensor.name for tensor in model.main.tensors]

    def is_kept(index: int) -> bool:
        # Where another tensor takes over its name, the quantiser puts a number behind it.
        return names[index] in kept or any(re.fullmatch(re.escape(name) + r"\d+", names[index]) for name in kept)

    return [
        *edges,
        *(operator for operator in model.main.operators if kept and any(map(is_kept, operator.outputs))),
    ]


def stray_float_ops(model: Model, recipe: ConvertRecipe, floats: Sequence[Operator] = ()) -> list[FloatOperator]:
    """Return the float operators that were not asked for: all but those at float32 inputs and outputs, and `floats`."""
    meant = {operator.index for operator in floats}
    touched = {model.main.tensors[i].name for item in floats for i in (*item.inputs, *item.outputs) if i >= 0}
    known = touched | _float_ends(model, recipe)
    return [
        operator
        for operator in float_ops(model)
        if operator.index not in meant and not (operator.op in _BRIDGES and set(operator.tensors) <= known)
    ]


def edge_rows(data: bytes, ends: Sequence[str], layers: Layers = ()) -> list[dict[str, object]]:
    """Return the operators that stayed float at a file's edges: ``end``, ``op``, ``index`` and ``layer``."""
    if not ends:
        return []
    model = read_model(data)
    return [
        {"end": end, "op": operator.name, "index": operator.index, "layer": _layer_of_operator(model, operator, layers)}
        for end in ends
        for operator in float_edge(model, end)
    ]


def _layer_of_operator(model: Model, operator: Operator, layers: Layers) -> str | None:
    names = [model.main.tensors[index].name for index in (*operator.outputs, *operator.inputs) if index >= 0]
    return next((layer for name in names if (layer := layer_of(name, layers))), None)


def describe_file(data: bytes, recipe: ConvertRecipe) -> dict[str, object]:
    """Return the sidecar fields that are read from the file itself."""
    model = read_model(data)
    memory = memory_use(model)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "gzip_bytes": gzip_bytes(data),
        "quantize": recipe.quantize,
        "fully_int8": fully_int8(model),
        "float_ops": [operator.to_dict() for operator in float_ops(model)],
        "granularity": granularity(model),
        "low_bits": [item.to_dict() for item in low_bits(model)],
        "inputs": [spec.to_dict() for spec in input_specs(model)],
        "outputs": [spec.to_dict() for spec in output_specs(model)],
        "ops": op_histogram(model),
        "macs": macs(model),
        "binary_macs": binary_macs(model),
        "parameters": parameters(model),
        "stateful": stateful(model),
        "peak_activation_bytes": memory.peak_bytes,
        "expanded_weight_bytes": memory.expanded_weight_bytes,
    }


def describe_onnx(data: bytes) -> dict[str, object]:
    """Return those sidecar fields that an .onnx file has otherwise than the .tflite file that it was made from."""
    model = read_onnx(data)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "gzip_bytes": gzip_bytes(data),
        "fully_int8": False,
        "inputs": [spec.to_dict() for spec in model.inputs],
        "outputs": [spec.to_dict() for spec in model.outputs],
        "ops": model.ops,
        "peak_activation_bytes": None,
        "expanded_weight_bytes": None,
    }


def _float_ends(model: Model, recipe: ConvertRecipe) -> set[str]:
    """Names of the inputs and outputs that are to be float32."""
    graph = model.main
    indices = [
        *(graph.inputs if recipe.file_input_type == "float32" else ()),
        *(graph.outputs if recipe.file_output_type == "float32" else ()),
    ]
    return {graph.tensors[index].name for index in indices}


def _check_floats(model: Model, recipe: ConvertRecipe, layers: Layers, floats: Sequence[Operator]) -> list[str]:
    """Return a warning for each float operator of an integer file; raise unless they are allowed."""
    stray = stray_float_ops(model, recipe, floats) if recipe.needs_calibration else []
    if stray and not recipe.allow_float_ops:
        causes = [operator for operator in stray if operator.op not in _BRIDGES] or stray
        graphs = [model.subgraphs[cause.subgraph] for cause in causes]
        operators = [(graph, graph.operators[cause.index]) for graph, cause in zip(graphs, causes, strict=True)]
        raise NotFullyIntegerError(
            f"The file is not fully integer: {_list([_place(operator, layers) for operator in causes])} stayed float, "
            f"because the converter has no {recipe.quantize} form of it there; {remedy(model, operators, layers)}, "
            "or accept it with --allow-float-ops."
        )
    loose = _loose_floats(model, recipe) if recipe.needs_calibration else []
    if loose and not recipe.allow_float_ops:
        raise NotFullyIntegerError(
            f"The file is not fully integer: {_list([repr(name) for name in loose])} stayed float, because no operator "
            "computes with it; remove inputs and outputs that do nothing, or accept them with --allow-float-ops."
        )
    places = [*(_place(operator, layers) for operator in stray), *(f"tensor {name!r}" for name in loose)]
    return [f"float-ops: {place} stayed float" for place in places]


def _loose_floats(model: Model, recipe: ConvertRecipe) -> list[str]:
    """Float tensors that no operator touches: inputs that are not used, outputs that are constants or inputs."""
    touched = {name for operator in float_ops(model) for name in operator.tensors}
    return [name for name in float_tensors(model) if name not in touched | _float_ends(model, recipe)]


def _check_dynamic(model: Model, recipe: ConvertRecipe) -> list[str]:
    """Raise for dynamic dimensions; inside a float file they are only a warning, since interpreters resize there."""
    if recipe.dynamic_batch:
        return []
    found = dynamic_dimensions(model)
    graph = model.main
    ends = {graph.tensors[index].name for index in (*graph.inputs, *graph.outputs)}
    if found and (recipe.needs_calibration or any(tensor.name in ends for tensor in found)):
        raise NotFullyIntegerError(
            f"The file has dynamic dimensions in {_list([str(tensor) for tensor in found])}; state the shapes with "
            "--input-shape, replace the layers that make them, or accept them with --dynamic-batch."
        )
    if not found:
        return []
    return [f"dynamic: {len(found)} tensor(s) inside the file have dynamic dimensions, first {_short(str(found[0]))}"]


def _check_lstm_states(model: Model) -> None:
    """Raise where an 8-bit fused LSTM writes an output of another scale than its state, of which it is a copy.

    The converter does that where the output shares a scale with another tensor (behind CONCATENATION): the values are
    then wrong by the ratio of the scales.
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator.name != "UNIDIRECTIONAL_SEQUENCE_LSTM" or len(operator.inputs) <= _LSTM_STATE:
                continue
            state, output = graph.tensors[operator.inputs[_LSTM_STATE]], graph.tensors[operator.outputs[0]]
            if _scale(state) != _scale(output):
                raise ConversionError(
                    f"The fused LSTM at operator {operator.index} came out wrong "
                    f"(its output {_short(output.name)!r} has another scale than its state); "
                    "build the layer with unroll=True, or use --quantize dynamic."
                )


def _scale(tensor: Tensor) -> tuple[float, int] | None:
    found = tensor.quantization
    return None if found is None else (float(found.scales[0]), int(found.zero_points[0]))


def _place(operator: FloatOperator, layers: Layers) -> str:
    """The operator, the layer it comes from if its tensors' names tell, and its float tensors."""
    layer = next((name for tensor in reversed(operator.tensors) if (name := layer_of(tensor, layers))), None)
    origin = "" if layer is None else f" of layer {layer!r}"
    names = ", ".join(repr(_short(name)) for name in operator.tensors[:3])
    return f"{operator.op}{origin} (operator {operator.index}, tensors {names})"


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 3]}..."


def _list(items: Sequence[str]) -> str:
    shown = "; ".join(items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown}; and {len(items) - _SHOWN} more"
