"""The converter works without loading the SavedModel into Python, to the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.converters.reloading import without_reloading


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import tensorflow as tf

    class Scale(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(np.eye(4, dtype=np.float32) * 3)

    module = Scale()
    function = tf.function(lambda x: {"out": x @ module.weights}, input_signature=[tf.TensorSpec((1, 4), name="x")])
    path = str(tmp_path_factory.mktemp("model"))
    tf.saved_model.save(module, path, signatures={"serving_default": function.get_concrete_function()})
    return path


def converted(folder):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
    return converter.convert()


def test_the_bytes_are_those_of_the_usual_way(folder):
    with without_reloading("serving_default"):
        quick = converted(folder)
    assert quick == converted(folder)


def test_the_folder_is_not_loaded_within_and_is_again_afterwards(folder):
    from tensorflow.lite.python import lite

    original = lite._load
    with without_reloading("serving_default"):
        assert lite._load("no such folder", set()).signatures.keys() == {"serving_default"}
    assert lite._load is original


def test_another_signature_is_still_refused(folder):
    with without_reloading("other"), pytest.raises(ValueError, match="Invalid signature key 'serving_default'"):
        converted(folder)
