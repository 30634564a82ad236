"""Vela, Arm's compiler for Ethos-U: run in a process of its own, its file checked, its summary read.

As a predictor it simply compiles: what it maps is then known rather than predicted.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...artifact.outside import read_text
from ...artifact.scratch import scratch_folder
from ...errors import CompilerError, ConversionError, FileFormatError, UsageError
from ...flatbuffer import Model, Subgraph, read_model
from ..accelerator import CPU, MAPPED, CompiledFile, OpMapping, Prediction, Refusal, histogram
from ..process import Finished, run
from .summary import read_reasons, read_summary

CUSTOM_OP = "ethos-u"
EXECUTABLE_VARIABLE = "EDGEOPT_VELA"
STATUS_MAPPED = "Runs on the NPU"
STATUS_CPU = "Runs on the CPU"
_REMEDY = "replace it by an operator that Vela supports (vela --supported-ops-report lists them), or accept it"


@dataclass(frozen=True)
class VelaCompiler:
    """Runs Vela for one Ethos-U configuration.

    Attributes:
        target: "ethos-u55-128" and the like, as Vela's --accelerator-config.
        config: A Vela .ini file with system configurations of your own.
        system_config: One of them, or of Vela's; None takes Vela's default for the target.
        memory_mode: The memory mode, by its name in the same file.
        optimise: "Performance" or "Size".
        timeout_s: When to give up.

    Example:
        >>> VelaCompiler("ethos-u55-128").compile(data, "kws")[0].figures["sram_bytes"]
        22192
    """

    target: str
    config: str | None = None
    system_config: str | None = None
    memory_mode: str | None = None
    optimise: str = "Performance"
    timeout_s: float = 600

    def __post_init__(self) -> None:
        if self.optimise not in ("Performance", "Size"):
            raise UsageError(f"optimise is {self.optimise!r}; expected 'Performance' or 'Size'.")

    def command(self) -> list[str]:
        """Return how Vela is called.

        Raises:
            CompilerError: It is not installed.
        """
        given = os.environ.get(EXECUTABLE_VARIABLE)
        if given is None and importlib.util.find_spec("ethosu") is not None:
            return [sys.executable, "-m", "ethosu.vela"]
        found = shutil.which(given or "vela")
        if found is None:
            raise CompilerError(
                f"Vela ({given or 'vela'}) was not found; install it with: pip install 'edgeopt[ethos-u]', or set "
                f"{EXECUTABLE_VARIABLE} to its path."
            )
        return [found]

    def version(self) -> str:
        """Return Vela's name and version (see `Compiler.version`)."""
        command = self.command()
        if command[0] == sys.executable:
            return f"ethos-u-vela {importlib.metadata.version('ethos-u-vela')}"
        with scratch_folder("vela") as folder:
            finished = run([*command, "--version"], folder, 60)
        if finished.returncode != 0 or not re.fullmatch(r"\d+\.\d+\S*", finished.last_line):
            raise CompilerError(f"vela --version printed {finished.last_line!r}, expected its version; reinstall it.")
        return f"ethos-u-vela {finished.last_line}"

    def compile(self, model: bytes, name: str = "model") -> tuple[CompiledFile, ...]:
        """Compile one file (see `Compiler.compile`)."""
        result = self.attempt(model, name)
        if not result.mapped:
            why = next((reason.why for reason in result.reasons if reason.why), "no reason given")
            raise ConversionError(
                f"Vela mapped none of the {sum(result.cpu_ops.values())} operators to {self.target} ({why}); convert "
                "the model to full int8."
            )
        return (result,)

    def attempt(self, model: bytes, name: str = "model") -> CompiledFile:
        """Compile one file, also when nothing of it is mapped.

        Raises:
            As `compile`, but for a result without mapped operators.
        """
        source = read_model(model, name)
        _refuse_compiled(source)
        with scratch_folder("vela") as folder:
            (folder / "model.tflite").write_bytes(model)
            finished = run([*self.command(), *self._options()], folder, self.timeout_s)
            _raise_for(finished, self.timeout_s)
            return self._collect(source, folder, finished.output, name)

    def _options(self) -> list[str]:
        given = {
            "--accelerator-config": self.target,
            "--config": self.config and str(Path(self.config).resolve()),
            "--system-config": self.system_config,
            "--memory-mode": self.memory_mode,
            "--optimise": self.optimise,
            "--output-dir": "out",
        }
        return ["model.tflite", *(word for pair in given.items() if pair[1] for word in map(str, pair))]

    def _collect(self, source: Model, folder: Path, log: str, name: str) -> CompiledFile:
        path = folder / "out" / "model_vela.tflite"
        summary = next(iter(sorted((folder / "out").glob("model_summary_*.csv"))), None)
        if not path.is_file() or summary is None:
            raise CompilerError("Vela reported success, but wrote no model_vela.tflite with a summary; run it by hand.")
        data = path.read_bytes()
        try:
            compiled = read_model(data, path.name)
        except FileFormatError as error:
            raise CompilerError(f"Vela reported success, but its file is unusable: {error}") from error
        left = _left(source.main, compiled.main, read_reasons(log))
        return CompiledFile(
            target=self.target,
            name=f"{name}_vela.tflite",
            model=data,
            log=log,
            compiler=self.version(),
            mapped=len(source.main.operators) - len(left),
            cpu_ops=histogram(reason.op for reason in left),
            reasons=left,
            figures={
                **_figures(summary),
                "subgraphs": sum(operator.name == CUSTOM_OP for operator in compiled.main.operators),
            },
        )


