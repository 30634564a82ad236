"""Fixtures for the tests of loading and bridging models."""

from __future__ import annotations

import numpy as np
import pytest

_NEAR_ONE, _NEAR_ZERO = (0.5, 1.5), (-0.2, 0.2)
_RANGES = {
    "alpha": (0.0, 0.4),
    "beta": _NEAR_ZERO,
    "bias": _NEAR_ZERO,
    "gamma": _NEAR_ONE,
    "moving_mean": _NEAR_ZERO,
    "moving_variance": _NEAR_ONE,
}


@pytest.fixture
def randomise():
    """Give every weight that starts as zeros or ones a random value: as they are, two swapped ones would not show."""
    return _randomise


def _randomise(model, seed=0):
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.name.split("/")[-1].split(":")[0]
        if name in _RANGES:
            weight.assign(generator.uniform(*_RANGES[name], weight.shape))
    return model
