"""Reading the profiler's summary, and what is said where there is no profiler."""

from __future__ import annotations

import pytest

from edgeopt.devices.agent import opprofile
from edgeopt.devices.agent.processes import _op_profile
from edgeopt.devices.agent.protocol import AgentError, Message

# As LiteRT 2.3 prints it, shortened.
SUMMARY = """\
================ Run Order ================
             [node type]    [start]    [first]   [avg ms]        [%]     [cdf%]   [mem KB] [times called]   [Name]
   Delegate/Fully Connected (NC, QS8, QC8W) GEMM      0.000      0.006      0.002     20.0%    20.0%      0.000             40   [Delegate]:2
       AVERAGE_POOL_2D      0.009      0.002      0.001     80.000%   100.000%      0.000             20   [Builtin]:15

================ Top by Computation Time ================
       AVERAGE_POOL_2D      0.009      0.002      0.001     80.000%   100.000%      0.000             20   [Builtin]:15
"""


def test_the_first_table_is_read_and_no_other() -> None:
    found = opprofile.parse(SUMMARY, runs=20)
    assert [(item["op"], item["by"], item["index"]) for item in found] == [
        ("Fully Connected (NC, QS8, QC8W) GEMM", "delegate", 2),
        ("AVERAGE_POOL_2D", "builtin", 15),
    ]
    assert [item["ms"] for item in found] == pytest.approx([0.004, 0.001]), "called twice in each run"
    assert [item["share"] for item in found] == pytest.approx([0.2, 0.8])


def test_a_summary_in_other_words_is_an_error_and_not_an_empty_profile() -> None:
    with pytest.raises(AgentError, match="holds no operators"):
        opprofile.parse("Number of nodes executed: 0", runs=20)


def test_a_library_without_the_profiler_is_named() -> None:
    library = opprofile._Library("libc.so.6")
    with pytest.raises(AgentError, match=r"lacks LiteRtGetProfileSummary; ai-edge-litert 2\.3 has it"):
        library.call("GetProfileSummary")
    with pytest.raises(AgentError, match=r"libLiteRt\.so does not load"):
        opprofile._Library("/nowhere/libLiteRt.so")


class Crashing:
    """Stands where the supervisor does: its worker dies."""

    def run(self, request: Message) -> Message:
        raise AgentError("crashed", "the worker was killed by SIGSEGV while running the model")


def test_a_profiler_that_crashes_is_a_problem_and_no_failure() -> None:
    kernels = {"runtime": "ai_edge_litert"}
    assert "SIGSEGV" in _op_profile(Crashing(), {}, kernels)["problem"]  # type: ignore[arg-type]
    assert "delegate" in _op_profile(Crashing(), {"delegate": "edgetpu"}, kernels)["problem"]  # type: ignore[arg-type]
