"""`Device` on this machine: the real agent, real runtimes, models whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeopt.devices import BenchPlan, Device, Progress, RunOptions
from edgeopt.devices.agent.arith import quantize
from edgeopt.errors import DataError, FileFormatError, InvokeError, ModelError, UsageError
from edgeopt.evaluation.budget import Budget

from .conftest import (
    RUNTIMES,
    classifier_model,
    custom_operator_model,
    fixed_batch_model,
    float_model,
    halving_model,
    lookup_model,
    mixing_model,
    summing_model,
    two_input_model,
    unbatched_output_model,
)

X = np.random.default_rng(0).uniform(-30, 30, (210, 4)).astype(np.float32)


def test_timing_and_outputs_come_from_one_job(device: Device, quick: RunOptions) -> None:
    found = device.measure(float_model(), {"x": X}, quick)
    assert found.latency is not None and found.evaluation is not None
    assert found.latency.runs["runs"] == len(found.latency.samples_ms) == 20
    assert (found.latency.samples_ms > 0).all()
    assert found.latency.figures["cold"] == found.latency.figures["load"] + found.latency.figures["first"]
    np.testing.assert_array_equal(found.evaluation.outputs[0].stored, np.maximum(X, 0))


def test_the_file_s_own_scale_quantises_inputs_and_dequantises_outputs(device: Device, untimed: RunOptions) -> None:
    found = device.measure(halving_model(), {"x": X}, untimed).evaluation
    assert found is not None
    coarse = 0.5 * (quantize(X, 0.5, -3, np.int8).astype(np.float32) + 3)
    # The second quantisation, in the model, has a step of 1: half a step is the most that it may add.
    assert np.abs(found.outputs[0].real() - coarse).max() <= 0.5
    assert np.abs(found.outputs[0].real() - X).max() > 0.5, "the planted error of the first step must be there"
    assert found.outputs[0].stored.dtype == np.int8


@pytest.mark.parametrize("batch", [1, 2])
def test_batches_on_several_cores_give_what_single_samples_give(
    device: Device, untimed: RunOptions, batch: int
) -> None:
    batched = device.measure(halving_model(batch), {"x": X}, untimed).evaluation
    singles = [device.measure(halving_model(batch), {"x": X[i : i + batch]}, untimed).evaluation for i in (0, 104)]
    assert batched is not None and batched.batch == 16 and batched.reasons == ()
    for first, single in zip((0, 104), singles, strict=True):
        assert single is not None and single.reasons == ("few_samples",)
        rows = batched.outputs[0].stored[first : first + batch]
        np.testing.assert_array_equal(rows, single.outputs[0].stored)


@pytest.mark.parametrize(
    ("model", "data", "expected", "reason"),
    [
        (fixed_batch_model(), X.reshape(-1, 2, 2), X, "fixed_batch"),
        (mixing_model(), X, np.zeros_like(X), "outputs_differ"),
        (unbatched_output_model(), X, X, "outputs_not_batched"),
        (summing_model(), X[:, :3, None], np.cumsum(X[:, :3, None], axis=1), "stateful"),
        (float_model(), X[:7], np.maximum(X[:7], 0), "few_samples"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_samples_go_one_by_one_where_a_batch_would_change_them(
    device: Device, untimed: RunOptions, model: bytes, data: np.ndarray, expected: np.ndarray, reason: str
) -> None:
    found = device.measure(model, {"x": data}, untimed).evaluation
    assert found is not None
    assert (found.batch, found.reasons) == (1, (reason,))
    # Up to 3 additions of numbers below 100 in float32: 3 roundings of 2**-18 each.
    np.testing.assert_allclose(found.outputs[0].stored, expected, atol=3 * 2.0**-18)


def test_inputs_are_bound_by_name_although_their_shapes_are_equal(device: Device, untimed: RunOptions) -> None:
    zebra, apple = X[:, :2], X[:, 2:]
    found = device.measure(two_input_model(), {"apple": apple, "zebra": zebra}, untimed).evaluation
    assert found is not None
    assert [output.name for output in found.outputs] == ["zoo", "air"]
    np.testing.assert_array_equal(found.outputs[0].real(), -zebra)
    np.testing.assert_array_equal(found.outputs[1].real(), np.maximum(apple, 0))


def test_integer_inputs_without_a_scale_take_numbers_as_they_are(device: Device, untimed: RunOptions) -> None:
    found = device.measure(lookup_model(), {"token": np.array([2, 0, 1, 1], np.int64)}, untimed).evaluation
    assert found is not None
    np.testing.assert_array_equal(found.outputs[0].real(), [[4, 5], [0, 1], [2, 3], [2, 3]])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_kernel_profile_names_what_ran(device: Device, runtime: str) -> None:
    options = RunOptions(runtime=runtime, threads=2, kernels="reference", bench=None)
    profile = device.measure(float_model(), {"x": X[:2]}, options).kernel_profile
    assert (profile.runtime, profile.threads, profile.kernels, profile.delegate) == (runtime, 2, "reference", "none")
    assert profile.version[0].isdigit()


def test_auto_takes_litert_which_gives_float_models_to_xnnpack(device: Device, untimed: RunOptions) -> None:
    profile = device.measure(float_model(), {"x": X[:2]}, untimed).kernel_profile
    assert (profile.runtime, profile.delegate) == ("ai_edge_litert", "xnnpack")


def test_a_model_is_timed_on_noise_when_there_are_no_data(device: Device, quick: RunOptions) -> None:
    found = device.measure(halving_model(), None, quick)
    assert found.evaluation is None and found.latency is not None
    assert found.to_dict()["samples_ms"] == found.latency.samples_ms.tolist()


def test_slow_machines_stop_at_the_seconds(device: Device) -> None:
    plan = BenchPlan(0, 0.0, min_runs=10**6, max_runs=10**7, min_seconds=0, max_seconds=0.2, processes=1)
    found = device.measure(float_model(), None, RunOptions(bench=plan)).latency
    assert found is not None and found.runs["stopped_by"] == "max_seconds"
    assert 0.2 <= found.runs["seconds"] < 2


def test_progress_is_told(device: Device, untimed: RunOptions) -> None:
    events: list[Progress] = []
    device.measure(float_model(), {"x": X}, untimed, on_progress=events.append)
    assert {(event.stage, event.total) for event in events} == {("evaluate", 210)}, "and so at least one"
    done = [event.done for event in events]
    assert done == sorted(set(done)) and done[-1] == 210


def test_nothing_is_left_in_the_work_folder(device: Device, untimed: RunOptions) -> None:
    device.measure(float_model(), {"x": X}, untimed)
    assert list((Path(device.transport.workdir) / "runs").iterdir()) == []


def test_info_tells_the_board_and_its_runtimes(device: Device) -> None:
    found = device.info()
    assert found["board"]["cores"] >= 1 and found["board"]["kernel"]
    assert {item["name"] for item in found["runtimes"]} == {"ai_edge_litert", "tflite_runtime"}


def test_data_that_hardly_fit_the_file_s_range_are_warned_of(device: Device, untimed: RunOptions) -> None:
    beyond = device.measure(halving_model(), {"x": 10 * X}, untimed)
    tiny = device.measure(halving_model(), {"x": X / 30}, untimed)
    right = device.measure(halving_model(), {"x": X}, untimed)
    assert "beyond the [-62.5, 65] that the file can store" in beyond.warnings[0]
    assert "a small part of the [-62.5, 65]" in tiny.warnings[0]
    assert right.warnings == ()


@pytest.mark.parametrize(
    ("model", "inputs", "error", "message"),
    [
        (float_model(), {"y": X}, DataError, "'y', which is no input of the model; expected one of x"),
        (two_input_model(), {"zebra": X}, DataError, "No data for input 'apple'"),
        (two_input_model(), {"zebra": X, "apple": X[:3]}, DataError, r"hold \[3, 210\] samples"),
        (float_model(), {"x": X[:0]}, DataError, r"hold \[0\] samples"),
        (float_model(), {"x": X[:, :3]}, DataError, r"shape \(210, 3\); expected \(n, 4\)"),
        (float_model(), {"x": X.reshape(-1)}, DataError, r"shape \(840,\); expected \(n, 4\)"),
        (float_model(), {"x": X.astype(complex)}, DataError, "holds complex128; expected real numbers"),
        (float_model(), {"x": np.where(X[9, 2] == X, np.nan, X)}, DataError, "sample 9 of input 'x' holds NaN"),
        (lookup_model(), {"token": np.array([0.5])}, DataError, "int32 and has no scale"),
        (lookup_model(), {"token": np.array([7])}, InvokeError, "fails when it is run: gather index out of bounds"),
        (custom_operator_model(), {"x": X}, ModelError, "unresolved custom op: edgetpu-custom-op"),
        (float_model()[:200], {"x": X}, FileFormatError, "corrupt .tflite file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_named(
    device: Device, untimed: RunOptions, model: bytes, inputs: dict[str, np.ndarray], error: type, message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        device.measure(model, inputs, untimed)
    assert caught.type is error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tflite"}, "Unknown runtime 'tflite'; did you mean 'tflite_runtime'"),
        ({"kernels": "fast"}, "Unknown kernels 'fast'"),
        ({"threads": 0}, "threads is 0; expected at least 1"),
    ],
)
def test_options_check_themselves(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunOptions(**options)  # type: ignore[arg-type]


def test_bench_plans_check_themselves() -> None:
    with pytest.raises(UsageError, match="min_runs is 9 and max_runs 8"):
        BenchPlan(min_runs=9, max_runs=8)
    with pytest.raises(UsageError, match="min_seconds is 2"):
        BenchPlan(min_seconds=2, max_seconds=1)
    with pytest.raises(UsageError, match="processes is 0"):
        BenchPlan(processes=0)


def test_validate_scores_arrays(device: Device, quick: RunOptions) -> None:
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    report = device.validate(
        classifier_model(), {"x": scores}, np.array([0, 1, 2, 0]), options=quick, budget=Budget(min_metric=0.8)
    )
    assert report.to_dict()["accuracy"] == 0.75
    assert report.verdict == "missed"


def test_real_models_reach_their_known_accuracy_under_every_runtime(device: Device, shared_data: Path) -> None:
    """MLPerf Tiny's keyword-spotting file scores 90.2 % on these 1000 samples; kernels differ in a sample or two."""
    archive = np.load(shared_data / "kws" / "test.npz")
    model = (shared_data / "kws" / "ref_int8.tflite").read_bytes()
    for runtime in RUNTIMES:
        found = device.measure(model, {"input_1": archive["x"]}, RunOptions(runtime=runtime, bench=None)).evaluation
        assert found is not None
        accuracy = (found.outputs[0].stored.argmax(axis=1) == archive["y"]).mean()
        assert accuracy == pytest.approx(0.902, abs=0.002)


def test_every_count_of_samples_comes_back_whole(device: Device, untimed: RunOptions) -> None:
    for count in (1, 2, 3, 5, 8, 9, 13, 51, 203):
        found = device.measure(halving_model(batch=2), {"x": X[:count]}, untimed).evaluation
        assert found is not None and found.outputs[0].stored.shape == (count, 4)
        whole = quantize(0.5 * (quantize(X[:count], 0.5, -3, np.int8).astype(np.float32) + 3), 1.0, 0, np.int8)
        # The two kernels round the very halves differently: by at most one step.
        assert np.abs(found.outputs[0].stored.astype(int) - whole).max() <= 1
