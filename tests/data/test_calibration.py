"""`edgeopt.data.calibration`: which samples calibrate, and what is found wrong with them before anything slow runs."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.calibration import HELD_BACK, calibration_set, check_fit, choose_samples, range_warnings
from edgeopt.errors import DataError


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)


# --- which ---------------------------------------------------------------------------------------------------------


def test_the_seed_decides():
    first, again, other = (choose_samples(1000, None, 50, seed) for seed in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()
    assert len(set(first.tolist())) == 50
    assert first.tolist() == sorted(first.tolist())
    # A uniform choice of 50 of 1000 has its mean at 499.5 with a standard deviation of 40.
    assert abs(first.mean() - 499.5) < 4 * 40


def test_asking_for_more_than_there_are_takes_all():
    assert choose_samples(5, None, 200, 0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("form", ["integers", "column", "strings", "one-hot", "booleans"])
def test_classes_take_turns(form):
    classes = np.repeat([0, 1], [990, 10])  # a plain choice of 40 would hold about 0.4 of the rare class
    labels = {
        "integers": classes,
        "column": classes[:, np.newaxis],
        "strings": np.array(["a", "b"])[classes],
        "one-hot": np.eye(2)[classes],
        "booleans": classes.astype(bool),
    }[form]
    chosen = classes[choose_samples(1000, labels, 40, 0)]
    assert np.bincount(chosen).tolist() == [30, 10]
    assert np.bincount(classes[choose_samples(1000, labels, 16, 0)]).tolist() == [8, 8]


def test_regression_targets_are_no_classes():
    targets = np.linspace(0, 1, 1000)
    assert choose_samples(1000, targets, 40, 0).tolist() == choose_samples(1000, None, 40, 0).tolist()


def test_the_set_is_the_chosen_samples(x):
    chosen = calibration_set(x, 30, 7)
    np.testing.assert_array_equal(chosen.data.arrays[0], x[choose_samples(100, None, 30, 7)])
    assert chosen.warnings == []


def test_others_are_held_back_where_there_are_more(x):
    chosen = calibration_set(x, 30, 7)
    both = np.concatenate([chosen.data.arrays[0], chosen.held_back.arrays[0]])
    assert chosen.held_back.count == HELD_BACK
    assert len(np.unique(both, axis=0)) == 30 + HELD_BACK
    assert calibration_set(x, 95, 7).held_back.count == 5
    assert calibration_set(x, 100, 7).held_back is None


def test_of_a_stream_the_first_samples_calibrate_and_the_next_are_held_back(x):
    chosen = calibration_set(([row[np.newaxis]] for row in x), 30, 7)
    np.testing.assert_array_equal(chosen.data.arrays[0], x[:30])
    np.testing.assert_array_equal(chosen.held_back.arrays[0], x[30 : 30 + HELD_BACK])


def test_images_are_chosen_before_they_are_read(tmp_path):
    from PIL import Image

    for index in range(9):
        Image.fromarray(np.full((2, 2, 3), index * 20, np.uint8)).save(tmp_path / f"{index}.png")
    chosen = calibration_set(tmp_path, 4, 1)
    shades = chosen.data.arrays[0][:, 0, 0, 0].tolist()
    assert shades == (choose_samples(9, None, 4, 1) * 20.0).tolist()
    assert sorted(shades + chosen.held_back.arrays[0][:, 0, 0, 0].tolist()) == [index * 20.0 for index in range(9)]


# --- whether they can be trusted -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "NaN"), (np.inf, "infinite values"), (-np.inf, "infinite values")]
)
def test_the_index_of_a_bad_sample_is_that_of_the_users_data(x, value, words):
    x[[41, 77], 2] = value
    with pytest.raises(DataError, match=rf"the array has {words} in sample 41 \(2 of 100 samples are not finite\)"):
        calibration_set(x, 200, 0)


def test_a_bad_sample_is_found_whether_chosen_or_not(x):
    unchosen = sorted(set(range(100)) - set(choose_samples(100, None, 10, 0).tolist()))[0]
    x[unchosen] = np.nan
    with pytest.raises(DataError, match=f"NaN in sample {unchosen} "):
        calibration_set(x, 10, 0)


def test_the_input_of_a_bad_sample_is_named_among_several(x):
    bad = x.copy()
    bad[3] = np.nan
    with pytest.raises(DataError, match="NaN in sample 3 of input 'b'"):
        calibration_set({"a": x, "b": bad}, 50, 0)
    with pytest.raises(DataError, match="NaN in sample 3 of array 1"):
        calibration_set([x, bad[:, :2]], 50, 0)


def test_large_data_are_looked_at_in_pieces(x, monkeypatch):
    monkeypatch.setattr("edgeopt.data.calibration._CHUNK", 40)
    x[95] = np.nan
    with pytest.raises(DataError, match="NaN in sample 95"):
        calibration_set(x, 5, 0)


def test_samples_that_never_change_are_refused():
    with pytest.raises(DataError, match=r"is constant \(3.0\) over all calibration samples"):
        calibration_set(np.full((50, 4), 3.0), 10, 0)


def test_one_constant_input_of_several_is_a_warning(x):
    warnings = calibration_set({"a": x, "state": np.zeros((100, 2))}, 100, 0).warnings
    assert warnings == [
        "constant: the calibration values of input 'state' are all 0.0; the file will be exact around that value only"
    ]


def test_too_few_samples_are_a_warning(x):
    warnings = calibration_set(x, 200, 0).warnings
    assert warnings == [
        "few-samples: only 100 calibration samples are there, 200 were asked for; ranges may be too narrow"
    ]


# --- types ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[0.5, 1.0], [-1.0, 3.0], [0.0, 300.0]])
def test_values_that_an_integer_input_cannot_hold(values):
    with pytest.raises(
        DataError, match=r"gives float64 values in .* for input 'ids' of type uint8; expected whole numbers"
    ):
        check_fit({"ids": np.array(values)}, {"ids": "uint8"}, "the array")


def test_whole_numbers_of_any_type_fit_an_integer_input():
    check_fit({"ids": np.array([0.0, 255.0]), "x": np.array([0.5])}, {"ids": "uint8", "x": "float32"}, "the array")
    check_fit({"flag": np.array([0, 1])}, {"flag": "bool"}, "the array")


# --- range ---------------------------------------------------------------------------------------------------------

PIXELS = [{"input": "x", "low": 0.0, "high": 255.0, "layer": "rescaling"}]


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 128), (20, 200), (-20, 260)])
def test_a_fitting_range_is_silent(low, high):
    assert range_warnings({"x": np.array([low, high])}, PIXELS) == []


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (300, 400), (0, 65535)])
def test_a_range_far_from_the_layers_is_named(low, high):
    (warning,) = range_warnings({"x": np.array([low, high])}, PIXELS)
    assert warning.startswith(
        f"range: calibration values of input 'x' lie in [{low:.4g}, {high:.4g}], but layer 'rescaling'"
    )


def test_an_input_without_expectation_is_left_alone():
    assert range_warnings({"other": np.array([0, 1])}, PIXELS) == []
