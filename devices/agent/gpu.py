"""LiteRT's GPU accelerator behind the interface of TFLite's interpreters.

ai-edge-litert's wheels for Linux, x86-64 and aarch64, bring it along (`libLiteRtWebGpuAccelerator.so`, on Vulkan). It
is no delegate of the interpreter: a compiled model runs it, with the CPU for what it does not take. Integer files run
there and give other answers (seen with 2.3.0: the CPU's class in three of four samples), so they are refused.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile
from typing import Any, Dict, Iterator, List, Sequence

import numpy as np

from .arith import Array
from .protocol import AgentError

GPU = "gpu"
RUNTIME = "ai_edge_litert"
PARTLY = "gpu and cpu"
_ERROR = re.compile(r"^ERROR: (?:\[\S+\] )?(.+)$", re.MULTILINE)
_LEFT = re.compile(r"(\w+) operations will run on the GPU, and")


def require(runtime: str) -> None:
    """Return if a runtime brings a GPU accelerator along.

    Raises:
        AgentError: It does not.
    """
    if runtime != RUNTIME:
        message = "%s has no GPU accelerator; ai_edge_litert has one" % runtime
        raise AgentError("delegate", message, remedy="run it with ai_edge_litert, or drop the delegate")
    spec = importlib.util.find_spec(runtime)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not any("GpuAccelerator" in name for folder in folders for name in os.listdir(folder)):
        message = "this wheel of ai_edge_litert brings no GPU accelerator along"
        raise AgentError("delegate", message, remedy="install ai-edge-litert 2.3 or newer, or drop the delegate")


class Gpu:
    """A compiled model on the GPU; `plain` is an interpreter of the same file, which tells what its tensors are.

    Attributes:
        delegate: "gpu", or "gpu and cpu" where a part of the graph is left to the CPU.
    """

    def __init__(self, plain: Any, path: str) -> None:
        """Compile the file at `path`.

        Raises:
            AgentError: There is no GPU that the accelerator takes, or it refuses the file.
        """
        compiled = importlib.import_module(RUNTIME + ".compiled_model")
        kinds = importlib.import_module(RUNTIME + ".hardware_accelerator").HardwareAccelerator
        self._plain = plain
        self._refuse_integers()
        plain.allocate_tensors()
        said: List[str] = []
        try:
            with _heard(said):
                self._model = compiled.CompiledModel.from_file(path, hardware_accel=kinds.GPU | kinds.CPU)
            # XNNPACK's part counts as accelerated, too: what the GPU leaves is told in the log alone.
            left = _LEFT.search(said[0])
            self.delegate = PARTLY if left or not self._model.is_fully_accelerated() else GPU
            key, ends = next(iter(self._model.get_signature_list().items()))
            self._inputs = self._buffers(key, ends["inputs"], "inputs", self._model.create_input_buffers(0))
            self._outputs = self._buffers(key, ends["outputs"], "outputs", self._model.create_output_buffers(0))
        except (RuntimeError, ValueError) as error:
            message = "LiteRT's GPU accelerator does not take this model here (%s)" % _reason(error, said)
            remedy = "check that vulkaninfo finds a GPU, convert with --quantize float16, or drop the delegate"
            raise AgentError("delegate", message, remedy=remedy) from error
        if left and left.group(1) == "No":
            message = "LiteRT's GPU accelerator takes no operator of this model"
            raise AgentError("delegate", message, remedy="see edgeopt check --for gpu, or drop the delegate")

    def _refuse_integers(self) -> None:
        ends = (*self.get_input_details(), *self.get_output_details())
        quantized = any(detail["quantization"][0] for detail in ends)
        if quantized or any(item["op_name"] == "QUANTIZE" for item in self._get_ops_details()):
            message = (
                "this file computes with integers, and LiteRT's GPU accelerator gives other answers for such files"
            )
            raise AgentError("delegate", message, remedy="convert it with --quantize float16, or drop the delegate")

    def _buffers(self, key: str, names: Sequence[str], side: str, made: Sequence[Any]) -> Dict[int, Any]:
        """Return the buffers by tensor index."""
        details = self.get_input_details() if side == "inputs" else self.get_output_details()
        known = {detail["name"]: int(detail["index"]) for detail in details}
        known.update(self._plain._get_full_signature_list().get(key, {}).get(side, {}))
        return {int(known[name]): buffer for name, buffer in zip(names, made)}

    def get_input_details(self) -> List[Dict[str, Any]]:
        """Return what TFLite's interpreters return."""
        details: List[Dict[str, Any]] = self._plain.get_input_details()
        return details

    def get_output_details(self) -> List[Dict[str, Any]]:
        """Return what TFLite's interpreters return."""
        details: List[Dict[str, Any]] = self._plain.get_output_details()
        return details

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        """Refuse another shape than the file's.

        Raises:
            ValueError: It is another.
        """
        own = next(detail["shape"] for detail in self.get_input_details() if detail["index"] == index)
        if list(own) != list(shape):
            raise ValueError("a model that is compiled for the GPU has one shape, the file's")

    def allocate_tensors(self) -> None:
        """Do nothing: compiling has allocated."""

    def set_tensor(self, index: int, value: Array) -> None:
        """Copy the value of an input to the GPU."""
        self._inputs[index].write(np.ascontiguousarray(value).reshape(-1))

    def invoke(self) -> None:
        """Run the model, and wait for its outputs: reading them is part of a run on a GPU.

        Raises:
            RuntimeError: It fails.
        """
        self._model.run_by_index(0, list(self._inputs.values()), list(self._outputs.values()))
        self._read = {int(detail["index"]): self._value(detail) for detail in self.get_output_details()}

    def _value(self, detail: Dict[str, Any]) -> Array:
        shape = tuple(int(size) for size in detail["shape"])
        read = self._outputs[int(detail["index"])].read(int(np.prod(shape)), detail["dtype"])
        return np.array(read).reshape(shape)

    def get_tensor(self, index: int) -> Array:
        """Return the value of an output."""
        return self._read[index]

    def reset_all_variables(self) -> None:
        """Do nothing: what keeps state is not compiled for the GPU."""

    def _get_ops_details(self) -> List[Dict[str, Any]]:
        details: List[Dict[str, Any]] = self._plain._get_ops_details()
        return details

    def _get_full_signature_list(self) -> Dict[str, Any]:
        found: Dict[str, Any] = self._plain._get_full_signature_list()
        return found


@contextlib.contextmanager
def _heard(said: List[str]) -> Iterator[None]:
    """Append to `said` what is written to stderr meanwhile, by C++ too, and pass it on."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            log.seek(0)
            said.append(log.read().decode("utf-8", "replace"))
            sys.stderr.write(said[0])


def _reason(error: Exception, said: List[str]) -> str:
    """Return what the log says; the exceptions themselves often hold nothing but lines of the source."""
    told = _ERROR.search("".join(said))
    lines = [line.strip(" └") for line in str(error).splitlines() if line.strip()]
    return (told.group(1) if told else lines[-1] if lines else type(error).__name__).rstrip(".")
