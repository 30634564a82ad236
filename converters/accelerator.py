"""What an accelerator is: a compiler, and a predictor of what that compiler would map; and the list of those known.

A converter turns a Keras model into a .tflite file; an accelerator's compiler turns that file into one that runs on a
chip, in whole or in part. What it leaves behind runs on the CPU, and that is what users must know before they train.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import UsageError, nearest
from ..flatbuffer import Model

MAPPED, CPU, UNSURE = "mapped", "cpu", "unsure"
VERDICTS = (MAPPED, CPU, UNSURE)


@dataclass(frozen=True)
class OpMapping:
    """Where one operator would run, and why.

    Attributes:
        index: Its position in the execution order of the main subgraph.
        op: Its TFLite name.
        verdict: "mapped", "cpu" or "unsure".
        status: What the compiler itself would say of it.
        rule: Id of the rule that decided; None for a mapped operator that no rule had a word on.
        why: The rule as a sentence; empty as above.
        remedy: What to do about it; empty as above.
        source: Where the rule comes from.
    """

    index: int
    op: str
    verdict: str
    status: str
    rule: str | None = None
    why: str = ""
    remedy: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return dict(vars(self))


@dataclass(frozen=True)
class Refusal:
    """Why a compiler takes nothing of a file.

    Attributes:
        rule: Id of the rule.
        why: What is wrong, as a sentence.
        remedy: What to do about it.
        source: Where the rule comes from.
    """

    rule: str
    why: str
    remedy: str
    source: str = ""


@dataclass(frozen=True)
class Prediction:
    """What a compiler would do with a file.

    Attributes:
        target: Name of the accelerator.
        operators: One entry an operator of the main subgraph, in execution order.
        delegated_subgraphs: How many parts of the graph the accelerator would run.
        parameters_cached_bytes: Weights that stay in the chip's memory between inferences; None where not known.
        parameters_streamed_bytes: Weights that are sent anew with every inference; None where not known.
        refusal: Set when the file as a whole would be refused.
        figures: What else is known, by name with unit.
        notes: Advice that belongs to no single operator.
    """

    target: str
    operators: tuple[OpMapping, ...]
    delegated_subgraphs: int
    parameters_cached_bytes: int | None = None
    parameters_streamed_bytes: int | None = None
    refusal: Refusal | None = None
    figures: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def mapped_ops(self) -> dict[str, int]:
        """Histogram of the operators that the accelerator would run."""
        return histogram(op.op for op in self.operators if op.verdict == MAPPED)

    @property
    def cpu_ops(self) -> dict[str, int]:
        """Histogram of the operators that would stay on the CPU."""
        return histogram(op.op for op in self.operators if op.verdict == CPU)

    @property
    def unsure_ops(self) -> dict[str, int]:
        """Histogram of the operators that the sources disagree on, and of those that stand or fall with them."""
        return histogram(op.op for op in self.operators if op.verdict == UNSURE)

    @property
    def reasons(self) -> tuple[OpMapping, ...]:
        """The operators that would not be mapped for sure."""
        return tuple(op for op in self.operators if op.verdict != MAPPED)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary and the reasons as JSON holds them."""
        return {
            "mapped_ops": self.mapped_ops,
            "cpu_ops": self.cpu_ops,
            "unsure_ops": self.unsure_ops,
            "delegated_subgraphs": self.delegated_subgraphs,
            "reasons": [op.to_dict() for op in self.reasons],
            "parameters_cached_bytes": self.parameters_cached_bytes,
            "parameters_streamed_bytes": self.parameters_streamed_bytes,
            "refusal": None if self.refusal is None else dict(vars(self.refusal)),
            "figures": dict(self.figures),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class CompiledFile:
    """What a compiler made of one file.

    Attributes:
        target: Name of the accelerator.
        name: The file name that the ecosystem expects (``model_edgetpu.tflite``, ``model_vela.tflite``).
        model: The compiled file.
        log: What the compiler printed.
        compiler: Its name and version.
        mapped: How many operators of the source it took.
        cpu_ops: Histogram of the operators that it left, read from the compiled file itself.
        reasons: Why each kind of operator was left, in the compiler's words.
        figures: What the compiler states of the result, by name with unit.
    """

    target: str
    name: str
    model: bytes = field(repr=False)
    log: str = field(repr=False)
    compiler: str
    mapped: int
    cpu_ops: Mapping[str, int]
    reasons: tuple[OpMapping, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return everything but the bytes and the log."""
        return {
            "target": self.target,
            "name": self.name,
            "size_bytes": len(self.model),
            "compiler": self.compiler,
            "mapped": self.mapped,
            "cpu_ops": dict(self.cpu_ops),
            "reasons": [reason.to_dict() for reason in self.reasons],
            "figures": dict(self.figures),
        }


@dataclass(frozen=True)
class Wants:
    """What a compiler asks of the converter that feeds it.

    Attributes:
        recipe: Fields of `edgeopt.recipes.convert.ConvertRecipe` to set.
        op_version_ceilings: TFLite operator -> the newest version that the compiler reads; absent means no limit known.
        source: Where that is known from.
    """

    recipe: Mapping[str, Any]
    op_version_ceilings: Mapping[str, int] = field(default_factory=dict)
    source: str = ""


class Compiler(Protocol):
    """Turns .tflite files into files for one accelerator.

    The contract:

    * The bytes that are given are not changed, and nothing is written outside a temporary folder.
    * A result maps at least one operator; its `cpu_ops` are read from the compiled file, never taken from a log alone.
    * The compiler runs in a process of its own with a time limit, which ends with all that it started.
    """

    @property
    def target(self) -> str:
        """Name of the accelerator."""

    def version(self) -> str:
        """Return the compiler's name and version.

        Raises:
            CompilerError: It is not installed; the message says how to get it.
        """

    def compile(self, model: bytes, name: str = "model") -> tuple[CompiledFile, ...]:
        """Compile one file.

        Args:
            model: A .tflite file.
            name: Its name without suffix; the results are named after it.

        Returns:
            One file, or the parts of a pipeline in order.

        Raises:
            FileFormatError: `model` is not a .tflite file.
            UsageError: It is compiled already.
            ModelError: The compiler refuses it, or maps none of its operators.
            CompilerError: The compiler is missing, crashed, hung, or left no usable file.
        """


class Predictor(Protocol):
    """Says what an accelerator's compiler would map.

    The contract: every operator of the main subgraph gets exactly one verdict; each that is not mapped carries a rule,
    a reason and a remedy; where the sources disagree the verdict is "unsure", never a guess.
    """

    @property
    def target(self) -> str:
        """Name of the accelerator."""

    def predict(self, model: Model, data: bytes) -> Prediction:
        """Predict the mapping of a .tflite file.

        Args:
            model: The file as `edgeopt.flatbuffer` reads it.
            data: The file itself.

        Raises:
            UsageError: The file is compiled already.
            CompilerError: The predictor needs a compiler that is not installed.
        """


@dataclass(frozen=True)
class Accelerator:
    """One accelerator: its name, and what goes with it."""

    name: str
    title: str
    wants: Wants
    compiler: Compiler
    predictor: Predictor


_ETHOS_U = {
    "u55": (32, 64, 128, 256),
    "u65": (256, 512),
    "u85": (128, 256, 512, 1024, 2048),
}
# name -> "module:function", which takes the name and returns the Accelerator; loaded on use
ACCELERATORS: dict[str, str] = {
    "edgetpu": ".edgetpu:accelerator",
    **{f"ethos-{family}-{macs}": ".ethosu:accelerator" for family, sizes in _ETHOS_U.items() for macs in sizes},
}


def accelerator(name: str) -> Accelerator:
    """Return the accelerator `name`, with its default compiler and predictor.

    Raises:
        UsageError: There is none of that name.

    Example:
        >>> accelerator("ethos-u55-128").compiler.compile(data, "kws")[0].cpu_ops
        {}
    """
    if name not in ACCELERATORS:
        raise UsageError(f"Unknown accelerator {name!r}{nearest(name, ACCELERATORS)}")
    module, function = ACCELERATORS[name].split(":")
    found = getattr(importlib.import_module(module, __package__), function)(name)
    if not isinstance(found, Accelerator):
        raise TypeError(f"{module}:{function} returned {type(found).__name__}, expected an Accelerator")
    return found


def histogram(names: Iterable[str]) -> dict[str, int]:
    """Return how often each name occurs, most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
