"""Where the time goes, operator by operator: LiteRT's own profiler, which its Python interface does not show.

The C library that ai-edge-litert brings along has it; here it is called directly. The names of the
functions, and what the options mean, are those of litert/c/*.h of google-ai-edge/LiteRT. A version that lacks one of
them is told, not guessed around. The worker that does this does nothing else, so it may die of it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import time
from typing import Any, List, Tuple

from .protocol import AgentError
from .records import Operator, OpProfile

LIBRARY = "libLiteRt.so"
_CPU = 1  # kLiteRtHwAcceleratorCpu
_MODES = {"default": "xnnpack", "builtin": "builtin", "reference": "reference"}
_SECONDS = 1.0
_MOST_RUNS = 50
# "  Delegate/Add (ND)   0.000   0.005   0.004   1.081%   77.696%   0.000   20   [Delegate]:3"
_ROW = re.compile(
    r"^\s*(?P<name>\S.*?)\s+[\d.]+\s+[\d.]+\s+(?P<ms>[\d.]+)\s+(?P<percent>[\d.]+)%\s+[\d.]+%\s+-?[\d.]+\s+(?P<calls>\d+)"
    r"\s+\[(?P<by>\w+)\]:(?P<index>\d+)\s*$"
)


def profile(path: str, threads: int, kernels: str) -> OpProfile:
    """Run a model under the profiler, on zeros.

    Args:
        path: Path of the .tflite file.
        threads: Number of threads of one inference, at least 1.
        kernels: A key of `runtimes.KERNELS`.

    Returns:
        ``runs``, and ``operators`` in the order in which they run: ``op``, ``by`` ("builtin" or "delegate"), ``index``
        (of the node, or within the delegate), ``ms`` an inference and ``share`` of the whole.

    Raises:
        AgentError: The library lacks the profiler, or does not run the model.
    """
    model = _Model(_Library(_path()), path, threads, kernels)
    model.run()
    start = time.perf_counter()
    model.run()
    runs = max(3, min(_MOST_RUNS, int(_SECONDS / max(1e-6, time.perf_counter() - start))))
    return {"runs": runs, "operators": parse(model.summary(runs), runs)}


def parse(summary: str, runs: int) -> List[Operator]:
    """Return the rows of the profiler's first table, which is in the order of execution.

    Example:
        >>> parse("= Run Order =\\n ADD 0.0 0.1 0.2 50.0% 50.0% 0.0 40 [Builtin]:3\\n\\n", 20)
        [{'op': 'ADD', 'by': 'builtin', 'index': 3, 'ms': 0.4, 'share': 0.5}]
    """
    found: List[Operator] = []
    for line in summary.partition("Run Order")[2].split("\n\n")[0].splitlines():
        match = _ROW.match(line)
        if match:
            name = match.group("name")
            found.append(
                {
                    "op": name[len("Delegate/") :] if name.startswith("Delegate/") else name,
                    "by": match.group("by").lower(),
                    "index": int(match.group("index")),
                    "ms": float(match.group("ms")) * int(match.group("calls")) / runs,
                    "share": float(match.group("percent")) / 100,
                }
            )
    if not found:
        raise AgentError("internal", "the profiler's summary holds no operators")
    return found


def _path() -> str:
    spec = importlib.util.find_spec("ai_edge_litert")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = os.path.join(folder, LIBRARY)
        if os.path.exists(path):
            return path
    raise AgentError("runtime_missing", "there is no ai_edge_litert with %s" % LIBRARY)


class _Library:
    """The C functions: each returns a status, and most hand out an object through their last argument."""

    def __init__(self, path: str) -> None:
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise AgentError("runtime_missing", "%s does not load: %s" % (LIBRARY, error)) from error

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function.

        Raises:
            AgentError: It is not there, or fails.
        """
        function = getattr(self._library, "LiteRt" + name, None)
        if function is None:
            raise AgentError("runtime_missing", "%s lacks LiteRt%s; ai-edge-litert 2.3 has it" % (LIBRARY, name))
        function.restype = ctypes.c_int
        status = function(*arguments)
        if status:
            raise AgentError("unsupported", "LiteRt%s fails with status %d" % (name, status))

    def made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function and return the object that it hands out."""
        found = ctypes.c_void_p()
        self.call(name, *arguments, ctypes.byref(found))
        return found


class _Model:
    """A compiled model with its buffers. Nothing is ever given back: the process ends with it."""

    def __init__(self, library: _Library, path: str, threads: int, kernels: str) -> None:
        self._library = library
        self._kept: List[Any] = []  # what C code points to
        self._environment = library.made("CreateEnvironment", ctypes.c_int(0), None)
        model = library.made("CreateModelFromFile", self._environment, os.fsencode(path))
        options = library.made("CreateOptions")
        library.call("SetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
        cpu = 'kernel_mode = "%s"\nnum_threads = %d\n' % (_MODES[kernels], threads)
        for name, text in (("runtime_options_string", "enable_profiling = true\n"), ("xnnpack", cpu)):
            self._add(options, name, text)
        self._compiled = library.made("CreateCompiledModel", self._environment, model, options)
        self._signature = library.made("GetModelSignature", model, ctypes.c_size_t(0))
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")
        for buffer in self._inputs[1]:
            library.call("ClearTensorBuffer", ctypes.c_void_p(buffer))

    def run(self) -> None:
        """Run it once."""
        self._library.call("RunCompiledModel", self._compiled, ctypes.c_size_t(0), *self._inputs, *self._outputs)

    def summary(self, runs: int) -> str:
        """Run it under the profiler, and return what that says."""
        profiler = self._library.made("CompiledModelGetProfiler", self._compiled)
        self._library.call("StartProfiler", profiler)
        for _ in range(runs):
            self.run()
        self._library.call("StopProfiler", profiler)
        text = self._library.made("GetProfileSummary", profiler, self._compiled)
        return ctypes.string_at(text.value or 0).decode("utf-8", "replace")

    def _add(self, options: ctypes.c_void_p, name: str, text: str) -> None:
        """Add options that travel as TOML; the callback with which C would free the text does nothing."""
        payload = ctypes.create_string_buffer(text.encode())
        free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda pointer: None)
        self._kept += [payload, free]
        made = self._library.made("CreateOpaqueOptions", name.encode(), payload, free)
        self._library.call("AddOpaqueOptions", options, made)

    def _buffers(self, side: str) -> Tuple[ctypes.c_size_t, Any]:
        """Return the number of the signature's inputs or outputs, and an array of a buffer for each."""
        count = ctypes.c_size_t()
        self._library.call("GetNumSignature%ss" % side, self._signature, ctypes.byref(count))
        buffers = (ctypes.c_void_p * count.value)()
        for index in range(count.value):
            place = ctypes.c_size_t(index)
            tensor = self._library.made("GetSignature%sTensorByIndex" % side, self._signature, place)
            kind = ctypes.create_string_buffer(256)  # a LiteRtRankedTensorType, which only C looks into
            self._library.call("GetRankedTensorType", tensor, kind)
            needs = self._library.made(
                "GetCompiledModel%sBufferRequirements" % side, self._compiled, ctypes.c_size_t(0), place
            )
            made = self._library.made("CreateManagedTensorBufferFromRequirements", self._environment, kind, needs)
            buffers[index] = made.value
        return count, buffers
