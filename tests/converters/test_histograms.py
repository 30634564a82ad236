"""Counts depend on the values alone: not on their order, their number a sample, or their scale."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeopt.converters.histograms import BINS, Histograms

RNG = np.random.default_rng(0)
TENSORS = {
    "heavy tails": RNG.standard_t(2, size=(30, 100)),
    "tiny": RNG.normal(size=(30, 100)) * 1e-30,
    "constant": np.full((30, 100), 7.25),
    "zero at first": np.where(np.arange(30)[:, None] < 5, 0, RNG.normal(size=(30, 100)) * 1e-3),
    "far from zero": 1000 + RNG.random((30, 100)) * 1e-3,
    "rectified": np.maximum(RNG.normal(size=(30, 100)), 0),
    "growing": RNG.normal(size=(30, 100)) * np.arange(1, 31)[:, None] ** 3,
}
SAMPLES = [[values[row].astype(np.float32) for values in TENSORS.values()] for row in range(30)]


def counted(samples, values=100):
    histograms = Histograms([tensor.size for tensor in samples[0]], values)
    for tensors in samples:
        low, high = (np.array([function(tensor) for tensor in tensors]) for function in (np.min, np.max))
        histograms.add(tensors, low, high)
    return histograms


@pytest.mark.parametrize("place", range(len(TENSORS)), ids=list(TENSORS))
def test_every_value_is_counted_in_the_bin_that_holds_it(place):
    found = counted(SAMPLES).of(place)
    values = np.concatenate([tensors[place] for tensors in SAMPLES]).astype(np.float64)
    expected = [np.sum((values >= low) & (values < high)) for low, high in itertools.pairwise(found.edges)]
    np.testing.assert_array_equal(found.counts, expected)
    assert found.counts.sum() == values.size
    span = np.ptp(values)
    assert span == 0 or np.diff(found.edges).max() <= max(span / (BINS // 2 - 2), values.max() * 2.0**-22)


def test_the_order_of_the_samples_does_not_matter():
    one, other = counted(SAMPLES), counted(SAMPLES[::-1])
    for place in range(len(TENSORS)):
        np.testing.assert_array_equal(one.of(place).edges, other.of(place).edges)
        np.testing.assert_array_equal(one.of(place).counts, other.of(place).counts)


def test_of_a_large_tensor_some_values_are_counted_from_every_channel():
    """A distance that shares a factor with the channels would see one channel alone."""
    image = np.broadcast_to(np.arange(32, dtype=np.float32), (20, 20, 32))
    found = counted([[image]] * 3, values=100).of(0)
    assert 250 <= found.counts.sum() <= 300
    assert np.count_nonzero(found.counts) == 32
