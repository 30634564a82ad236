"""The private quantiser does what the converter does with it, in every TensorFlow of the lanes."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.quantise import quantising

X = np.random.default_rng(0).normal(size=(30, 8, 8, 3)).astype(np.float32)


@pytest.mark.smoke
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_called_again_and_again_it_gives_the_converters_own_bytes():
    import tensorflow as tf
    import tf_keras

    layers = tf_keras.layers
    model = tf_keras.Sequential([tf_keras.Input((8, 8, 3), name="x"), layers.Conv2D(4, 3), layers.Flatten(name="y")])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter.representative_dataset = lambda: ([row[None]] for row in X)
    plain = converter.convert()
    made = []

    def twice(annotated, quantise):
        made.extend([quantise(annotated), quantise(annotated)])
        return made[1]

    with quantising(twice):
        again = converter.convert()
    assert made[0] == made[1]
    assert again == plain


def test_sixteen_bit_activations_do_not_come_by():
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((8, 8, 3), name="x"), tf_keras.layers.Flatten(name="y")])
    asked = []
    with quantising(lambda annotated, quantise: asked.append(1) or quantise(annotated)):
        edgeopt.convert(model, calibration=X, quantize="int16x8", isolate=False)
    assert not asked
