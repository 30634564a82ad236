"""Figures as they are printed."""

from __future__ import annotations

import pytest

from edgeopt.evaluation.figures import beside, figure, interval_ends, with_interval


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.93271, (0.9271, 0.9379), "0.9327"),
        (0.75, (0.657, 0.825), "0.750"),
        (2.0e-8, (1.5e-8, 2.6e-8), "2.00e-08"),
        (5.2e-7, (4.8e-7, 5.5e-7), "5.20e-07"),
        (123.456, (100.0, 150.0), "123"),
        (0.00002, (-0.01, 0.01), "0.00002"),
        (0.0, (-0.037, 0.037), "0.000"),
        (0.0, (-2e-9, 2e-9), "0"),
        (0.0, None, "0.0000"),
        (2.5, None, "2.500"),
        (1e-9, None, "1.000e-09"),
        (12345.6, None, "12346"),
    ],
)
def test_a_figure_has_the_digits_of_its_interval(value, interval, text):
    assert figure(value, interval) == text


def test_two_small_errors_are_told_apart_and_none_is_printed_as_zero():
    """mse 2.0e-8 and 5.2e-7 were both printed as 0.0000."""
    texts = [figure(value, (0.9 * value, 1.1 * value)) for value in (2.0e-8, 5.2e-7)]
    assert texts[0] != texts[1]
    assert [float(text) for text in texts] == pytest.approx([2.0e-8, 5.2e-7])


def test_a_drop_that_is_not_zero_does_not_read_as_zero():
    assert figure(2e-5, (-1e-2, 1e-2), signed=True) == "+0.00002"
    assert figure(-3e-9, (-1e-2, 1e-2), signed=True) == "-3e-09"


def test_a_value_and_its_ends_stand_to_the_same_place():
    assert with_interval(0.0104, (-0.0123, 0.0341), signed=True) == "+0.010 (95 % interval -0.012 to +0.034)"


def test_a_figure_beside_its_limit_is_told_from_it():
    assert beside(0.0100000001, 0.01) == "0.0100000001"
    assert beside(0.25, 0.01) == "0.25" and beside(0.01, 0.01) == "0.01"


def test_of_both_ends_the_sign_is_shown_where_it_says_something():
    assert interval_ends((0.0123, 0.0341), signed=True) == ("+0.012", "+0.034")
    assert interval_ends((0.0123, 0.0341)) == ("0.012", "0.034")
