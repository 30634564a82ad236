"""`edgeopt.models.saved_model`: SavedModel folders of every writer, in the order of the Keras model that wrote them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgeopt.errors import FileFormatError, UsageError
from edgeopt.models.detect import Flavour
from edgeopt.models.load import load_model
from edgeopt.models.saved_model import _ordered

HEADS = [f"h{number}" for number in range(11, 0, -1)]  # against the alphabet and against the natural order


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """SavedModels of both Kerases: two inputs against the alphabet, eleven outputs."""
    import keras
    import tf_keras

    root = tmp_path_factory.mktemp("saved")
    for lib in (keras, tf_keras):
        zebra, apple = lib.Input((4,), name="zebra"), lib.Input((4,), name="apple")
        pair = [lib.layers.Subtract(name="z")([zebra, apple]), lib.layers.Add(name="a")([zebra, apple])]
        models = {
            "pair": lib.Model([zebra, apple], pair),
            "dict": lib.Model({"zebra": zebra, "apple": apple}, {"zz": pair[0], "aa": pair[1]}),
            "heads": lib.Model(zebra, [lib.layers.Rescaling(i, name=name)(zebra) for i, name in enumerate(HEADS)]),
        }
        for name, model in models.items():
            path = str(root / f"{lib.__name__}-{name}")
            model.export(path, verbose=False) if lib is keras else model.save(path)
    return root


def names(loaded):
    return [item.name for item in loaded.spec.inputs], list(loaded.spec.output_names)


@pytest.mark.parametrize(("writer", "outputs"), [("keras", ["output_0", "output_1"]), ("tf_keras", ["z", "a"])])
def test_inputs_and_outputs_are_in_keras_order(folders, writer, outputs):
    loaded = load_model(folders / f"{writer}-pair")
    assert loaded.flavour is Flavour.SAVED_MODEL
    assert names(loaded) == (["zebra", "apple"], outputs)
    found = loaded.call([np.full((1, 4), 5, np.float32), np.full((1, 4), 2, np.float32)])
    assert [float(found[name][0, 0]) for name in outputs] == [3.0, 7.0]


@pytest.mark.parametrize(("writer", "outputs"), [("keras", ["aa", "zz"]), ("tf_keras", ["a", "z"])])
def test_dicts_are_in_the_order_of_their_keys(folders, writer, outputs):
    assert names(load_model(folders / f"{writer}-dict")) == (["apple", "zebra"], outputs)


@pytest.mark.parametrize(
    ("writer", "outputs"), [("keras", [f"output_{number}" for number in range(11)]), ("tf_keras", HEADS)]
)
def test_eleven_outputs_keep_their_order(folders, writer, outputs):
    """TensorFlow hands them out in an order that differs from process to process."""
    loaded = load_model(folders / f"{writer}-heads")
    assert names(loaded) == (["zebra"], outputs)
    found = loaded.call([np.ones((1, 4), np.float32)])
    assert [float(found[name][0, 0]) for name in outputs] == list(range(11))


def test_names_without_a_recorded_order_are_in_the_natural_one():
    assert _ordered(["out_10", "out_9", "b", "out_1"], []) == ["b", "out_1", "out_9", "out_10"]
    assert _ordered(["b", "a"], ["b", "a"]) == ["b", "a"]
    assert _ordered(["b", "a"], ["b", "c"]) == ["a", "b"]


def test_a_static_batch_is_fixed(folders, tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec((8, 4), tf.float32, name="x")])
    tf.saved_model.save(module, str(tmp_path), signatures={"infer": module.serve})
    loaded = load_model(tmp_path)
    assert loaded.spec.fixed_batch
    assert loaded.spec.inputs[0].shape == (8, 4)
    assert loaded.warnings == ("signature: the only signature, 'infer', was used",)


def saved(folder, signatures):
    import tensorflow as tf

    module = tf.Module()
    module.double = tf.function(lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec((1, 4), tf.float32, name="x")])
    module.open = tf.function(lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    tf.saved_model.save(
        module, str(folder), signatures={key: getattr(module, name) for key, name in signatures.items()}
    )
    return folder


@pytest.mark.parametrize(
    ("signatures", "error", "sentence"),
    [
        ({}, FileFormatError, "has no serving signature; save it again"),
        ({"a": "double", "b": "double"}, UsageError, "has the signatures a, b, but no 'serving_default'"),
        ({"serving_default": "open"}, FileFormatError, "Input 'x' of the SavedModel has no known rank"),
    ],
)
def test_signatures_that_do_not_do(tmp_path, signatures, error, sentence):
    with pytest.raises(error, match=sentence):
        load_model(saved(tmp_path, signatures))


def test_a_damaged_folder(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\xff nothing")
    with pytest.raises(FileFormatError, match=re.escape(f"The SavedModel {tmp_path} cannot be loaded")):
        load_model(tmp_path)


def test_damaged_keras_metadata(tmp_path):
    saved(tmp_path, {"serving_default": "double"})
    (tmp_path / "keras_metadata.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(FileFormatError, match=r"keras_metadata\.pb is damaged"):
        load_model(tmp_path)
