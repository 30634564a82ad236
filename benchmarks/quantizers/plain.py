"""The script that a user of TFLiteConverter writes: python plain.py KERAS MODEL OUTPUT [SAMPLES].

KERAS is the module that reads the model, "tf_keras" or "keras". With samples the file is int8 throughout, else float.
"""

import importlib
import sys

import numpy as np
import tensorflow as tf

keras, model, output, *samples = sys.argv[1:]
converter = tf.lite.TFLiteConverter.from_keras_model(importlib.import_module(keras).models.load_model(model))
if samples:
    x = np.load(samples[0])["x"]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in x)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_output_type = tf.int8
    if x.dtype == np.float32:
        converter.inference_input_type = tf.int8
with open(output, "wb") as stream:
    stream.write(converter.convert())
