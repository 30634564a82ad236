"""One model in one interpreter: real values in, stored values out, and foreign errors mapped to `AgentError`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, cast

import numpy as np

from .arith import Array, quantize
from .conditions import heap_bytes
from .delegate import unresolved
from .protocol import AgentError
from .records import TensorFacts
from .runtimes import Runtime

# Operators that keep something between two invocations.
STATEFUL_OPERATORS = frozenset(
    [
        "VAR_HANDLE",
        "READ_VARIABLE",
        "ASSIGN_VARIABLE",
        "SVDF",
        "RNN",
        "LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "BIDIRECTIONAL_SEQUENCE_LSTM",
    ]
)


@dataclass(frozen=True)
class Tensor:
    """An input or output: `name` is the signature's where there is one, `index` is the interpreter's.

    `shape` is what the interpreter starts with, `signature` has -1 for dynamic dimensions; `scale` is None for a
    tensor that is not quantised.
    """

    name: str
    tensor_name: str
    index: int
    dtype: Any
    shape: Tuple[int, ...]
    signature: Tuple[int, ...]
    scale: Optional[float]
    zero_point: int

    def as_data(self) -> TensorFacts:
        """Return what a reply says of it."""
        changed = {"dtype": np.dtype(self.dtype).name, "shape": list(self.shape), "signature": list(self.signature)}
        return cast(TensorFacts, dict(vars(self), **changed))


class Session:
    """An interpreter with memory allocated for given input shapes.

    Attributes:
        inputs: The inputs, in the order of the file's main graph.
        outputs: The outputs, in the order of the file's main graph.
        threads: The number of threads that one invocation may use, at least 1.
        load_ns: How long it took to make the interpreter and to allocate its tensors, in nanoseconds.
        heap_before: The process's memory before that (see `conditions.heap_bytes`); None where it cannot be told.
        delegate: The one that was asked for; else "xnnpack" when a part of the graph was given to it; else "none".
        stateful: Whether the model keeps something between invocations.
    """

    def __init__(
        self,
        runtime: Runtime,
        path: str,
        threads: int,
        kernels: str = "default",
        shapes: Optional[Dict[int, Sequence[int]]] = None,
    ) -> None:
        """Load the model; `shapes` (tensor index to shape) resizes inputs before the allocation.

        Raises:
            AgentError: The file is no model, or the runtime cannot run it in these shapes.
        """
        self.threads = threads
        self._given = runtime.delegate
        self.heap_before = heap_bytes()
        start = time.perf_counter_ns()
        try:
            self._interpreter = runtime.interpreter(path, threads, kernels)
        except ValueError as error:
            raise _load_error(runtime, error) from error
        try:
            for index, shape in (shapes or {}).items():
                self._interpreter.resize_tensor_input(index, list(shape))
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise _prepare_error(runtime, error) from error
        self.load_ns = time.perf_counter_ns() - start
        self._describe()

    def _describe(self) -> None:
        inputs, outputs = _signature_names(self._interpreter)
        self.inputs = [_tensor(detail, inputs) for detail in self._interpreter.get_input_details()]
        self.outputs = [_tensor(detail, outputs) for detail in self._interpreter.get_output_details()]
        operators = {operator["op_name"] for operator in self._interpreter._get_ops_details()}
        given = getattr(self._interpreter, "delegate", self._given)
        self.delegate = given or ("xnnpack" if "DELEGATE" in operators else "none")
        self.stateful = bool(operators & STATEFUL_OPERATORS)

    def set(self, tensor: Tensor, stored: Array) -> None:
        """Set an input to stored values of the tensor's own type and shape."""
        self._interpreter.set_tensor(tensor.index, stored)

    def invoke(self) -> None:
        """Run the model once.

        Raises:
            AgentError: It fails.
        """
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise AgentError("invoke", "the model loads, and fails when it is run: %s" % _one_line(error)) from error

    def run(self, feed: Sequence[Array]) -> List[Array]:
        """Set the inputs (stored values, in order), run, and return copies of the outputs (stored values, in order)."""
        for tensor, stored in zip(self.inputs, feed):
            self.set(tensor, stored)
        self.invoke()
        return [self.get(tensor) for tensor in self.outputs]

    def get(self, tensor: Tensor) -> Array:
        """Return a copy of an output of the last run, stored values."""
        return cast(Array, self._interpreter.get_tensor(tensor.index))

    def forget(self) -> None:
        """Reset the state that the last invocation left, so that the next sample is independent of it."""
        self._interpreter.reset_all_variables()


