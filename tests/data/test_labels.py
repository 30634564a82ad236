"""`edgeopt.data.labels`: what is one output's labels, and what is several outputs'."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.labels import join_labels, leaves, map_labels, read_labels
from edgeopt.errors import DataError

ONE, TWO = np.arange(6), np.arange(12.0).reshape(6, 2)


def test_lists_of_arrays_and_dicts_are_labels_of_several_outputs():
    first, second = read_labels([ONE, TWO], 6, "data")
    np.testing.assert_array_equal(first, ONE)
    np.testing.assert_array_equal(second, TWO)
    assert list(read_labels({"kind": ONE, "size": TWO}, 6, "data")) == ["kind", "size"]
    assert read_labels(None, 6, "data") is None


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ([0, 1, 2, 0, 1, 2], (6,)),
        ([[0, 1]] * 6, (6, 2)),
        ([np.array([0, 1])] * 6, (6, 2)),  # a row for each of the samples
        ([np.int64(1)] * 6, (6,)),
        ([ONE], (6,)),  # one output in a list
    ],
)
def test_rows_in_a_list_are_labels_of_one_output(given, shape):
    assert read_labels(given, 6, "data").shape == shape


def test_rows_of_different_lengths_are_said_with_what_several_outputs_take():
    with pytest.raises(DataError, match=r"the pair has labels whose rows differ in length; .* a dict by output name"):
        read_labels([[1, 2], [3]], 2, "the pair")


@pytest.mark.parametrize("labels", [ONE, (ONE, TWO), {"kind": ONE, "size": TWO}])
def test_batches_are_joined_in_their_structure(labels):
    halves = [map_labels(lambda array, part=part: array[part], labels) for part in (slice(0, 2), slice(2, 6))]
    joined = join_labels(halves, "data")
    assert type(joined) is type(labels)
    for array, expected in zip(leaves(joined), leaves(labels), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("other", [ONE, (ONE, ONE, ONE), {"kind": ONE}])
def test_batches_of_other_outputs_are_refused(other):
    with pytest.raises(DataError, match="yields labels of other outputs than at first"):
        join_labels([(ONE, TWO), other], "the stream")
