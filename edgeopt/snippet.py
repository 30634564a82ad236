"""The few lines that run an artifact on a board, with its own quantisation put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def inference_snippet(file_name: str, sidecar: Mapping[str, Any]) -> str:
    """Return Python code that feeds real values to the file and gets real values back.

    Args:
        file_name: What the file is called on the board.
        sidecar: An artifact's sidecar (``inputs``, ``outputs``, ``preprocess``).
    """
    inputs, outputs = list(sidecar["inputs"]), list(sidecar["outputs"])
    names = _identifiers([str(item["name"]) for item in [*inputs, *outputs]])
    variables_in, variables_out = names[: len(inputs)], names[len(inputs) :]
    lines = [
        "import numpy as np",
        "from ai_edge_litert.interpreter import Interpreter  # or: from tflite_runtime.interpreter import Interpreter",
        "",
        f"interpreter = Interpreter({file_name!r})",
        "interpreter.allocate_tensors()",
        "inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()",
    ]
    if sidecar.get("stateful"):
        lines.append("interpreter.reset_all_variables()  # before each new sequence")
    if sidecar.get("preprocess"):
        lines.append(f"# preparation: {sidecar['preprocess']}")
    for position, (item, variable) in enumerate(zip(inputs, variables_in, strict=True)):
        lines.append(f"# {variable}: {item['name']!r}, float32 {tuple(item['shape'])}, real values as in training")
        lines.append(f"interpreter.set_tensor(inputs[{position}]['index'], {_quantise(item, variable)})")
    lines.append("interpreter.invoke()")
    for position, (item, variable) in enumerate(zip(outputs, variables_out, strict=True)):
        raw = f"interpreter.get_tensor(outputs[{position}]['index'])"
        lines.append(f"{variable} = {_dequantise(item, raw)}  # {item['name']!r} {tuple(item['shape'])}")
    return "\n".join(lines) + "\n"


def _quantise(item: Mapping[str, Any], variable: str) -> str:
    kind = str(item["dtype"])
    if item.get("scale") is None or kind not in _LIMITS:
        return f"{variable}.astype(np.{kind})"
    low, high = _LIMITS[kind]
    return f"np.clip(np.round({variable} / {item['scale']!r}) + {item['zero_point']}, {low}, {high}).astype(np.{kind})"


def _dequantise(item: Mapping[str, Any], raw: str) -> str:
    if item.get("scale") is None or item["dtype"] not in _LIMITS:
        return raw
    return f"({raw}.astype(np.float32) - {item['zero_point']}) * {item['scale']!r}"


def _identifiers(names: Sequence[str]) -> list[str]:
    """Return a Python variable for each name; an output that shares an input's name gets ``_out``."""
    result: list[str] = []
    for name in names:
        word = (
            "".join(char if char.isascii() and (char.isalnum() or char == "_") else "_" for char in name).strip("_")
            or "value"
        )
        word = f"x_{word}" if word[0].isdigit() else word
        while word in result or word in ("np", "inputs", "outputs", "interpreter", "Interpreter"):
            word += "_out"
        result.append(word)
    return result
