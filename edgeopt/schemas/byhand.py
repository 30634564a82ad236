"""What the agent prints with ``--json`` when it is run by hand, on the board."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..devices.agent import records
from ..devices.measurement import KernelProfile


class AgentTool(TypedDict):
    """What wrote it: one file, whose version is its hash."""

    name: Literal["edgeopt-agent"]


class _Result(TypedDict):
    tool: AgentTool
    verdict: Literal["ok"]


class AgentInfo(_Result):
    """What ``edgeopt-agent.pyz info --json`` prints."""

    board: dict[str, object]
    state: records.State
    runtimes: list[records.Installation]


class Batches(TypedDict):
    """How the samples went through, and why not more at a time."""

    batch: int
    workers: int
    reasons: list[str]
    seconds: float


class _Ran(_Result):
    model: str
    kernel_profile: KernelProfile
    runtimes_skipped: list[records.Skipped]


class _Scored(_Ran, total=False):
    accuracy: float
    top5: float
    mae: float
    mse: float


class AgentEval(_Scored):
    """What ``edgeopt-agent.pyz eval --json`` prints; scores with ``--labels``."""

    samples: int
    evaluation: Batches


class _BenchMore(_Scored, total=False):
    samples: int
    evaluation: Batches
    latency_note: str
    op_profile: records.OpProfile


class AgentBench(_BenchMore):
    """What ``edgeopt-agent.pyz bench --json`` prints; of samples and scores with ``--labels``."""

    latency_ms: records.Figures
    latency_runs: records.Runs
    conditions: records.Conditions
    emulated: bool
