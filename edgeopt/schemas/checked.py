"""What ``check`` says."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..converters.accelerator import OpMapping, Refusal
from ..converters.edgetpu.parameters import LayerBytes
from .shared import Counts, Passed

Verdict = Literal["ok", "skipped", "refused", "unsure"]
_ItemHead = TypedDict(
    "_ItemHead",
    {
        "name": str,
        "class": str,
        "stage": str,
        "verdict": Verdict,
        "rule": "str | None",
        "reason": str,
        "remedy": str,
    },
)


class _ItemMore(TypedDict, total=False):
    index: int
    status: str
    source: str


class CheckItem(_ItemHead, _ItemMore):
    """What a stage would do with one layer or operator; an accelerator tells the operator's index, too."""


class ChangeRow(TypedDict):
    """One thing that is, or would be, otherwise in the model that ``--fix`` writes."""

    layer: str
    rule: str
    detail: str


class CheckSummary(TypedDict, total=False):
    """The totals: those of the stages, or those of an accelerator.

    Attributes:
        stages: How many items have each verdict, by stage.
        fixes: What ``--fix`` would do.
        layers: How many layers there are; of the Edge TPU, the weights of each.
    """

    verdicts: dict[Verdict, int]
    stages: dict[str, dict[Verdict, int]]
    fixes: list[ChangeRow]
    layers: int | list[LayerBytes]
    mapped_ops: Counts
    cpu_ops: Counts
    unsure_ops: Counts
    delegated_subgraphs: int
    reasons: list[OpMapping]
    parameters_cached_bytes: int | None
    parameters_streamed_bytes: int | None
    refusal: Refusal | None
    notes: list[str]
    macs_mapped: int
    macs_cpu: int
    macs_unsure: int
    capacity_bytes: int
    fit_doubtful: bool
    compiler: str
    sram_bytes: int
    dram_bytes: int
    on_chip_flash_bytes: int
    off_chip_flash_bytes: int
    npu_cycles: int
    estimated_cycles: int
    macs: int
    clock_hz: int
    inferences_per_second: float | None
    inference_ms: float | None
    system_config: str
    memory_mode: str


class LeftRow(TypedDict):
    """One thing that could not be rewritten exactly."""

    layer: str
    rule: str
    reason: str
    remedy: str


class LayerCounts(TypedDict):
    """How many layers and bare operations there were, nested ones included, and how many there are."""

    before: int
    after: int


class Fix(TypedDict):
    """What ``--fix`` did."""

    output: str | None
    changes: list[ChangeRow]
    left: list[LeftRow]
    max_difference: float
    relative_difference: float
    samples: int
    layers: LayerCounts


class Before(TypedDict):
    """What was said of the model before ``--fix``."""

    items: list[CheckItem]
    summary: CheckSummary


class _Fixed(CheckSummary, total=False):
    fix: Fix
    before: Before


class Check(_Fixed):
    """What ``edgeopt check --json`` writes; the summary's fields stand at top level, too.

    Attributes:
        verdict: "failed" where the target would refuse the model.
        target: Null where it was checked for all stages.
    """

    verdict: Passed
    model: str
    target: str | None
    items: list[CheckItem]
    summary: CheckSummary
