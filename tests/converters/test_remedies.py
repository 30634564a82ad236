"""Which remedy is named for which cause."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.converters.remedies import Found, advise, mixture, outlier_ratio
from edgeopt.evaluation.sensitivity import OperatorSensitivity

RNG = np.random.default_rng(0)
EVEN = RNG.uniform(-1, 1, (40, 8))
MIXED = EVEN * np.array([100, 1, 1, 1, 1, 1, 1, 1])
COSTLY = {"noise_share": 0.5, "only_int8_db": 20.0}


def row(**changes):
    fields = {
        "op": "CONV_2D", "index": 0, "layer": "conv", "tensor": "conv", "macs_share": 0.2, "noise_share": 0.0,
        "snr_db": 20.0, "here_db": 30.0, "only_int8_db": 50.0, "only_float_db": 21.0, "low": -1.0, "high": 1.0,
        "outliers": 1.0, "saturated": 0.0,
    }  # fmt: skip
    return OperatorSensitivity(**{**fields, **changes})


def found(result, *inputs, weighted=False, mask=None):
    return Found(result, inputs, [weighted] * len(inputs), mask)


@pytest.mark.parametrize(
    ("cause", "values", "ranges", "remedy"),
    [
        ({}, found(MIXED, EVEN), "minmax", ""),  # it costs nothing
        ({"noise_share": 0.9}, found(MIXED, EVEN), "minmax", ""),  # the outputs are the model's all the same
        (COSTLY, found(EVEN, EVEN, mask=-1e9), "best", "repair"),
        (COSTLY, found(EVEN, MIXED), "best", "repair"),
        (COSTLY | {"outliers": 9.0}, found(EVEN, EVEN), "minmax", "ranges"),
        (COSTLY | {"outliers": 9.0}, found(EVEN, EVEN), "percentile", "qat"),
        (COSTLY | {"saturated": 0.02}, found(EVEN, EVEN), "minmax", "ranges"),
        (COSTLY, found(MIXED, EVEN), "mse", "equalise"),
        (COSTLY, found(EVEN, MIXED, weighted=True), "mse", "equalise"),
        (COSTLY | {"op": "ADD"}, found(MIXED, EVEN), "mse", "qat"),  # it has no weights to take the spans up
        (COSTLY | {"macs_share": 0.01}, found(EVEN, EVEN), "mse", "float"),
        (COSTLY, found(EVEN, EVEN), "mse", "qat"),
        ({"op": "CONCATENATION"}, found(EVEN, EVEN, 500 * EVEN), "minmax", "repair"),
        ({"op": "CONCATENATION"}, found(EVEN, EVEN, 5 * EVEN), "minmax", ""),
    ],
)
def test_each_cause_has_its_remedy(cause, values, ranges, remedy):
    advice = advise(row(**cause), values, ranges)
    assert advice.remedy == remedy
    assert bool(advice.advice) == bool(remedy)


def test_a_channel_that_never_moves_does_not_count_as_narrow():
    assert mixture(EVEN * np.array([1, 1, 1, 1, 1, 0, 0, 0])) < 1.5
    assert mixture(MIXED) > 80
    assert mixture(np.zeros((4, 3))) == mixture(np.ones(5)) == 1.0


def test_outliers_are_counted_from_what_is_usual():
    values = np.r_[np.ones(10_000), 50.0]
    assert outlier_ratio(values) == 50
    assert outlier_ratio(np.zeros(4)) == outlier_ratio(np.zeros(0)) == 1
