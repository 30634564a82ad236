"""A pipeline on this machine: real processes, equal results, and parts that fail or die are named."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeopt.devices import BenchPlan, Device, PipelinePart, RunOptions
from edgeopt.errors import CheckError, DeviceError, EdgeoptError, ModelError, UsageError

from ..flatbuffer.conftest import FileBuilder
from .conftest import custom_operator_model, summing_model

QUICK = RunOptions(bench=BenchPlan(1, 0.0, min_runs=1, max_runs=20, min_seconds=0, max_seconds=0.1, processes=1))


def build(*steps: str, read: str, write: str) -> bytes:
    """Float operators on named tensors, "RELU a b" or "ADD a b c" each; the last name is the result."""
    file = FileBuilder()
    places: dict[str, int] = {}
    for step in steps:
        op, *names = step.split()
        ends = [places.setdefault(name, -1) for name in names]
        for at, name in enumerate(names):
            if ends[at] < 0:
                places[name] = ends[at] = file.tensor([1, 4], "float32", name=name)
        options = {} if op == "RELU" else {"options": f"{op.title()}Options"}
        file.operator(op, ends[:-1], ends[-1:], **options)
    return file.build([places[name] for name in read.split()], [places[name] for name in write.split()])


# s = max(-x, 0) + -x + z, and r = max(-x, 0): "n" goes past the second part, z past two, and r is written early.
WHOLE = build("NEG x n", "RELU n r", "ADD n r a", "ADD a z s", read="x z", write="s r")
PARTS = (
    PipelinePart("first", build("NEG x n", read="x", write="n")),
    PipelinePart("second", build("RELU n r", read="n", write="r")),
    PipelinePart("third", build("ADD n r a", "ADD a z s", read="n r z", write="s")),
)


def test_results_are_the_wholes_bit_for_bit_and_each_way_is_timed(device: Device) -> None:
    x, z = np.random.default_rng(0).normal(size=(2, 40, 4)).astype(np.float32)
    report = device.pipeline(
        PARTS, {"x": x, "z": z}, against=PipelinePart("w", WHOLE, threads=3), options=QUICK, queue=1
    )
    assert report.raw["differences"] == [{"output": "s", "samples": 0}, {"output": "r", "samples": 0}]
    assert (report.different, report.raw["samples"], report.raw["queue"], report.threads) == (0, 40, 1, 3)
    assert report.raw["link_bytes"] == [32, 32, 48, 32]  # x z | n z | n r z | s r
    assert [part["name"] for part in report.parts] == ["first", "second", "third"]
    assert report.whole is not None and report.throughput is not None and report.latency is not None
    assert report.throughput.pairs == len(report.raw["whole_ns"]) >= 1
    assert report.raw["whole"]["kernel_profile"]["threads"] in (1, 3)
    report.raise_for_difference()
    assert report.to_dict()["different_samples"] == 0


def test_a_whole_that_computes_something_else_is_found_out(device: Device) -> None:
    other = build("RELU x n", "RELU n r", "ADD n r a", "ADD a z s", read="x z", write="s r")
    report = device.pipeline(PARTS, against=PipelinePart("w", other), options=QUICK)
    assert (report.verdict, report.different) == ("different", report.raw["samples"])
    with pytest.raises(CheckError, match="differ from the whole's in 32 of 32 samples"):
        report.raise_for_difference()


def test_without_a_whole_there_are_times_and_no_comparison(device: Device) -> None:
    file = FileBuilder()
    y, z = (file.tensor([1, 3, 1], "float32", name=name) for name in "yz")
    file.operator("NEG", [y], [z], options="NegOptions")
    parts = [PipelinePart("sum", summing_model()), PipelinePart("sign", file.build([y], [z]))]
    report = device.pipeline(parts, options=QUICK)
    assert (report.whole, report.throughput, report.different) == (None, None, None)
    assert report.to_dict()["throughput"] is None and report.stream.per_second > 0


@pytest.mark.parametrize(
    ("parts", "against", "message"),
    [
        ((PARTS[1], PARTS[0]), None, "first reads 'x', which no part before it writes"),
        (PARTS[:2], WHOLE, "the whole reads 'z', which none of the parts reads"),
        ((PARTS[1], PARTS[0], PARTS[2]), WHOLE, "second reads 'n', which no part before it writes"),
        ((PARTS[0], PARTS[0]), None, "Two parts of the pipeline have one name"),
        (PARTS[:1], None, "Received 1 parts of a pipeline, expected 2 to 64"),
    ],
)
def test_parts_that_are_no_pipeline_are_bad_usage(device: Device, parts, against, message) -> None:  # type: ignore[no-untyped-def]
    whole = None if against is None else PipelinePart("w", against)
    with pytest.raises(UsageError, match=message):
        device.pipeline(parts, against=whole, options=QUICK)


def test_a_part_that_cannot_run_is_named(device: Device) -> None:
    with pytest.raises(
        ModelError, match="part 2 of 2, strange: the model is compiled for the Edge TPU, and was run without"
    ):
        device.pipeline([PARTS[0], PipelinePart("strange", custom_operator_model())], options=QUICK)


def test_each_part_asks_for_its_own_chip(device: Device) -> None:
    """The edge of the hardware: the delegate of the second part is what is missing here."""
    parts = [PARTS[0], replace(PARTS[1], delegate=":1")]
    with pytest.raises(DeviceError, match=r"part 2 of 2, second: .*(libedgetpu\.so\.1|Edge TPU)"):
        device.pipeline(parts, options=QUICK)


def descendants(pid: int) -> list[int]:
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    own = [int(text) for found in lists for text in found.split()]
    return own + [further for child in own for further in descendants(child)]


def test_a_part_that_dies_is_named_with_its_signal(device: Device) -> None:
    found: list[EdgeoptError] = []
    plan = BenchPlan(1, 0.0, min_runs=1, max_runs=10**9, min_seconds=60, max_seconds=60, processes=1)
    timing = threading.Event()

    def run() -> None:
        try:
            device.pipeline(PARTS[:2], options=RunOptions(bench=plan), on_progress=lambda told: timing.set())
        except EdgeoptError as error:
            found.append(error)

    before = set(descendants(os.getpid()))
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert timing.wait(60)
    started = set(descendants(os.getpid())) - before
    os.kill(max(pid for pid in started if not descendants(pid)), signal.SIGSEGV)  # the last one that was started
    thread.join(30)
    (error,) = found
    assert "part 2 of 2, second: the worker was killed by SIGSEGV while running the model" in str(error)
    assert not set(descendants(os.getpid())) - before
