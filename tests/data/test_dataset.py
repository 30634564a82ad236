"""`edgeopt.data.dataset`: every kind of source becomes one `Dataset`, and is bound to the model's inputs by name."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from edgeopt.data.dataset import Dataset, load_dataset, sample_hashes
from edgeopt.errors import DataError


@pytest.fixture
def x():
    return np.arange(24, dtype=np.float32).reshape(6, 4)


@pytest.fixture
def labels():
    return np.array([0, 1, 2, 0, 1, 2])


def bound(source, names=("image",), shapes=((1, 4),), **options):
    return load_dataset(source, **options).bind(names, shapes)


# --- sources -------------------------------------------------------------------------------------------------------


def test_an_array_is_the_one_input(x):
    data = load_dataset(x)
    assert (data.count, data.names, data.labels) == (6, (), None)
    assert data.bind(["anything"], [(1, 4)])["anything"] is x


def test_npz_with_x_and_y(tmp_path, x, labels):
    np.savez(tmp_path / "d.npz", x=x, y=labels)
    data = load_dataset(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.bind(["image"], [(1, 4)])["image"], x)
    np.testing.assert_array_equal(data.labels, labels)


def test_npz_with_one_array_per_input_name(tmp_path, x):
    np.savez(tmp_path / "d.npz", zebra=x, apple=-x)
    found = bound(str(tmp_path / "d.npz"), ["apple", "zebra"], [(1, 4), (1, 4)])
    assert list(found) == ["apple", "zebra"]
    np.testing.assert_array_equal(found["apple"], -x)
    np.testing.assert_array_equal(found["zebra"], x)


def test_npy_has_no_labels(tmp_path, x):
    np.save(tmp_path / "d.npy", x)
    data = load_dataset(tmp_path / "d.npy")
    assert data.labels is None
    np.testing.assert_array_equal(data.arrays[0], x)


def test_pair_of_inputs_and_labels(x, labels):
    data = load_dataset((x, labels))
    np.testing.assert_array_equal(data.labels, labels)
    assert data.count == 6


def test_pair_whose_inputs_are_a_dict(x, labels):
    data = load_dataset(({"a": x, "b": -x}, labels))
    assert data.names == ("a", "b")
    np.testing.assert_array_equal(data.labels, labels)


def test_labels_of_several_outputs_are_picked_by_name_or_position(x, labels):
    sizes = np.arange(6.0)
    listed, named = load_dataset((x, [labels, sizes])), load_dataset((x, {"size": sizes, "kind": labels}))
    for data in (listed, named):
        np.testing.assert_array_equal(data.labels_of("kind", ["kind", "size"]), labels)
        np.testing.assert_array_equal(data.labels_of("size", ["kind", "size"]), sizes)
        assert list(data.labels_of(None, ["kind", "size"])) in (["kind", "size"], ["size", "kind"])
        np.testing.assert_array_equal(data.take(np.array([3])).labels_of("size", ["kind", "size"]), [3.0])
    one = load_dataset((x, labels))
    assert one.labels_of("kind", ["kind", "size"]) is one.labels_of(None, ["kind"]) is one.labels
    with pytest.raises(DataError, match="has no labels for the output 'kinds'; did you mean 'kind'"):
        named.labels_of("kinds", ["kinds", "size"])
    with pytest.raises(DataError, match="has labels for 2 outputs, but the model has 3: a, b, c"):
        listed.labels_of("a", ["a", "b", "c"])


def test_a_tuple_of_three_has_sample_weights(x, labels):
    weights = np.linspace(0, 1, 6)
    data = load_dataset((x, labels, weights))
    assert (len(data.arrays), data.source) == (1, "the tuple (x, y, sample_weight)")
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.take(np.array([5, 0])).weights, [1.0, 0.0])
    with pytest.raises(DataError, match=r"has 5 sample weight\(s\) for 6 samples"):
        load_dataset((x, labels, weights[:5]))


def test_a_generator_of_training_batches_keeps_labels_of_several_outputs_and_weights(x, labels):
    def batches():
        for start in (0, 4):
            rows = slice(start, start + 4)
            yield x[rows], {"kind": labels[rows], "size": x[rows, 0]}, np.ones(len(x[rows]))

    data = load_dataset(batches)
    np.testing.assert_array_equal(data.labels["kind"], labels)
    np.testing.assert_array_equal(data.labels["size"], x[:, 0])
    np.testing.assert_array_equal(data.weights, np.ones(6))


@pytest.mark.parametrize("batch", [None, 4])
def test_tf_data_with_labels_of_several_outputs(x, labels, batch):
    import tensorflow as tf

    source = tf.data.Dataset.from_tensor_slices((x, (labels, x[:, 0])))
    data = load_dataset(source if batch is None else source.batch(batch))
    np.testing.assert_array_equal(data.arrays[0], x)
    np.testing.assert_array_equal(data.labels[0], labels)
    np.testing.assert_array_equal(data.labels[1], x[:, 0])


def test_list_holds_one_array_per_input(x):
    found = bound([x, x[:, :2]], ["a", "b"], [(1, 4), (1, 2)])
    np.testing.assert_array_equal(found["b"], x[:, :2])


def test_a_dataset_passes_through(x):
    data = Dataset((x,))
    assert load_dataset(data) is data


def test_module_and_callable_in_another_process(tmp_path):
    (tmp_path / "mine.py").write_text("import numpy as np\ndef samples():\n    yield [np.ones((1, 4), np.float32)]\n")
    code = "from edgeopt.data.dataset import load_dataset; print(load_dataset('mine:samples').arrays[0].shape)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 4)"


def test_a_callable_may_return_arrays_at_once(x):
    assert load_dataset(lambda: {"a": x}).names == ("a",)
    assert load_dataset(lambda: x).count == 6


# --- labels whose name is an input's -------------------------------------------------------------------------------


def test_a_model_input_called_y_is_an_input_and_not_the_labels(tmp_path, x):
    np.savez(tmp_path / "d.npz", x=x, y=-x)
    found = bound(tmp_path / "d.npz", ["y", "x"], [(1, 4), (1, 4)])
    np.testing.assert_array_equal(found["y"], -x)
    np.testing.assert_array_equal(found["x"], x)


def test_an_npz_of_y_alone_is_an_input(x):
    assert load_dataset({"y": x}).labels is None


# --- binding -------------------------------------------------------------------------------------------------------


def test_binding_follows_names_whatever_the_order(x):
    found = bound({"b": x, "a": -x}, ["a", "b"], [(1, 4), (1, 4)])
    np.testing.assert_array_equal(found["a"], -x)


def test_unnamed_arrays_of_one_shape_are_not_bound_by_guess(x):
    with pytest.raises(DataError, match=r"would be bound by guess; name them after the model's inputs: a, b"):
        bound([x, -x], ["a", "b"], [(1, 4), (1, 4)])


def test_two_of_three_unnamed_arrays_of_one_shape_are_not_bound_by_guess(x):
    with pytest.raises(DataError, match="would be bound by guess"):
        bound([x, -x, x[:, :2]], ["a", "b", "c"], [(1, 4), (1, 4), (1, 2)])


def test_a_missing_name_is_named_with_the_nearest(x):
    with pytest.raises(DataError, match=r"no array for the model input 'zebra'; did you mean 'zebras'\?"):
        bound({"apple": x, "zebras": x}, ["apple", "zebra"], [(1, 4), (1, 4)])


def test_too_few_arrays(x):
    with pytest.raises(DataError, match=r"holds 1 input array\(s\) \(a\), but the model has 2 input\(s\): a, b"):
        bound({"a": x}, ["a", "b"], [(1, 4), (1, 4)])


def test_a_missing_channel_axis_of_one_is_put_in():
    assert bound(np.zeros((3, 8, 8)), shapes=[(1, 8, 8, 1)])["image"].shape == (3, 8, 8, 1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 5), r"gives shape \(6, 4\) for input 'image'; expected \(samples, 5\); reshape or resize the data"),
     ((1, 4, 1, 1), r"expected \(samples, 4, 1, 1\)"), ((None, None, 9), r"expected \(samples, \?, 9\)")],
)  # fmt: skip
def test_a_wrong_rank_or_size_is_said_with_both_shapes(x, shape, expected):
    with pytest.raises(DataError, match=expected):
        bound(x, shapes=[shape])


def test_open_dimensions_match_anything(x):
    assert bound(x, shapes=[(None, None)])["image"] is x


@pytest.mark.parametrize("array", [np.array([["a", "b"]]), np.ones((2, 2), complex)])
def test_text_and_complex_numbers_are_no_input(array):
    with pytest.raises(DataError, match="expected real numbers"):
        bound(array, shapes=[(1, 2)])


# --- what is refused -----------------------------------------------------------------------------------------------


def test_labels_of_another_length(tmp_path, x):
    np.savez(tmp_path / "d.npz", x=x, y=np.zeros(5))
    with pytest.raises(DataError, match=r"has 5 label\(s\) for 6 samples; expected one label a sample"):
        load_dataset(tmp_path / "d.npz")


def test_inputs_of_different_lengths(x):
    with pytest.raises(DataError, match=r"inputs of different lengths \[5, 6\]"):
        load_dataset({"a": x, "b": x[:5]})


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
def test_zero_samples(tmp_path, name):
    path = tmp_path / name
    array = np.zeros((0, 4), np.float32)
    np.savez(path, x=array) if name == "d.npz" else np.save(path, array)
    with pytest.raises(DataError, match=f"{re.escape(str(path))} holds zero samples"):
        load_dataset(path)


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
def test_pickled_arrays_are_never_loaded(tmp_path, name):
    path = tmp_path / name
    array = np.array([{"a": 1}], dtype=object)
    np.savez(path, x=array) if name == "d.npz" else np.save(path, array)
    with pytest.raises(DataError, match="holds pickled objects, which are never loaded"):
        load_dataset(path)


def test_a_pickle_called_npz(tmp_path):
    import pickle

    (tmp_path / "d.npz").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="holds pickled objects"):
        load_dataset(tmp_path / "d.npz")


def test_a_truncated_file(tmp_path, x):
    np.savez(tmp_path / "d.npz", x=np.tile(x, (100, 1)))
    (tmp_path / "d.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:500])
    np.save(tmp_path / "d.npy", np.tile(x, (100, 1)))
    (tmp_path / "d.npy").write_bytes((tmp_path / "d.npy").read_bytes()[:500])
    for name in ("d.npz", "d.npy"):
        with pytest.raises(DataError, match="is not a readable NumPy file"):
            load_dataset(tmp_path / name)


def test_an_npy_called_npz(tmp_path, x):
    np.save(tmp_path / "d.npy", x)
    (tmp_path / "d.npy").rename(tmp_path / "d.npz")
    with pytest.raises(DataError, match=r"holds one \.npy array, not an \.npz archive; rename it"):
        load_dataset(tmp_path / "d.npz")


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"'readme.txt': it does not begin as a \.npy file does"):
        load_dataset(tmp_path / "d.npz")


@pytest.mark.parametrize("name", ["absent.npz", "absent", "no/such/folder"])
def test_a_missing_file(name):
    with pytest.raises(DataError, match=f"Data {name} does not exist; expected .npz, .npy, a folder of images"):
        load_dataset(name)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "d.csv").write_text("1,2")
    with pytest.raises(DataError, match="is of an unknown kind; expected .npz"):
        load_dataset(tmp_path / "d.csv")


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [("no_such_module:f", "no module 'no_such_module' is installed"), ("json:nothing", "module 'json' has no 'nothing'"),
     ("json:__name__", "'json:__name__' is a str; expected a callable")],
)  # fmt: skip
def test_a_callable_that_is_not_there(reference, sentence):
    with pytest.raises(DataError, match=sentence):
        load_dataset(reference)


def test_a_callable_that_fails_is_named_with_its_error():
    def broken():
        raise KeyError("wav")

    with pytest.raises(DataError, match="broken failed with KeyError: 'wav'"):
        load_dataset(broken)


@pytest.mark.parametrize("source", [3, None, 1.5])
def test_something_else(source):
    with pytest.raises(DataError, match=f"Received data of type {type(source).__name__}"):
        load_dataset(source)


# --- hashes --------------------------------------------------------------------------------------------------------


def test_hashes_agree_over_types_and_differ_over_values(x):
    whole = sample_hashes([x])
    assert len(set(whole)) == 6
    assert whole == sample_hashes([x.astype(np.float64)]) == sample_hashes([x.astype(np.uint8)])
    assert whole[0] != sample_hashes([x + 1])[0]


def test_hashes_cover_every_input(x):
    assert sample_hashes([x, x])[0] != sample_hashes([x, x + 1])[0]


def test_taking_samples_takes_their_labels(x, labels):
    taken = load_dataset((x, labels)).take(np.array([4, 0]))
    np.testing.assert_array_equal(taken.arrays[0], x[[4, 0]])
    np.testing.assert_array_equal(taken.labels, [1, 0])


NO_BYTES = "{'descr': '|V0', 'fortran_order': False, 'shape': (-1,), }"
FOUR_TERABYTES = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
A_TUPLE = "{'descr': ('<f4', (3,)), 'fortran_order': False, 'shape': (1000000000,), }"
NO_END = "{'descr': '<f4', 'fortran_order': False, 'shape': (("
NO_PYTHON = "{'descr': '<f4', 'fortran_order': False, 'shape': (1e400j, ~'a'), }"


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
@pytest.mark.parametrize("header", [NO_BYTES, FOUR_TERABYTES, A_TUPLE, NO_END, NO_PYTHON])
def test_a_header_is_not_believed(tmp_path, name, header):
    """NumPy ends the process with a division by zero on one of them, and with five kinds of exceptions on others."""
    data = b"\x93NUMPY\x01\x00\x76\x00" + header.encode().ljust(117) + b"\n" + bytes(64)
    if name == "d.npz":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x.npy", data)
    else:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match="is not a readable NumPy file .*; save it again"):
        load_dataset(tmp_path / name)
