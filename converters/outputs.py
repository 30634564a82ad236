"""What an exported file, or the model that it is to be, gives for samples: in real values, output by output.

They run in TensorFlow's interpreter, in the process that converts: no accuracy on a device comes from here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.dataset import Array
from ..devices.agent.arith import dequantize, quantize
from ..flatbuffer import read_model
from ..flatbuffer.model import Model, Tensor
from ..flatbuffer.specs import TensorSpec, input_specs, output_specs, spec_of
from ..models.export.export import LeanModel, input_key, output_key

Samples = Mapping[str, Array]


def file_outputs(content: bytes, samples: Samples) -> dict[str, Array]:
    """Return what a .tflite file gives, by output name: float32 of shape (samples, ...), integers as they are.

    Args:
        content: The file; what it keeps between invocations is forgotten before each.
        samples: Input name -> real values of shape (samples, ...).
    """
    model = read_model(content)
    outs = output_specs(model)
    interpreter = interpreter_of(content)
    found: dict[str, list[Array]] = {spec.name: [] for spec in outs}
    for group in groups(samples, batch_of(model)):
        feed(interpreter, model, group)
        for spec in outs:
            found[spec.name].append(real_values(interpreter.get_tensor(spec.index), spec))
    return {name: joined(parts, batch_of(model), count_of(samples)) for name, parts in found.items()}


def file_tensors(
    content: bytes, tensors: Sequence[Tensor], samples: Samples, *, inside: bool = True
) -> dict[int, Array]:
    """Return the real values of tensors of a file, by their index: every group's, one after the other.

    Args:
        content: The file.
        tensors: Which ones.
        samples: Input name -> real values of shape (samples, ...).
        inside: Whether there are others among them than outputs, which costs the delegate.
    """
    model = read_model(content)
    interpreter = interpreter_of(content, keep_all=inside)
    found: dict[int, list[Array]] = {tensor.index: [] for tensor in tensors}
    for group in groups(samples, batch_of(model)):
        feed(interpreter, model, group)
        for tensor in tensors:
            found[tensor.index].append(real_values(interpreter.get_tensor(tensor.index), tensor))
    return {index: np.concatenate(parts) if parts[0].ndim else np.stack(parts) for index, parts in found.items()}


def model_outputs(lean: LeanModel, samples: Samples) -> dict[str, Array]:
    """Return what an exported model gives in TensorFlow, by output name, as `file_outputs` does."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(lean.folder))
    function = loaded.signatures["serving_default"]
    batch = lean.inputs[0].shape[0] or 1
    found: dict[str, list[Array]] = {name: [] for name in lean.output_names}
    for group in groups(samples, batch):
        outputs = function(
            **{input_key(i): tf.constant(group[item.name], item.dtype) for i, item in enumerate(lean.inputs)}
        )
        for index, name in enumerate(lean.output_names):
            found[name].append(np.asarray(outputs[output_key(index)]))
    return {name: joined(parts, batch, count_of(samples)) for name, parts in found.items()}


def interpreter_of(content: bytes, *, keep_all: bool = False, delegates: bool = True, threads: int = 1) -> Any:
    """Return TensorFlow's interpreter of a file.

    Args:
        content: The file.
        keep_all: Keep every tensor to be read, which no delegate does.
        delegates: Let XNNPACK compute what it takes, as on a board, instead of TFLite's own kernels.
        threads: One by default: two wait for each other where the machine is busy.
    """
    import tensorflow as tf

    kinds = tf.lite.experimental.OpResolverType
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its own move to another package
        interpreter = tf.lite.Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=kinds.AUTO
            if delegates and not keep_all
            else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=keep_all,
        )
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:
        # Scales more than 256 times apart: such a file is no good, which its outputs show.
        if keep_all or not delegates or "XNNPack" not in str(error):
            raise
        return interpreter_of(content, delegates=False, threads=threads)
    return interpreter


def refused_by_xnnpack(content: bytes) -> bool:
    """Whether the delegate that runtimes take by default cannot prepare a file."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tf.lite.Interpreter(model_content=content, num_threads=1).allocate_tensors()
        except RuntimeError as error:
            return "XNNPack" in str(error)
    return False


def feed(interpreter: Any, model: Model, group: Samples) -> None:
    """Run one group of samples, given in real values by input name."""
    interpreter.reset_all_variables()
    for spec in input_specs(model):
        interpreter.set_tensor(spec.index, stored_values(group[spec.name], spec))
    interpreter.invoke()


def stored_values(values: Array, spec: TensorSpec) -> Array:
    """Return real values as the tensor of an input stores them."""
    if spec.scale is not None and spec.zero_point is not None:
        values = quantize(values, spec.scale, spec.zero_point, np.dtype(spec.dtype))
    return np.ascontiguousarray(values, dtype=spec.dtype)


def fed(content: bytes, samples: Samples) -> Any:
    """Return the interpreter of a file that has run on the first samples, and can be run on them again."""
    model = read_model(content)
    interpreter = interpreter_of(content)
    feed(interpreter, model, next(groups(samples, batch_of(model))))
    return interpreter


def groups(samples: Samples, batch: int) -> Iterator[dict[str, Array]]:
    """Yield samples in groups of a batch size; the last is filled from the start."""
    count = count_of(samples)
    for start in range(0, count, batch):
        rows = np.arange(start, start + batch) % count
        yield {name: np.asarray(array[rows]) for name, array in samples.items()}


def real_values(values: Array, tensor: Tensor | TensorSpec) -> Array:
    """Return the real values of what a tensor holds; integers without a scale as they are."""
    spec = tensor if isinstance(tensor, TensorSpec) else spec_of(tensor)
    if spec.scale is None or spec.zero_point is None:
        return np.asarray(values)
    return np.asarray(dequantize(values, spec.scale, spec.zero_point))


def batch_of(model: Model) -> int:
    """Return how many samples a file takes at a time."""
    shape = model.main.tensors[model.main.inputs[0]].shape
    return max(1, shape[0]) if shape else 1


def count_of(samples: Samples) -> int:
    """Return how many samples there are."""
    return len(next(iter(samples.values())))


def spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """Return the places of at most so many samples, spread over `count`."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def joined(parts: Sequence[Array], batch: int, count: int) -> Array:
    """Put the outputs of all invocations together; one without a batch dimension gets an axis a sample."""
    whole = all(part.ndim and len(part) == batch for part in parts)
    return np.concatenate(parts)[:count] if whole else np.stack(parts)
