"""The shared arithmetic, held to the reference kernels of the real runtimes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeopt.devices.agent.arith import dequantize, hits, percentile, quantize, real_range, top_k

from ...flatbuffer.conftest import FileBuilder
from ..conftest import RUNTIMES

SCALE, ZERO_POINT = np.float32(0.5847029), 83

RUN = """
import sys, importlib, numpy as np
module = importlib.import_module(sys.argv[1] + ".interpreter")
kernels = module.OpResolverType.BUILTIN_REF
interpreter = module.Interpreter(sys.argv[2], experimental_op_resolver_type=kernels)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.load(sys.argv[3]))
interpreter.invoke()
np.save(sys.argv[4], interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""


def run_reference(runtime: str, model: bytes, data: np.ndarray, folder: Path) -> np.ndarray:
    (folder / "m.tflite").write_bytes(model)
    np.save(folder / "x.npy", data)
    names = [str(folder / name) for name in ("m.tflite", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-c", RUN, runtime, *names], check=True, timeout=60, capture_output=True)
    return np.load(folder / "y.npy")


def values() -> np.ndarray:
    """Halves of a step, their float32 neighbours, what lies beyond the range, and noise."""
    halves = (np.arange(-260, 260, dtype=np.float32) + np.float32(0.5)) * SCALE
    close = [np.nextafter(halves, np.float32(sign * 1e9)) for sign in (-1, 1)]
    noise = np.random.default_rng(0).normal(0, 60, 2000).astype(np.float32)
    far = np.array([0, -0.0, 1e-30, 1e6, -1e6, np.nextafter(np.float32(0.5), np.float32(0)) * SCALE], np.float32)
    return np.concatenate([halves, *close, noise, far])


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_quantize_is_the_reference_kernel_bit_for_bit(runtime: str, dtype: str, tmp_path: Path) -> None:
    zero_point = 0 if dtype == "int16" else ZERO_POINT
    x = values()
    file = FileBuilder()
    given = file.tensor([len(x)], "float32", name="x")
    found = file.tensor([len(x)], dtype, name="y", scales=[float(SCALE)], zero_points=[zero_point])
    file.operator("QUANTIZE", [given], [found], options="QuantizeOptions", version=2)
    expected = run_reference(runtime, file.build([given], [found]), x, tmp_path)
    np.testing.assert_array_equal(quantize(x, float(SCALE), zero_point, np.dtype(dtype)), expected)
    # The planted bad case: NumPy's rounding of halves to even is not the kernel's.
    bounds = np.iinfo(dtype)
    to_even = np.clip(np.rint(x / SCALE) + zero_point, bounds.min, bounds.max).astype(dtype)
    assert (to_even != expected).any()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_dequantize_is_the_reference_kernel_bit_for_bit(runtime: str, tmp_path: Path) -> None:
    stored = np.arange(-128, 128).astype(np.int8)
    file = FileBuilder()
    given = file.tensor([256], "int8", name="x", scales=[float(SCALE)], zero_points=[ZERO_POINT])
    found = file.tensor([256], "float32", name="y")
    file.operator("DEQUANTIZE", [given], [found], version=2, options="DequantizeOptions")
    expected = run_reference(runtime, file.build([given], [found]), stored, tmp_path)
    np.testing.assert_array_equal(dequantize(stored, float(SCALE), ZERO_POINT), expected)
    assert (dequantize(stored, float(SCALE), ZERO_POINT + 1) != expected).all()


def test_values_far_outside_saturate_where_the_kernel_s_own_conversion_overflows() -> None:
    far = np.array([3e38, -3e38, 1e12, -1e12], np.float32)
    np.testing.assert_array_equal(quantize(far, 0.01, 5, np.int8), [127, -128, 127, -128])


def test_any_type_of_the_same_values_quantises_alike() -> None:
    x = np.arange(0, 256)
    kinds = [quantize(x.astype(kind), 0.7, -5, np.int8) for kind in (np.uint8, np.int64, np.float32, np.float64)]
    for other in kinds[1:]:
        np.testing.assert_array_equal(kinds[0], other)


def test_a_round_trip_stays_within_half_a_step() -> None:
    low, high = real_range(0.25, 10, np.int8)
    x = np.random.default_rng(0).uniform(low, high, 1000)
    error = np.abs(dequantize(quantize(x, 0.25, 10, np.int8), 0.25, 10) - x)
    # float32 rounds x itself by at most 2**-19 (|x| < 64) before it is quantised.
    assert error.max() <= 0.125 + 2.0**-19
    assert error.max() > 0.12, "the error must reach half a step, or this test shows nothing"


def test_quantising_leaves_the_data_alone() -> None:
    x = np.array([1.0, 2.0], np.float32)
    quantize(x, 0.5, 0, np.int8)
    np.testing.assert_array_equal(x, [1.0, 2.0])


def test_the_range_of_a_tensor() -> None:
    assert real_range(0.5, 0, np.int8) == (-64.0, 63.5)
    assert real_range(1.0, 128, np.uint8) == (-128.0, 127.0)


def test_percentiles_are_interpolated() -> None:
    assert percentile(np.array([1.0, 2.0, 3.0, 4.0]), 50) == 2.5
    assert percentile(np.array([7.0]), 99) == 7.0


def test_top_k_takes_the_lower_class_of_equal_scores() -> None:
    scores = np.array([[3, 5, 5, -128], [1, 0, 2, 2]], np.int8)
    np.testing.assert_array_equal(top_k(scores, 2), [[1, 2], [2, 3]])
    np.testing.assert_array_equal(top_k(scores, 1)[:, 0], np.argmax(scores, axis=1))
    np.testing.assert_array_equal(top_k(scores.astype(np.float32), 9), [[1, 2, 0, 3], [2, 3, 0, 1]])


def test_large_whole_scores_are_not_rounded_on_their_way() -> None:
    scores = np.array([[2**53, 2**53 + 1, 5]], np.int64)  # float64 holds them for equal
    np.testing.assert_array_equal(top_k(scores, 2), [[1, 0]])


def test_a_score_of_exactly_one_half_is_a_no() -> None:
    np.testing.assert_array_equal(hits(np.array([0.5, 0.5]), np.array([0, 1])), [True, False])


def test_hits_for_one_score_and_for_many() -> None:
    np.testing.assert_array_equal(hits(np.array([[0.2], [0.7]]), np.array([0, 0])), [True, False])
    np.testing.assert_array_equal(hits(np.array([0.2, 0.7]), np.array([1, 1])), [False, True])
    scores = np.array([[0.1, 0.5, 0.4]])
    assert not hits(scores, np.array([2]))[0]
    assert hits(scores, np.array([2]), 2)[0]
