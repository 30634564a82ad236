"""The few lines that run an artifact on a board, with its own quantisation put in."""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from ..recipes.convert import IMAGE_SCALINGS
from .contract import source_of

_Named = tuple[Mapping[str, Any], str]  # an input or output, and its variable
_QUANTIZED = ("int8", "uint8", "int16")
_TAKEN = (
    "np",
    "json",
    "front",
    "back",
    "prepared",
    "joined",
    "run_steps",
    "KINDS",
    "inputs",
    "outputs",
    "interpreter",
    "Interpreter",
    "load_delegate",
    "onnxruntime",
    "lce",
    "stream",
    "session",
    "quantize",
    "resize",
    "Image",
)
_HEAD = """\
import numpy as np

try:
    from ai_edge_litert.interpreter import {names}
except ImportError:
    from tflite_runtime.interpreter import {names}
"""
_ONNX_HEAD = """\
import numpy as np
import onnxruntime
"""
_LARQ_HEAD = """\
import larq_compute_engine as lce
import numpy as np
"""
_ANNOTATIONS = """\
from __future__ import annotations

import json

"""
# The arithmetic of `edgeopt.devices.agent.arith`, which is that of TFLite's reference kernels.
_QUANTIZE = """

def quantize(real, scale, zero_point, dtype):
    \"\"\"Real values -> stored integers: divided in float32, halves rounded away from zero, saturated.\"\"\"
    real = np.asarray(real, np.float32) / np.float32(scale)
    steps = np.trunc(real)
    steps += np.trunc(2 * (real - steps))
    return np.clip(steps + zero_point, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)

"""
# The arithmetic of `edgeopt.data.resizing`, which is that of TensorFlow's kernel.
_RESIZE = """

def resize(pixels, height, width):
    \"\"\"Bilinear without antialiasing, as the file was calibrated; Pillow's own resize antialiases.\"\"\"

    def between(own, asked):
        place = (np.arange(asked, dtype=np.float32) + np.float32(0.5)) * (np.float32(own) / np.float32(asked))
        low = np.floor(place - np.float32(0.5))
        first, second = np.maximum(low, 0), np.minimum(np.ceil(place - np.float32(0.5)), own - 1)
        return first.astype(int), second.astype(int), place - np.float32(0.5) - low

    pixels = np.asarray(pixels, np.float32)
    above, below, down = between(pixels.shape[0], height)
    left, right, across = between(pixels.shape[1], width)
    rows = pixels[:, left] + (pixels[:, right] - pixels[:, left]) * across[:, np.newaxis]
    return rows[above] + (rows[below] - rows[above]) * down[:, np.newaxis, np.newaxis]

"""


