"""How near a file's outputs are to the model's."""

import json

import numpy as np
import pytest

from edgeopt.artifact.typed import Unfit
from edgeopt.evaluation.fidelity import EQUAL_DB, Fidelity, compare_outputs, output_fidelity, snr_db


def test_the_ratio_is_that_of_the_powers_in_decibels():
    expected = np.array([3.0, -4.0, 0.0])
    assert snr_db(expected, expected + np.array([0.05, 0, 0])) == pytest.approx(10 * np.log10(25 / 0.0025))
    assert snr_db(expected, np.zeros(3)) == pytest.approx(0.0)


def test_equal_outputs_have_the_largest_ratio_and_lost_ones_the_least():
    assert snr_db([1.0, 2.0], [1.0, 2.0]) == snr_db([0.0], [0.0]) == EQUAL_DB
    assert snr_db([0.0, 0.0], [1.0, 0.0]) == -EQUAL_DB
    assert snr_db([1.0, 1.0], [np.nan, 1.0]) == pytest.approx(10 * np.log10(2))


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_what_the_model_itself_gives_without_a_size_is_left_out_and_the_figures_stay_numbers(value):
    expected = np.tile([1.0, 2.0], (9, 1)) * np.arange(9)[:, np.newaxis]
    expected[3, 1] = value
    found = output_fidelity("y", expected, expected, None)
    json.dumps(vars(found), allow_nan=False)
    assert (found.snr_db, found.max_error, found.reasons) == (EQUAL_DB, 0.0, ())


GOOD = compare_outputs({"y": np.eye(9)}, {"y": np.eye(9)}, [0.5], held_back=True)


def test_it_goes_to_json_and_back():
    assert Fidelity.from_dict(json.loads(json.dumps(GOOD.to_dict()))) == GOOD


@pytest.mark.parametrize(
    "change",
    [{"outputs": 3}, {"outputs": []}, {"outputs": [{}]}, {"samples": "many"}, {"cause": {"op": "ADD"}}, {"odd": 1}],
)
def test_what_is_not_of_that_form_is_refused(change):
    with pytest.raises(Unfit, match="fidelity"):
        Fidelity.from_dict({**GOOD.to_dict(), **change})
