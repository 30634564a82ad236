"""`edgeopt.api.optimize.pace`: what a training takes, and the end of the time."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from edgeopt.api.optimize.pace import Clock, Length, TimeUp
from edgeopt.api.optimize.rungs import CHANNELS, QAT
from edgeopt.data.dataset import load_dataset


def test_a_length_is_all_epochs_and_a_quantised_step_takes_half_as_long_again():
    train = load_dataset((np.zeros((100, 2), np.float32), np.zeros(100)))
    length = Length.of((CHANNELS, QAT), train, step_s=0.5)
    assert str(length) == "8 epochs of 4 steps"
    assert length.seconds == pytest.approx((5 + 3 * 1.5) * 4 * 0.5)


def test_the_time_is_over_when_what_is_left_is_needed_for_the_end():
    assert Clock(None).left_s == math.inf
    begun = time.monotonic() - 60
    assert Clock(100, begun).left_s == pytest.approx(40, abs=1)
    assert Clock(100, begun, reserve_s=15).left_s == pytest.approx(25, abs=1)
    Clock(100, begun, reserve_s=15).check()
    with pytest.raises(TimeUp, match="in the middle of it"):
        Clock(100, begun, reserve_s=41).check()
