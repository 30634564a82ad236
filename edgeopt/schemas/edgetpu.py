"""What ``edgetpu`` and its verbs say."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..converters.edgetpu.package import Layer
from .checked import Check
from .shared import CompiledFile, Counts, Passed, Tensor, Tool


class ExecutableRow(TypedDict):
    """One program for the chip; the token is hexadecimal."""

    kind: str
    chip: str
    parameter_bytes: int
    caching_token: str
    narrow_memory_bytes: int
    scratch_bytes: int
    estimated_cycles: int
    inputs: list[Layer]
    outputs: list[Layer]
    size_bytes: int


class PackageRow(TypedDict):
    """The package of one custom operator."""

    operator: int
    minimum_runtime: int
    compiler_version: str
    model_identifier: str
    chip: str
    cached_bytes: int
    streamed_bytes: int
    executables: list[ExecutableRow]


class CompiledRow(CompiledFile):
    """One compiled file, the compiler's log, and what had been predicted of it (null for parts of a pipeline)."""

    path: str
    log_path: str
    predicted_cpu_ops: Counts | None
    as_predicted: bool | None


class EdgetpuCompile(TypedDict):
    """What ``edgeopt edgetpu compile --json`` writes."""

    verdict: Literal["ok"]
    files: list[CompiledRow]


class CheckedFile(Check):
    """What ``edgeopt check --for edgetpu --json`` writes of one file."""

    schema_version: Literal[1]
    tool: Tool
    kind: Literal["check"]


class EdgetpuPredict(TypedDict):
    """What ``edgeopt edgetpu compile --predict-only --json`` writes: what ``check`` does, of each file."""

    verdict: Passed
    predict_only: Literal[True]
    files: list[CheckedFile]


class SegmentRow(TypedDict):
    """One part of a pipeline."""

    name: str
    compiled: bool
    inputs: list[Tensor]
    outputs: list[Tensor]
    cpu_ops: Counts
    cached_bytes: int
    streamed_bytes: int


class EdgetpuSegments(TypedDict):
    """What ``edgeopt edgetpu segments --json`` writes; "failed" where the parts do not fit."""

    verdict: Passed
    segments: list[SegmentRow]
    problems: list[str]


class OperatorPlace(TypedDict):
    """An operator of the plain file."""

    index: int
    op: str


class Stayed(OperatorPlace):
    """An operator that stayed on the CPU, and why; empty where that is not known."""

    why: str


class EdgetpuDiff(TypedDict):
    """What ``edgeopt edgetpu diff --json`` writes."""

    verdict: Literal["ok"]
    plain: str
    compiled: str
    moved_ops: Counts
    stayed_ops: Counts
    moved_operators: list[OperatorPlace]
    stayed_operators: list[Stayed]
    changed_ends: list[str]
    packages: list[PackageRow]
    as_predicted: bool
    predicted_cpu_ops: Counts