def inference_snippet(file_name: str, sidecar: Mapping[str, Any], *, delegate: str | None = None) -> str:
    """Return a Python script that feeds real values to the file and prints the real values that come back.

    Args:
        file_name: What the file is called on the board.
        sidecar: An artifact's sidecar (``inputs``, ``outputs``, ``preprocess``, ``images``, ``stateful``, ``front``,
            ``back``).
        delegate: The library that runs the file, such as ``libedgetpu.so.1``; None for the CPU.
    """
    inputs, outputs = list(sidecar["inputs"]), list(sidecar["outputs"])
    front = _front_of(sidecar)
    made, given = _both_sides(front, inputs)
    names = _identifiers([str(item["name"]) for item in (*inputs, *outputs, *given)])
    feeds, results = names[: len(inputs)], names[len(inputs) : len(inputs) + len(outputs)]
    raw = names[len(inputs) + len(outputs) :]
    onnx = sidecar.get("format", "tflite") != "tflite"
    binary = any(op.startswith("Lce") for op in sidecar.get("ops", ()))
    lines = _opened_onnx(file_name) if onnx else _opened_larq(file_name) if binary else _opened(file_name, delegate)
    if sidecar.get("preprocess"):
        lines.append(f"# prepared so: {' '.join(str(sidecar['preprocess']).split())}")
    resized = _from_picture(sidecar.get("images"), inputs, feeds)
    lines += resized
    lines += [
        _placeholder(item, variable)
        for item, variable in zip((*inputs, *given), (*feeds, *raw), strict=True)
        if item["name"] not in made
    ]
    lines += _prepared(front, inputs, feeds, dict(zip((item["name"] for item in given), raw, strict=True)))
    named = list(zip(inputs, feeds, strict=True)), list(zip(outputs, results, strict=True))
    if binary:
        lines.append(f"{', '.join(results)} = interpreter.predict([{', '.join(feeds)}])")
    else:
        lines += _run_onnx(*named) if onnx else _run(*named, stateful=bool(sidecar.get("stateful")))
    back = sidecar.get("back")
    lines += _joined(back, dict(zip((item["name"] for item in outputs), results, strict=True)))
    lines.append("print(joined)" if back else f"print({', '.join(results)})")
    helpers = (_RESIZE if resized else "") + (_QUANTIZE if any(_is_quantized(item) for item in inputs) else "\n")
    head = _HEAD.format(names="Interpreter" if delegate is None else "Interpreter, load_delegate")
    head = _ONNX_HEAD if onnx else _LARQ_HEAD if binary else head
    steps = [*(front["layers"] if front else ()), *(back["layers"] if back else ())]
    if steps:
        head, helpers = f"{_ANNOTATIONS}{head}", f"\n\n{source_of(steps)}{helpers}"
    return head + helpers + "\n" + "\n".join(lines) + "\n"


def _opened(file_name: str, delegate: str | None) -> list[str]:
    run_by = "" if delegate is None else f", experimental_delegates=[load_delegate({delegate!r})]"
    return [
        f"interpreter = Interpreter({file_name!r}{run_by})",
        "interpreter.allocate_tensors()",
        "inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()",
        "",
    ]


def _opened_onnx(file_name: str) -> list[str]:
    return [f'session = onnxruntime.InferenceSession({file_name!r}, providers=["CPUExecutionProvider"])', ""]


def _opened_larq(file_name: str) -> list[str]:
    return [
        f"with open({file_name!r}, 'rb') as stream:",
        "    interpreter = lce.testing.Interpreter(stream.read())",
        "",
    ]


def _run(inputs: Sequence[_Named], outputs: Sequence[_Named], *, stateful: bool) -> list[str]:
    reset = ["interpreter.reset_all_variables()  # before each new sequence"] if stateful else []
    fed = [
        f"interpreter.set_tensor(inputs[{index}]['index'], {_stored(item, variable)})"
        for index, (item, variable) in enumerate(inputs)
    ]
    read = [f"{variable} = {_real(item, index)}  # {item['name']!r}" for index, (item, variable) in enumerate(outputs)]
    return [*reset, *fed, "interpreter.invoke()", *read]


def _run_onnx(inputs: Sequence[_Named], outputs: Sequence[_Named]) -> list[str]:
    fed = ", ".join(f"{item['name']!r}: {variable}" for item, variable in inputs)
    names = [item["name"] for item, _ in outputs]
    return [f"{', '.join(variable for _, variable in outputs)}, = session.run({names!r}, {{{fed}}})"]


