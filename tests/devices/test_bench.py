"""Timing a file on a device: plans, thread counts, two files in turns, time series, and runs that do not count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.devices import BenchPlan, Device, FakeTransport, RunOptions, bench_plan, load_profile
from edgeopt.devices.measurement import Comparison
from edgeopt.errors import InvalidRunError, ModelError, UsageError

from .conftest import RUNTIMES

QUICK = RunOptions(bench=BenchPlan(1, 0.0, min_runs=5, max_runs=20, min_seconds=0, max_seconds=1, processes=1))
FIVE = RunOptions(bench=BenchPlan(1, 0.0, min_runs=30, max_runs=30, min_seconds=0, max_seconds=60, processes=5))


@pytest.fixture
def models(shared_data):
    keywords = (shared_data / "kws" / "ref_int8.tflite").read_bytes()
    return keywords, (shared_data / "cifar10" / "mlperf_resnet8_int8.tflite").read_bytes()


def faked(change=lambda result: None, samples_ms=(1.0, 1.0, 2.0)):
    """A device whose timing is invented, and may be changed further."""
    transport = FakeTransport.measuring(samples_ms=samples_ms)
    answer = transport._answer

    def altered(request):
        result = answer(request)
        change(result["latency"])
        return result

    transport._answer = altered
    return Device(transport, load_profile("local"))


def test_a_number_of_runs_is_exact():
    plan = bench_plan(runs=7, warmup=3)
    assert (plan.min_runs, plan.max_runs, plan.warmup_runs, plan.processes) == (7, 7, 3, 9)
    assert bench_plan(processes=2).processes == 2


def test_a_long_time_is_kept_and_looked_at():
    plan = bench_plan(seconds=300)
    assert (plan.min_seconds, plan.max_seconds, plan.observe_seconds) == (300, 300, 5)
    assert bench_plan(seconds=2).observe_seconds == 0


@pytest.mark.parametrize(
    "bounds", [{"runs": 0}, {"seconds": 0}, {"seconds": float("nan")}, {"warmup": -1}, {"processes": 0}]
)
def test_bounds_out_of_range_are_refused(bounds):
    with pytest.raises(UsageError, match="expected"):
        bench_plan(**bounds)


def test_each_number_of_threads_is_timed(device, models):
    report = device.bench(models[0], threads=[1, 2], options=QUICK)
    assert [run.measurement.kernel_profile.threads for run in report.runs] == [1, 2]
    assert report.facts["arena_bytes"] > 0
    fields = report.to_dict()
    assert fields["runs"][0]["latency_ms"]["p50"] > 0
    assert fields["emulated"] is False
    assert "latency_note" not in fields


def test_a_timing_is_spread_over_processes_whose_medians_give_the_interval(device, models):
    latency = device.bench(models[0], options=FIVE, against=models[1]).runs[0].latency
    medians = latency.runs["process_p50_ms"]
    assert (len(medians), latency.runs["runs"], len(latency.samples_ms)) == (5, 30, 30)
    assert medians == pytest.approx([np.median(part) for part in np.split(latency.samples_ms, 5)])
    low, high = latency.figures["p50_ci95"]
    assert low <= min(medians) <= latency.figures["p50"] <= max(medians) <= high
    assert latency.comparison.ratio_ci95[0] <= latency.comparison.ratio <= latency.comparison.ratio_ci95[1]
    assert latency.comparison.pairs >= 20


@pytest.mark.parametrize("threads", [[], [1, 1], [0]])
def test_threads_that_are_none_are_refused(device, models, threads):
    with pytest.raises(UsageError, match="threads is"):
        device.bench(models[0], threads=threads, options=QUICK)


def test_a_smaller_model_is_shown_to_be_faster(device, models):
    compared = device.bench(models[0], options=FIVE, against=models[1]).runs[0].latency.comparison
    assert compared is not None
    assert compared.verdict == "faster"
    assert compared.pairs >= 20
    assert compared.ratio_ci95[0] <= compared.ratio <= compared.ratio_ci95[1] < 1


def test_few_turns_show_no_difference_and_say_why(device, models):
    three = RunOptions(bench=BenchPlan(1, 0.0, min_runs=3, max_runs=3, min_seconds=0, max_seconds=1, processes=3))
    compared = device.bench(models[0], options=three, against=models[1]).runs[0].latency.comparison
    assert compared.ratio_ci95 is None and compared.verdict == "no difference shown"
    assert compared.to_dict()["no_interval"] == "3 processes are too few for a 95 % interval; take 5 or more"


def test_a_model_is_not_shown_to_be_faster_than_itself(device, models):
    compared = device.bench(models[0], options=QUICK, against=models[0]).runs[0].latency.comparison
    assert compared is not None
    # On a busy machine the interval is wide; it must still lie about 1.
    assert 0.8 < compared.ratio < 1.25


def test_the_verdict_needs_the_whole_interval_on_one_side():
    noisy = Comparison.from_reply({"first_ns": [9000, 11000, 9000, 11000] * 15, "second_ns": [10000] * 60})
    faster = Comparison.from_reply({"first_ns": [9000] * 60, "second_ns": [10000] * 60})
    assert faster.ratio_ci95 == pytest.approx((0.9 - 0.9 * (120 / 9000 + 120 / 10000), 0.9 * (1 + 120 / 9000 + 0.012)))
    assert (noisy.verdict, faster.verdict) == ("no difference shown", "faster")
    assert faster.ratio == pytest.approx(0.9)


def test_a_throttled_run_is_invalid_and_strict_raises():
    def throttle(latency):
        latency["conditions"]["after"] = {**latency["conditions"]["after"], "throttling": {"flags": ["throttled now"]}}

    with faked(throttle) as device:
        report = device.bench(b_model(), options=QUICK)
    assert report.to_dict()["verdict"] == "invalid"
    with pytest.raises(InvalidRunError, match=r"does not count: throttled \(throttled now\)") as caught:
        report.raise_for_invalid()
    assert caught.value.exit_code == 5


def test_a_good_run_does_not_raise():
    with faked() as device:
        report = device.bench(b_model(), options=QUICK)
    report.raise_for_invalid()
    assert report.to_dict()["verdict"] == "ok"


def test_an_emulated_board_is_said_to_be_no_measurement():
    def emulate(latency):
        latency["conditions"]["board"] = {"model": "x", "emulated": True}

    with faked(emulate) as device:
        fields = device.bench(b_model(), options=QUICK).to_dict()
    assert fields["emulated"] is True
    assert fields["latency_note"].startswith("not a measurement")
    assert fields["runs"][0]["latency_note"].startswith("not a measurement")
    with pytest.raises(InvalidRunError, match="does not count: emulated"), faked(emulate) as device:
        device.bench(b_model(), options=QUICK).raise_for_invalid()


def test_a_board_that_slows_down_shows_it_over_time():
    def long(latency):
        latency["seconds"] = 60.0

    with faked(long, samples_ms=np.repeat([1.0, 2.0], 500)) as device:
        fields = device.bench(b_model(), options=QUICK).to_dict()["runs"][0]
    assert fields["slowdown"] == pytest.approx(2.0)
    assert fields["over_time"][-1]["seconds"] == pytest.approx(60.0)
    assert fields["over_time"][9]["seconds"] == pytest.approx(20.0)  # the fast half takes a third of the time


def test_energy_is_reported_from_a_sensor_and_never_without():
    def sensor(latency):
        latency["observed"] = [{"power_w": 2.0, "seconds": 1.0, "runs": 1}, {"power_w": 4.0, "seconds": 2.0, "runs": 2}]
        latency["seconds"] = 2.0

    with faked(sensor) as device:
        energy = device.bench(b_model(), options=QUICK).to_dict()["runs"][0]["energy"]
    assert energy["mean_power_w"] == 3.0
    assert energy["joules_per_run"] == pytest.approx(3.0 * 2.0 / 3)
    with faked() as device:
        assert device.bench(b_model(), options=QUICK).to_dict()["runs"][0]["energy"] is None


def b_model():
    from .conftest import halving_model

    return halving_model()


def test_a_run_that_is_to_be_kept_leaves_its_folder_until_the_next(device, models):
    from pathlib import Path

    runs = Path(device.transport.workdir) / "runs"
    device.bench(models[0], options=replace(QUICK, keep=True))
    assert len(list(runs.iterdir())) == 1
    device.bench(models[0], options=QUICK)
    assert list(runs.iterdir()) == []


@pytest.mark.skipif("ai_edge_litert" not in RUNTIMES, reason="the profiler is ai_edge_litert's")
def test_each_operator_s_time_is_told(device, models):
    options = replace(QUICK, runtime="ai_edge_litert", kernels="reference", op_profile=True)
    found = device.bench(models[0], options=options).to_dict()["runs"][0]["op_profile"]
    names = [item["op"] for item in found["operators"]]
    assert [item["index"] for item in found["operators"]] == list(range(len(names))), "in the order of execution"
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SOFTMAX"} <= set(names)
    assert sum(item["share"] for item in found["operators"]) == pytest.approx(1, abs=0.01)
    assert all(item["ms"] >= 0 and item["by"] == "builtin" for item in found["operators"])


@pytest.mark.skipif("tflite_runtime" not in RUNTIMES, reason="tflite_runtime is not installed")
def test_a_runtime_without_a_profiler_is_told(device, models):
    found = device.bench(models[0], options=replace(QUICK, runtime="tflite_runtime", op_profile=True))
    assert found.to_dict()["runs"][0]["op_profile"] == {"problem": "tflite_runtime offers no per-operator profile"}


def test_operators_are_told_beside_the_timing_of_a_model_without_a_delegate(device):
    from .conftest import custom_operator_model, lookup_model

    found = device.bench(lookup_model(), options=replace(QUICK, op_profile=True)).to_dict()["runs"][0]
    assert found["latency_ms"]["p50"] > 0
    assert [item["op"] for item in found["op_profile"]["operators"]] == ["GATHER"]
    with pytest.raises(ModelError, match="custom op"):
        device.bench(custom_operator_model(), options=replace(QUICK, op_profile=True))


def test_what_a_file_takes_of_memory_is_what_its_process_grew_by(device):
    """Two tensors of 8 MB live at once; of two files nobody can tell which took what."""
    from .conftest import float_model

    wide = float_model(width=2_000_000)
    alone = device.measure(wide, options=QUICK).latency.conditions
    assert 16_000_000 <= alone["grown_bytes"] < 40_000_000
    assert "grown_bytes" not in device.measure(wide, options=QUICK, against=float_model()).latency.conditions