def stored_values(tensor: Tensor, real: Array) -> Array:
    """Return real values as `tensor` stores them: quantised where it has a scale, converted otherwise.

    Raises:
        AgentError: An integer input without a scale (token numbers, say) cannot hold these values.
    """
    if tensor.scale is not None:
        return quantize(real, tensor.scale, tensor.zero_point, tensor.dtype)
    stored = np.ascontiguousarray(real, dtype=tensor.dtype)
    if np.issubdtype(tensor.dtype, np.integer) and not np.array_equal(stored, real):
        message = "input %r takes %s and has no scale, but the data hold other numbers than that type can"
        raise AgentError("data", message % (tensor.name, np.dtype(tensor.dtype).name))
    return stored


def example_inputs(tensors: Sequence[Tensor], seed: int = 0) -> List[Array]:
    """Return stored values of these inputs to time a model with when there are no data.

    Seeded noise over the whole range for quantised inputs, in [0, 1) for float ones; zeros for other integers, which
    may be indices that must exist.
    """
    rng = np.random.RandomState(seed)
    feed = []
    for tensor in tensors:
        if tensor.scale is not None:
            bounds = np.iinfo(tensor.dtype)
            feed.append(rng.randint(bounds.min, bounds.max + 1, size=tensor.shape).astype(tensor.dtype))
        elif np.issubdtype(tensor.dtype, np.floating):
            feed.append(rng.random_sample(tensor.shape).astype(tensor.dtype))
        else:
            feed.append(np.zeros(tensor.shape, tensor.dtype))
    return feed


def _tensor(detail: Any, names: Dict[int, str]) -> Tensor:
    index = int(detail["index"])
    scale, zero_point = detail["quantization"]
    shape = tuple(int(size) for size in detail["shape"])
    integer = np.issubdtype(detail["dtype"], np.integer)
    return Tensor(
        name=names.get(index, detail["name"]),
        tensor_name=detail["name"],
        index=index,
        dtype=detail["dtype"],
        shape=shape,
        signature=tuple(int(size) for size in detail["shape_signature"]) or shape,
        scale=float(scale) if integer and scale else None,
        zero_point=int(zero_point),
    )


def _signature_names(interpreter: Any) -> Tuple[Dict[int, str], Dict[int, str]]:
    """Return tensor index to argument name, for inputs and outputs; the first signature wins, as on the host."""
    names: Tuple[Dict[int, str], Dict[int, str]] = ({}, {})
    for signature in interpreter._get_full_signature_list().values():
        for found, side in zip(names, ("inputs", "outputs")):
            for name, index in signature[side].items():
                found.setdefault(int(index), name)
    return names


def _load_error(runtime: Runtime, error: ValueError) -> AgentError:
    text = _one_line(error)
    if "opcode" in text:
        message = "%s %s does not know an operator of this model: %s" % (runtime.name, runtime.version, text)
        return AgentError("unsupported", message)
    return AgentError("file", "the file is not a model that %s can read: %s" % (runtime.name, text))


def _prepare_error(runtime: Runtime, error: Exception) -> AgentError:
    text = _one_line(error)
    if "unresolved custom op" in text:
        known = unresolved(text)
        if known is not None:
            return known
        message = "%s %s lacks an operator of this model: %s" % (runtime.name, runtime.version, text)
        return AgentError("unsupported", message)
    return AgentError("invoke", "the model cannot be prepared to run: %s" % text)


def _one_line(error: Exception) -> str:
    """Return the first line of a runtime's message, which may repeat itself and may hold anything."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