def _front_of(sidecar: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is done in front of the file, if that can be done in Python."""
    front = sidecar.get("front")
    return None if front is None or front["layers"] is None else front


def _both_sides(
    front: Mapping[str, Any] | None, inputs: Sequence[Mapping[str, Any]]
) -> tuple[set[str], list[Mapping[str, Any]]]:
    """Return the file's inputs that the front makes, and what the front takes that is no input of the file."""
    if front is None:
        return set(), []
    made = {step["output"] for step in front["layers"]} & {item["name"] for item in inputs}
    return made, [item for item in front["inputs"] if item["name"] not in {one["name"] for one in inputs}]


def _prepared(
    front: Mapping[str, Any] | None, inputs: Sequence[Mapping[str, Any]], feeds: Sequence[str], raw: Mapping[str, str]
) -> list[str]:
    """Return the lines that do what the model does in front of the file, with its vocabulary and statistics."""
    if front is None:
        return []
    variables = {**dict(zip((item["name"] for item in inputs), feeds, strict=True)), **raw}
    given = ", ".join(f"{item['name']!r}: {variables[item['name']]}" for item in front["inputs"])
    made, _ = _both_sides(front, inputs)
    lines = [f"front = json.loads({json.dumps(front['layers'])!r})", f"prepared = run_steps(front, {{{given}}})"]
    for item in inputs:
        if item["name"] in made:
            kind = "float32" if _is_quantized(item) else item["dtype"]
            lines.append(f"{variables[item['name']]} = prepared[{item['name']!r}].astype(np.{kind})")
    return lines


def _joined(back: Mapping[str, Any] | None, results: Mapping[str, str]) -> list[str]:
    """Return the lines that make the model's outputs, by name, of the file's."""
    if not back:
        return []
    given = ", ".join(f"{name!r}: {variable}" for name, variable in results.items())
    return [
        f"back = json.loads({json.dumps(back['layers'])!r})",
        f"joined = run_steps(back, {{{given}}})",
        f"joined = {{name: joined[name] for name in {list(back['outputs'])!r}}}",
    ]


def _from_picture(
    images: Mapping[str, Any] | None, inputs: Sequence[Mapping[str, Any]], feeds: Sequence[str]
) -> list[str]:
    """Return, as a comment, how a picture becomes the input, where the snippet has the resizing."""
    if images is None or images["resize"] != "bilinear" or len(inputs) != 1:
        return []
    (height, width), (scale, offset) = images["size"], IMAGE_SCALINGS[images["scaling"]]
    grey = inputs[0]["shape"][-1] == 1
    pixels = f"np.asarray(Image.open(FILE).convert({('L' if grey else 'RGB')!r}))" + (
        "[..., np.newaxis]" if grey else ""
    )
    scaled = "" if (scale, offset) == (1.0, 0.0) else f" * {scale!r} + {offset!r}"
    return [f"# {feeds[0]} = resize({pixels}, {height}, {width})[np.newaxis]{scaled}  # Image is that of PIL"]


def _placeholder(item: Mapping[str, Any], variable: str) -> str:
    shape = tuple(max(1, int(size)) for size in item["shape"])  # a dynamic dimension is 1 until it is resized
    if item["dtype"] == "string":
        return f"{variable} = np.full({shape}, '')  # put your values here: {item['name']!r}, as in training"
    kind = "float32" if _is_quantized(item) else item["dtype"]
    return f"{variable} = np.zeros({shape}, np.{kind})  # put your values here: {item['name']!r}, as in training"


def _is_quantized(item: Mapping[str, Any]) -> bool:
    return item.get("scale") is not None and item["dtype"] in _QUANTIZED


def _stored(item: Mapping[str, Any], variable: str) -> str:
    if not _is_quantized(item):
        return variable
    return f"quantize({variable}, {item['scale']!r}, {item['zero_point']}, np.{item['dtype']})"


def _real(item: Mapping[str, Any], index: int) -> str:
    raw = f"interpreter.get_tensor(outputs[{index}]['index'])"
    if not _is_quantized(item):
        return raw
    return f"np.float32({item['scale']!r}) * ({raw}.astype(np.float32) - {item['zero_point']})"


def _identifiers(names: Sequence[str]) -> list[str]:
    """Return a Python variable for each name; an output that shares an input's name gets ``_out``."""
    result: list[str] = []
    for name in names:
        letters = (char if char.isascii() and char.isalnum() else "_" for char in name)
        word = "".join(letters).strip("_") or "value"
        word = f"x_{word}" if word[0].isdigit() or keyword.iskeyword(word) else word
        while word in result or word in _TAKEN:
            word += "_out"
        result.append(word)
    return result
