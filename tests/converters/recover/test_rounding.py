"""Weights are rounded for what comes out of a layer."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edgeopt.converters.recover.rounding import descend

RNG = np.random.default_rng(0)
INPUTS, CHANNELS = 7, 5
ROWS = RNG.normal(size=(300, INPUTS)) @ RNG.normal(size=(INPUTS, INPUTS)) + 2  # inputs that go together
GRAM = ROWS.T @ ROWS / len(ROWS)
WEIGHTS = RNG.uniform(-20, 20, (INPUTS, CHANNELS))
WEIGHTS[2] = 0
LACKING = RNG.normal(size=(300, CHANNELS))
PULL = ROWS.T @ LACKING / len(ROWS)


def error(integers):
    """Of each channel."""
    return ((ROWS @ (integers - WEIGHTS) - LACKING) ** 2).mean(axis=0)


def test_it_is_near_the_best_of_all_roundings_and_far_better_than_the_nearest():
    nearest = np.rint(WEIGHTS).astype(np.int64)
    found = descend(GRAM, PULL, WEIGHTS, nearest)
    ways = np.array(list(product((0, 1), repeat=INPUTS)))  # each weight down or up
    best = [min(error(np.floor(WEIGHTS) + way[:, None])[channel] for way in ways) for channel in range(CHANNELS)]
    assert np.all(error(found) <= error(nearest))
    assert np.mean(error(found)) < np.mean(error(nearest)) / 2
    assert np.mean(error(found)) < 2 * np.mean(best)


def test_a_weight_goes_up_or_down_and_zero_stays():
    found = descend(GRAM, PULL, WEIGHTS, np.rint(WEIGHTS).astype(np.int64))
    assert np.all((found == np.floor(WEIGHTS)) | (found == np.ceil(WEIGHTS)))
    assert not found[2].any()


@pytest.mark.parametrize("size", [INPUTS, 150])  # one block of rows, and several
def test_channels_with_inputs_of_their_own_are_rounded_as_each_alone(size):
    rows = RNG.normal(size=(CHANNELS, 400, size)) + 1
    grams = rows.transpose(0, 2, 1) @ rows / 400
    weights, pull = RNG.uniform(-9, 9, (size, CHANNELS)), RNG.normal(size=(size, CHANNELS))
    start = np.rint(weights).astype(np.int64)
    together = descend(grams, pull, weights, start)
    for channel in range(CHANNELS):
        one = slice(channel, channel + 1)
        np.testing.assert_array_equal(
            together[:, one], descend(grams[channel], pull[:, one], weights[:, one], start[:, one])
        )


def test_inputs_that_are_never_there_change_nothing():
    start = np.rint(WEIGHTS).astype(np.int64)
    found = descend(np.zeros_like(GRAM), np.zeros_like(PULL), WEIGHTS, start)
    np.testing.assert_array_equal(found, start)
