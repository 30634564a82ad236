"""Death of the converter's process is an error that names stage and suspects, never the end of the caller."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.api import convert as workflow
from edgeopt.errors import ConversionError, NotFullyIntegerError
from edgeopt.process.isolation import ChildCrash

LAYERS = [("conv", "Conv2D"), ("memory", "GRU"), ("odd", "Lambda")]


@pytest.fixture
def crash(monkeypatch, tmp_path):
    """Convert a file in a child that says what it is told to, and dies; return the error's message."""
    import h5py

    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"class_name": "Functional", "config": {}}'
        file.attrs["keras_version"] = "2.15.0"

    def convert(signal_name="", tail="", layers=(), loops=(), stage="convert"):
        def die(_target, _request, on_event, **_options):
            for event in ({"layers": list(layers)}, {"loops": list(loops)}, {"stage": stage}):
                on_event(event)
            raise ChildCrash(signal_name, [], tail)

        monkeypatch.setattr(workflow, "run_isolated", die)
        with pytest.raises(ConversionError, match="TensorFlow's converter") as caught:
            edgeopt.convert(path, quantize="dynamic")
        return str(caught.value)

    return convert


def test_a_loop_in_the_graph_is_the_first_suspect(crash):
    assert crash("SIGSEGV", layers=LAYERS, loops=["odd"]) == (
        "TensorFlow's converter was killed by SIGSEGV in the stage 'convert'; suspect layer(s): 'odd' (Lambda); "
        "replace the layer, or convert with --quantize dynamic or float16."
    )


def test_recurrent_layers_are_suspects(crash):
    assert "suspect layer(s): 'memory' (GRU);" in crash("SIGSEGV", layers=LAYERS)


def test_without_suspects_the_sentence_says_so(crash):
    assert "no layer is known to crash it" in crash("SIGABRT", layers=LAYERS[:1])


def test_a_kill_may_be_for_memory(crash):
    assert "was killed by SIGKILL (out of memory?) in the stage 'export'" in crash("SIGKILL", stage="export")


def test_an_exit_shows_the_last_words(crash):
    message = crash(tail="first\nterminate called after throwing an instance of 'std::bad_alloc'")
    assert "ended without a result in the stage 'convert'" in message
    assert "it last said: terminate called after throwing an instance of 'std::bad_alloc'" in message


@pytest.mark.heavy
def test_a_real_model_that_crashes_the_calibrator(tmp_path):
    """The loop of a GRU of static batch in a SavedModel, which has no layers left to unroll."""
    import tensorflow as tf
    import tf_keras

    layers = tf_keras.layers
    model = tf_keras.Sequential([tf_keras.Input((6, 3), name="x"), layers.GRU(4, name="memory"), layers.Dense(2)])
    module = tf.Module()
    module.kept = model.variables
    module.serve = tf.function(
        lambda x: {"y": model(x, training=False)}, input_signature=[tf.TensorSpec((1, 6, 3), tf.float32, name="x")]
    )
    folder = str(tmp_path / "saved")
    tf.saved_model.save(module, folder, signatures=module.serve)
    data = np.random.default_rng(0).normal(size=(10, 6, 3)).astype(np.float32)
    sentence = (
        r"was killed by SIG\w+ in the stage 'calibrate'; suspect layer\(s\): 'standard_gru'; .* --quantize dynamic"
    )
    with pytest.raises(ConversionError, match=sentence):
        edgeopt.convert(folder, calibration=data)
    assert edgeopt.convert(folder, quantize="dynamic").sidecar["ops"]["WHILE"] == 1


def test_a_loop_that_stays_float_is_named(any_keras):
    import tensorflow as tf

    class Loop(any_keras.layers.Layer):
        def call(self, x):
            return tf.while_loop(lambda i, value: i < 5, lambda i, value: (i + 1, tf.tanh(value) * 0.5), (0, x))[1]

    x = any_keras.Input((4,), name="x")
    model = any_keras.Model(x, any_keras.layers.Dense(2, name="y")(Loop(name="circle")(x)))
    data = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    with pytest.raises(NotFullyIntegerError, match="WHILE of layer 'circle' .* stayed float"):
        edgeopt.convert(model, calibration=data, isolate=False)
