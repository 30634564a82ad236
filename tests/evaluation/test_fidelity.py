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


def test_an_offset_of_each_place_is_no_signal():
    """Boxes in pixels lie where their anchors lie: what moves is all that there is to know."""
    rng = np.random.default_rng(0)
    moving = rng.normal(size=(40, 16, 4))
    places = np.linspace(0, 600, 64).reshape(16, 4)
    noise = rng.normal(scale=1.0, size=moving.shape)
    assert snr_db(moving + places, moving + places + noise) == pytest.approx(snr_db(moving, moving + noise), abs=1e-9)
    assert snr_db(moving + places, moving + places + noise) == pytest.approx(0, abs=0.5)
    few = slice(4)  # of so few samples it is how the values move about their channel's mean
    assert snr_db((moving + places)[few], (moving + places + noise)[few]) > 40


def test_outputs_that_do_not_move_prove_nothing():
    """A saturated softmax: 1 for one class whatever comes in, 0.996 in the file; and a file that is noise beside it."""
    rng = np.random.default_rng(0)
    certain = np.tile([1.0, 0.0, 0.0], (40, 1)) + rng.normal(scale=1e-5, size=(40, 3))
    still = output_fidelity("classes", certain, np.round(np.clip(certain, 0, 0.996) * 256) / 256, 1 / 256)
    assert still.still and still.signal_steps == pytest.approx(1e-5 * 256, rel=0.3)
    found = Fidelity((still,), 40, True)
    assert (found.holds, found.verdict) == (False, "not proven")
    assert "steps, which proves nothing; calibrate with real samples" in found.warnings()[0]
    moving = rng.dirichlet([0.3] * 3, size=40)
    noise = output_fidelity("noise", moving, rng.dirichlet([0.3] * 3, size=40), 1 / 256)
    assert not noise.still
    assert Fidelity((still, noise), 40, True).verdict == "unfaithful"


def test_it_goes_to_json_and_back():
    assert Fidelity.from_dict(json.loads(json.dumps(GOOD.to_dict()))) == GOOD


@pytest.mark.parametrize(
    "change",
    [{"outputs": 3}, {"outputs": []}, {"outputs": [{}]}, {"samples": "many"}, {"cause": {"op": "ADD"}}, {"odd": 1}],
)
def test_what_is_not_of_that_form_is_refused(change):
    with pytest.raises(Unfit, match="fidelity"):
        Fidelity.from_dict({**GOOD.to_dict(), **change})
