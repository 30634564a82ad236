"""How near a file's outputs are to the model's."""

import numpy as np
import pytest

from edgeopt.evaluation.fidelity import EQUAL_DB, snr_db


def test_the_ratio_is_that_of_the_powers_in_decibels():
    expected = np.array([3.0, -4.0, 0.0])
    assert snr_db(expected, expected + np.array([0.05, 0, 0])) == pytest.approx(10 * np.log10(25 / 0.0025))
    assert snr_db(expected, np.zeros(3)) == pytest.approx(0.0)


def test_equal_outputs_have_the_largest_ratio_and_lost_ones_the_least():
    assert snr_db([1.0, 2.0], [1.0, 2.0]) == snr_db([0.0], [0.0]) == EQUAL_DB
    assert snr_db([0.0, 0.0], [1.0, 0.0]) == -EQUAL_DB
    assert snr_db([1.0, 1.0], [np.nan, 1.0]) == pytest.approx(10 * np.log10(2))