@dataclass(frozen=True)
class VelaPredictor:
    """Compiles, and tells what came of it."""

    compiler: VelaCompiler

    @property
    def target(self) -> str:
        """Name of the accelerator."""
        return self.compiler.target

    def predict(self, model: Model, data: bytes) -> Prediction:
        """Compile and report the mapping (see `Predictor.predict`).

        Raises:
            UsageError: The file is compiled already.
            CompilerError: Vela is not installed, or failed.
        """
        result = self.compiler.attempt(data)
        left = {reason.index: reason for reason in result.reasons}
        operators = tuple(
            left.get(operator.index) or OpMapping(operator.index, operator.name, MAPPED, STATUS_MAPPED)
            for operator in model.main.operators
        )
        figures = dict(result.figures)
        first = next(iter(result.reasons), None)
        nothing = first is not None and not result.mapped
        return Prediction(
            target=self.target,
            operators=operators,
            delegated_subgraphs=int(figures.pop("subgraphs")),
            refusal=Refusal("nothing-mapped", f"no operator is mapped: {first.why}", first.remedy, first.source)
            if first is not None and nothing
            else None,
            figures={**figures, "compiler": result.compiler},
        )


def _figures(summary: Path) -> dict[str, Any]:
    try:
        text = read_text(summary)
    except (OSError, ValueError) as error:
        raise CompilerError(f"Vela's summary {summary.name} cannot be read ({error}); run it by hand.") from error
    return read_summary(text)


def _refuse_compiled(model: Model) -> None:
    if any(operator.name == CUSTOM_OP for operator in model.main.operators):
        raise UsageError(
            "The model is compiled for Ethos-U already (it holds an ethos-u operator), expected the file that it was "
            "compiled from."
        )


def _raise_for(finished: Finished, timeout_s: float) -> None:
    if finished.timed_out:
        raise CompilerError(f"Vela was still running after {timeout_s:g} s and was ended; raise --timeout.")
    if finished.signal_name:
        raise CompilerError(f"Vela was killed by {finished.signal_name}; it last printed {finished.last_line!r}.")
    if finished.returncode != 0:
        raise CompilerError(
            f"Vela ended with status {finished.returncode} and {finished.last_line!r}; run it by hand to see where."
        )


def _left(source: Subgraph, compiled: Subgraph, reasons: dict[str, str]) -> tuple[OpMapping, ...]:
    """Return the operators that are still in the compiled file, by their place in the source.

    They are found by the tensors that they write, whose names Vela keeps.
    """
    place = {source.tensors[index].name: operator.index for operator in source.operators for index in operator.outputs}
    found = []
    for operator in compiled.operators:
        written = [compiled.tensors[index].name for index in operator.outputs]
        index = next((place[name] for name in written if name in place), None)
        if operator.name == CUSTOM_OP or index is None:
            continue
        why = next((reasons[name] for name in written if name in reasons), "Vela gives no reason")
        op = source.operators[index].name
        found.append(OpMapping(index, op, CPU, STATUS_CPU, "vela", why, _REMEDY, "ethos-u-vela"))
    return tuple(sorted(found, key=lambda item: item.index))
